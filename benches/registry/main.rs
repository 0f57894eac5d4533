//! The registry side by side with a real etcd: the same client crate, the same load, the two sides in turn, medians
//! over the rounds, and the servers' CPU time per operation beside them. The load tool shares the cores.
//!
//! `cargo xtask bench registry [--rounds 5] [--seconds 3] [--nodes 3] [--kills 9] [--only put,range,lease,watch,failover,million]
//! [--clients 100]` (of puts; default 1, 100 and 1,000)

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Duration;

use tempfile::TempDir;

#[path = "../../tests/common/mod.rs"]
mod common;
mod failover;
mod fanout;
mod load;
mod million;
mod side;

use load::{Op, Run};
use side::Side;

/// What may be left out, by `--only`.
const PARTS: [&str; 6] = ["put", "range", "lease", "watch", "failover", "million"];

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: u64,
    time: Duration,
    kills: u64,
}

fn main() {
    let effort = Effort {
        rounds: number("--rounds").unwrap_or(5),
        time: Duration::from_secs(number("--seconds").unwrap_or(3)),
        kills: number("--kills").unwrap_or(9),
    };
    let nodes = usize::try_from(number("--nodes").unwrap_or(3)).expect("few");
    let only = option("--only");
    let parts: Vec<&str> = match &only {
        Some(list) => list.split(',').collect(),
        None => PARTS.to_vec(),
    };
    if let Some(part) = parts.iter().find(|part| !PARTS.contains(part)) {
        panic!("--only {part}: there are {PARTS:?}");
    }
    let wanted = |part: &str| parts.contains(&part);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    println!(
        "{nodes} nodes, {} rounds of {:?} a side, in turn; medians",
        effort.rounds, effort.time
    );
    runtime.block_on(async {
        if ["put", "range", "lease", "watch"].into_iter().any(wanted) {
            let dir = TempDir::new().expect("temporary folder");
            let mut pair = Pair::start(&dir, nodes).await;
            pair.loads(effort, wanted).await;
            if wanted("watch") {
                pair.fanout(effort).await;
            }
        }
        if wanted("failover") {
            let dir = TempDir::new().expect("temporary folder");
            Pair::start(&dir, 3).await.failover(effort).await;
        }
        if wanted("million") {
            million().await;
        }
    });
}

/// The text behind a flag.
fn option(flag: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != flag).nth(1)
}

