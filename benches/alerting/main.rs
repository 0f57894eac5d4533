//! Watchkeep as an Alertmanager beside apt's Alertmanager, with the same `alertmanager.yml`, in turn, in one run.
//!
//! - **Delay:** one alert at a time is posted; from then until its webhook arrives.
//! - **Notifications a second:** many alerts are posted at once, each a group of its own, until the last webhook has arrived.
//! - **Alerts taken a second:** posts of a hundred alerts of which nobody is told, by several clients in closed loops: new
//!   ones, and the same again as Prometheus sends them.
//!
//! One node and three. Alertmanagers gossip what they told, not alerts: whoever has three posts to all of them. Of ours any
//! takes an alert for all. CPU is that of all server processes. Medians over the rounds.
//!
//! `--faults` is another measurement: see [`faults`].
//!
//! `cargo xtask bench alerting [--rounds 3] [--delays 500] [--notifications 3000] [--seconds 3] [--nodes 1]`
//! `cargo xtask bench alerting --faults [--seconds 300] [--alerts 1000] [--kill-every 5] [--resend 60]`

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use tempfile::TempDir;

#[path = "../../tests/common/mod.rs"]
mod common;
mod faults;
mod load;
mod side;
mod sink;

use load::Effort;
use side::Side;
use sink::Sink;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    // Installs what TLS needs; without it no client is made.
    common::http::client();
    if std::env::args().any(|arg| arg == "--faults") {
        runtime.block_on(faults::measure(&faults::Plan {
            seconds: number("--seconds").unwrap_or(300),
            alerts: number("--alerts").unwrap_or(1_000),
            kill_every: number("--kill-every").unwrap_or(5),
            resend: number("--resend").unwrap_or(60),
        }));
        return;
    }
    let effort = Effort {
        rounds: number("--rounds").unwrap_or(3),
        delays: number("--delays").unwrap_or(500),
        notifications: number("--notifications").unwrap_or(3_000),
        seconds: number("--seconds").unwrap_or(3),
    };
    let sizes = number("--nodes").map_or(vec![1, 3], |nodes| vec![nodes]);
    for nodes in sizes {
        let nodes = usize::try_from(nodes).expect("a small number");
        runtime.block_on(compare(nodes, &effort));
    }
}

/// The number behind a flag.
fn number(flag: &str) -> Option<u64> {
    let value = std::env::args().skip_while(|arg| arg != flag).nth(1);
    value.map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

async fn compare(nodes: usize, effort: &Effort) {
    let dir = TempDir::with_prefix("watchkeep-alerting-").expect("temporary folder");
    let mut sinks = [Sink::start().await, Sink::start().await];
    let mut sides = [
        Side::ours(nodes, &configuration(&sinks[0])).await,
        Side::theirs(dir.path(), nodes, &configuration(&sinks[1])).await,
    ];
    let mut runs = [Vec::new(), Vec::new()];
    // The first warms up.
    for round in 0..=effort.rounds {
        for ((side, sink), runs) in sides.iter_mut().zip(&mut sinks).zip(&mut runs) {
            let run = load::run(side, sink, effort).await;
            if round > 0 {
                runs.push(run);
            }
        }
    }
    let [ours, theirs] = runs;
    let what = if nodes == 1 { "one node".to_owned() } else { format!("{nodes} nodes") };
    println!("{what:<44} {:>12} {:>12} {:>8}", "ours", "Alertmanager", "ratio");
    for (at, name) in load::ROWS.iter().enumerate() {
        let median = |runs: &[load::Run]| {
            let mut values: Vec<f64> = runs.iter().map(|run| run[at]).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let (ours, theirs) = (median(&ours), median(&theirs));
        println!("{name:<44} {ours:>12.2} {theirs:>12.2} {:>8.2}", ours / theirs);
    }
}

/// Every alert is a group of its own and told at once, but for those of kind `taken`, of which nobody is told.
fn configuration(sink: &Sink) -> String {
    format!(
        "route:\n\
         \x20 receiver: hook\n\
         \x20 group_by: ['...']\n\
         \x20 group_wait: 0s\n\
         \x20 group_interval: 1h\n\
         \x20 repeat_interval: 24h\n\
         \x20 routes:\n\
         \x20   - {{match: {{kind: taken}}, receiver: nobody, group_by: [kind], group_wait: 1h}}\n\
         receivers:\n\
         \x20 - {{name: hook, webhook_configs: [{{url: \"{}\"}}]}}\n\
         \x20 - {{name: nobody}}\n",
        sink.url()
    )
}
