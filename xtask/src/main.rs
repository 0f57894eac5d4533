//! The one way in: `cargo xtask check | fix | test | bench | up`, `peers` for what the tests need, and
//! `dashboards` for those of Grafana.
//!
//! It only starts other programs (cargo, apt-get, pip); the standard library is enough for that.

#![allow(clippy::print_stdout, reason = "a command-line tool talks to its terminal")]

use std::{env, process::ExitCode};

mod bench;
mod check;
mod command;
mod dashboards;
mod peers;
mod structure;
mod test;

const USAGE: &str = "\
cargo xtask <task>

  up [FLAGS]        build and serve: cargo run --release -- serve FLAGS
  check             formatting, lints, structure, licences; changes nothing (--no-lints: all but those)
  fix               what of that can be mended by itself
  test [ARGS]       install the peers, then every test; with ARGS: cargo test --workspace ARGS
  bench [NAME]      list the benchmarks, or run one on the dist profile
  dashboards        write dashboards/*.json from xtask/src/dashboards
  peers             install what tests and lints need: Debian packages and a Python environment
";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match (task.as_str(), rest.is_empty()) {
        ("up", _) => command::cargo(&["run", "--release", "--", "serve"], &rest),
        ("check", true) => check::check(true),
        ("check", false) if rest == ["--no-lints"] => check::check(false),
        ("fix", true) => check::fix(),
        ("test", _) => test::test(&rest),
        ("bench", _) => bench::bench(&rest),
        ("dashboards", true) => dashboards::write(),
        ("peers", true) => peers::ensure(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}
