//! What a probe costs, beside blackbox_exporter: the same nginx as target, the two sides in turn, medians over the rounds.
//!
//! Both answer `/probe` to the same closed-loop load. Beside that a collector of ours does what it is for: it runs checks by its
//! own schedule, opinions, samples and all, with a new connection for each probe and with one that is kept. CPU is
//! user and system time of the prober's process per probe; target and load tool have processes of their own and share the cores.
//!
//! `cargo xtask bench probes [--rounds 5] [--seconds 5] [--clients 8] [--checks 400] [--interval-ms 200]`

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{fs, time::Duration};

use serde_json::json;
use tempfile::TempDir;

mod checks;
#[path = "../../tests/common/mod.rs"]
mod common;
mod cpu;
mod scrape;

use checks::Checks;
use common::{Cluster, nginx::Nginx};
use cpu::Meter;
use scrape::Exporter;

const MODULES: &str = "modules:\n  http:\n    prober: http\n    timeout: 5s\n    \
                       http: {preferred_ip_protocol: ip4}\n  tcp:\n    prober: tcp\n    timeout: 5s\n    \
                       tcp: {preferred_ip_protocol: ip4}\n";

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: u64,
    time: Duration,
    clients: u64,
    checks: u64,
    interval_ms: u64,
}

/// What one run measured.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Probes per second.
    rate: f64,
    /// Microseconds of CPU per probe.
    cpu_us: f64,
}

fn main() {
    let effort = Effort {
        rounds: number("--rounds").unwrap_or(5),
        time: Duration::from_secs(number("--seconds").unwrap_or(5)),
        clients: number("--clients").unwrap_or(8),
        checks: number("--checks").unwrap_or(400),
        interval_ms: number("--interval-ms").unwrap_or(200),
    };
    println!(
        "{} rounds of {:?} a side, in turn; medians; {} clients of /probe; {} checks every {} ms",
        effort.rounds, effort.time, effort.clients, effort.checks, effort.interval_ms
    );
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(measure(effort));
}

/// The number behind a flag.
fn number(flag: &str) -> Option<u64> {
    let value = std::env::args().skip_while(|arg| arg != flag).nth(1);
    value.map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

async fn measure(effort: Effort) {
    let dir = TempDir::with_prefix("watchkeep-probes-").expect("temporary folder");
    let nginx = Nginx::start(dir.path(), "nginx").await;
    let modules = dir.path().join("blackbox.yml");
    fs::write(&modules, MODULES).expect("written");
    let exporter = Exporter::start(dir.path(), &modules).await;
    let collector = json!({"blackbox_config": modules});
    let mut cluster =
        Cluster::layout_roles(&["registry, collector"], None, &[("collector", collector)])
            .run()
            .await;
    let (door, ours) = (cluster.nodes[0].http.clone(), cluster.nodes[0].process().id());
    let (ours, theirs) = (Meter::of(ours), Meter::of(exporter.id()));
    let target = format!("127.0.0.1:{}", nginx.port);
    println!(
        "{:<30} {:>9} {:>9} | {:>9} {:>9} | {:>6} {:>6}",
        "", "ours/s", "CPU µs", "exporter", "CPU µs", "rate", "CPU"
    );
    for module in ["http", "tcp"] {
        let (mut scraped, mut exported) = (Vec::new(), Vec::new());
        let kinds: &[(&str, bool)] = match module {
            "http" => &[("checks, new connections", false), ("checks, connection kept", true)],
            _ => &[("checks, new connections", false)],
        };
        let mut scheduled = vec![Vec::new(); kinds.len()];
        for _ in 0..effort.rounds {
            scraped.push(scrape::load(&door, module, &target, &ours, effort).await);
            exported.push(scrape::load(&exporter.address, module, &target, &theirs, effort).await);
            for ((_, kept), runs) in kinds.iter().zip(&mut scheduled) {
                let checks = Checks { door: &door, kind: module, port: nginx.port, kept: *kept };
                runs.push(checks.run(&ours, effort).await);
            }
        }
        let exported = median_run(&exported);
        row(&format!("{module}, /probe"), median_run(&scraped), exported);
        for ((name, _), runs) in kinds.iter().zip(&scheduled) {
            row(&format!("{module}, {name}"), median_run(runs), exported);
        }
    }
}

fn row(name: &str, ours: Run, theirs: Run) {
    println!(
        "{name:<30} {:>9.0} {:>9.0} | {:>9.0} {:>9.0} | {:>6.2} {:>6.3}",
        ours.rate,
        ours.cpu_us,
        theirs.rate,
        theirs.cpu_us,
        ours.rate / theirs.rate,
        ours.cpu_us / theirs.cpu_us
    );
}

fn median_run(runs: &[Run]) -> Run {
    let of = |field: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Run { rate: of(|run| run.rate), cpu_us: of(|run| run.cpu_us) }
}