/// The number behind a flag.
fn number(flag: &str) -> Option<u64> {
    option(flag).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

/// Both sides, running.
struct Pair {
    ours: Side,
    theirs: Side,
}

impl Pair {
    async fn start(dir: &TempDir, nodes: usize) -> Self {
        Self { ours: Side::ours(nodes).await, theirs: Side::theirs(dir.path(), nodes).await }
    }

    async fn loads(&mut self, effort: Effort, wanted: impl Fn(&str) -> bool) {
        println!(
            "{:<34} {:>9} {:>8} {:>8} {:>7} | {:>9} {:>8} {:>8} {:>7} | {:>5} {:>5} {:>5}",
            "",
            "ours/s",
            "p50 ms",
            "p99 ms",
            "CPU µs",
            "etcd/s",
            "p50 ms",
            "p99 ms",
            "CPU µs",
            "rate",
            "p99",
            "CPU"
        );
        let (linear, serial) =
            (Op::Range { serializable: false }, Op::Range { serializable: true });
        if wanted("range") {
            load::fill(&self.ours).await;
            load::fill(&self.theirs).await;
            self.row("range, linearizable, 100, fresh", linear, 100, effort).await;
            self.row("range, serializable, 100, fresh", serial, 100, effort).await;
        }
        if wanted("put") {
            let clients = number("--clients").map(|only| usize::try_from(only).expect("few"));
            for clients in clients.map_or(vec![1, 100, 1_000], |only| vec![only]) {
                let name = format!("put 256 B, {clients} clients");
                self.row(&name, Op::Put, clients, effort).await;
            }
        }
        if wanted("lease") {
            self.row("register (grant + put), 100", Op::Register, 100, effort).await;
            self.row("keep-alive, 100 streams", Op::KeepAlive, 100, effort).await;
        }
        if wanted("range") && wanted("put") {
            self.row("range, linearizable, 100, heavy", linear, 100, effort).await;
            self.row("range, serializable, 100, heavy", serial, 100, effort).await;
        }
    }

    async fn row(&mut self, name: &str, op: Op, clients: usize, effort: Effort) {
        let (mut we, mut they) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            we.push(load::load(&mut self.ours, op, clients, effort.time).await);
            they.push(load::load(&mut self.theirs, op, clients, effort.time).await);
        }
        let (we, they) = (median_run(&we), median_run(&they));
        println!(
            "{name:<34} {:>9.0} {:>8.2} {:>8.2} {:>7.0} | {:>9.0} {:>8.2} {:>8.2} {:>7.0} | {:>5.2} {:>5.2} {:>5.2}",
            we.rate,
            we.p50_ms,
            we.p99_ms,
            we.cpu_us,
            they.rate,
            they.p50_ms,
            they.p99_ms,
            they.cpu_us,
            we.rate / they.rate,
            we.p99_ms / they.p99_ms,
            we.cpu_us / they.cpu_us
        );
    }

    async fn fanout(&mut self, effort: Effort) {
        let (mut we, mut they) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            we.push(fanout::fanout(&mut self.ours, effort.time).await);
            they.push(fanout::fanout(&mut self.theirs, effort.time).await);
        }
        let late = |runs: &[fanout::Fanout]| median(runs.iter().map(|run| run.p99_ms));
        let most = |runs: &[fanout::Fanout]| median(runs.iter().map(|run| run.events_per_second));
        let cpu = |runs: &[fanout::Fanout]| median(runs.iter().map(|run| run.cpu_us));
        println!(
            "1,000 watchers: p99 at 20 puts/s {:.1} ms, etcd {:.1} ms ({:.2}); saturated {:.0} events/s at {:.1} µs of CPU, etcd {:.0} at {:.1} µs ({:.2})",
            late(&we),
            late(&they),
            late(&we) / late(&they),
            most(&we),
            cpu(&we),
            most(&they),
            cpu(&they),
            most(&we) / most(&they)
        );
    }

    async fn failover(&mut self, effort: Effort) {
        let (mut we, mut they) = (Vec::new(), Vec::new());
        for _ in 0..effort.kills {
            we.push(failover::outage(&mut self.ours).await.as_secs_f64() * 1e3);
            they.push(failover::outage(&mut self.theirs).await.as_secs_f64() * 1e3);
        }
        for (name, times) in [("ours", we), ("etcd", they)] {
            let (least, most) = (
                times.iter().copied().fold(f64::MAX, f64::min),
                times.iter().copied().fold(0.0, f64::max),
            );
            println!(
                "no write after kill -9 of the leader, {} kills, {name}: median {:.0} ms ({least:.0} to {most:.0})",
                effort.kills,
                median(times.into_iter())
            );
        }
    }
}

/// One member each, one after the other: neither sees the other's memory or disk.
async fn million() {
    for name in ["ours", "etcd"] {
        let dir = TempDir::new().expect("temporary folder");
        let mut side = match name {
            "ours" => Side::ours(1).await,
            _ => Side::theirs(dir.path(), 1).await,
        };
        let found = million::million(&mut side).await;
        println!(
            "1 M keys of 100 B, one node, {name}: {:.0} MB resident, {:.0} MB after kill -9 and start, {:.2} s from start to the first linearizable read",
            found.resident_mb, found.resident_after_mb, found.open_seconds
        );
    }
}

fn median_run(runs: &[Run]) -> Run {
    let of = |field: fn(&Run) -> f64| median(runs.iter().map(field));
    Run {
        rate: of(|run| run.rate),
        p50_ms: of(|run| run.p50_ms),
        p99_ms: of(|run| run.p99_ms),
        cpu_us: of(|run| run.cpu_us),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
