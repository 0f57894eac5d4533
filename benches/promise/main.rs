//! The 100 ms promise: finds the most puts a second that three members take, then puts half as many for the time given,
//! with compaction, snapshots and backups running, and says how many were answered within 100 ms, the worst, and how
//! memory went.
//!
//! `cargo xtask bench promise [--minutes 10] [--seconds N] [--keys 0] [--value-bytes 1024] [--rate N]`
//!
//! Arrivals are open-loop: a request's time counts from the moment at which it was due, whether the one before was
//! answered or not, so a stall is felt by all that fall into it (no coordinated omission). `--keys` are stored
//! beforehand. An error counts as late. The load tool shares the cores.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/soak/memory.rs"]
mod memory;

mod background;
mod load;
mod report;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use common::Cluster;
use load::Target;
use report::Report;

const NODES: usize = 3;
/// Within this the promise is kept.
pub(crate) const PROMISE: Duration = Duration::from_millis(100);
/// The share that must be.
pub(crate) const SHARE: f64 = 0.999_9;
/// Clients while the most is looked for.
const CLIENTS: usize = 100;
const MOST_FOR: Duration = Duration::from_secs(15);
/// A snapshot, and then a purge, after so many entries: several a minute.
const LOG_ENTRIES_KEPT: u64 = 20_000;

fn main() -> ExitCode {
    let minutes = Duration::from_secs(60 * option("--minutes").unwrap_or(10));
    let time = option("--seconds").map_or(minutes, Duration::from_secs);
    let (keys, bytes) = (option("--keys").unwrap_or(0), option("--value-bytes").unwrap_or(1_024));
    let bytes = usize::try_from(bytes).expect("a size");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    if runtime.block_on(promise(time, keys, bytes, option("--rate"))) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

async fn promise(time: Duration, keys: u64, bytes: usize, rate: Option<u64>) -> bool {
    let cluster = Cluster::layout_roles(&["registry"; NODES], None, &[]);
    let fields = format!("log_entries_kept: {LOG_ENTRIES_KEPT}");
    cluster.nodes.iter().for_each(|node| node.set_registry(&fields));
    let mut cluster = cluster.run().await;
    let processes: Vec<u32> = cluster.nodes.iter_mut().map(|node| node.process().id()).collect();
    let target = Target::connect(&cluster.urls(), keys.max(load::KEYS_MIN), bytes).await;
    println!("3 members, values of {bytes} bytes, {keys} keys beforehand");
    if keys > 0 {
        let began = Instant::now();
        target.fill(keys).await;
        println!("stored in {:.0?}; memory {}", began.elapsed(), report::megabytes(&processes));
        background::settled(&cluster.urls()).await;
        println!("merged after {:.0?}; memory {}", began.elapsed(), report::megabytes(&processes));
    }
    let term = background::term(&cluster.urls()).await.expect("a term");
    let rate = match rate {
        Some(rate) => rate,
        None => {
            let most = target.most(CLIENTS, MOST_FOR).await;
            println!("the most: {most:.0} puts/s with {CLIENTS} clients");
            (most / 2.0) as u64
        }
    };
    println!("{rate} puts/s for {time:?}, with compaction, snapshots and backups");
    let before = background::housekeeping(&cluster.urls()).await.expect("metrics");
    let background = background::start(&cluster.urls(), target.revision());
    let mut report = Report::new(processes);
    target.steady(rate, time, &mut report).await;
    let done = background.stop().await;
    println!("{done}");
    let after = background::term(&cluster.urls()).await.expect("a term");
    println!("term {term} before the load, {after} after it");
    let kept = background::housekeeping(&cluster.urls()).await.expect("metrics");
    let mut faults = background::idle(&before, &kept);
    if after != term {
        // Nobody had failed.
        faults.push(format!("a needless election: term {term}, then {after}"));
    }
    report.verdict(&done, faults)
}
