//! Starting other programs: each is printed before it runs, and a failure names it.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program by this name, run at the root of the workspace, with no standard input.
pub(crate) fn program(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let shown = show(&command);
    println!("$ {shown}");
    let begun = Instant::now();
    match command.status() {
        Ok(status) if status.success() => {
            println!("`{shown}` took {:.0?}", begun.elapsed());
            Ok(())
        }
        Ok(status) => Err(format!("`{shown}` failed: {status}")),
        Err(error) => Err(format!("`{shown}` did not start: {error}")),
    }
}

/// Whether the program runs and exits with 0; its output is thrown away.
pub(crate) fn succeeds(name: &str, args: &[&str]) -> bool {
    let mut command = program(name, args);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// `cargo` with these arguments and the user's own behind them, on the terminal's standard input.
pub(crate) fn cargo(args: &[&str], rest: &[String]) -> Result<(), String> {
    let mut command = cargo_program(args);
    command.args(rest).stdin(Stdio::inherit());
    run(command)
}

/// `cargo`, as it would be called by hand: without what cargo has told this program of itself. Build scripts ask for that
/// (ring's), and everything above them would be built anew each time cargo is called in the other way.
pub(crate) fn cargo_program(args: &[&str]) -> Command {
    let mut command = program("cargo", args);
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if name.to_str().is_some_and(|name| told.iter().any(|told| name.starts_with(told))) {
            command.env_remove(&name);
        }
    }
    command
}

/// As one would type it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
