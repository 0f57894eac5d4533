//! Ten minutes of the most writes of 1 KiB that three members take, with frequent snapshots and purges, one member
//! after another killed and started again. Ends with a verdict, and with exit code 1 when it is a bad one.
//!
//! `cargo xtask bench soak [--minutes 10] [--seconds N] [--writers 64]`; the load tool shares the cores.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{process::ExitCode, time::Duration};

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/soak/mod.rs"]
mod soak;

use soak::{Plan, soak};

fn main() -> ExitCode {
    let minutes = Duration::from_secs(60 * option("--minutes").unwrap_or(10));
    let time = option("--seconds").map_or(minutes, Duration::from_secs);
    let writers = usize::try_from(option("--writers").unwrap_or(64)).expect("few");
    // Purges come at most every five seconds, and a member that is away makes none.
    let purges_min = (time.as_secs() / 20).max(1);
    let plan = Plan { time, kill_every: Duration::from_secs(15), writers, purges_min };
    println!("{writers} writers, values of 1 KiB, 3 members, {time:?}");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let report = runtime.block_on(soak(&plan));
    let rate = report.writes as f64 / time.as_secs_f64();
    println!("writes acknowledged  {} ({rate:.0}/s)", report.writes);
    println!("members killed       {}", report.kills);
    println!("purges by member     {:?}", report.purges);
    println!("longest silence      {:?}", report.silence);
    for member in 0..report.purges.len() {
        let [first, second, third] = report.memory.thirds(member);
        println!(
            "memory of member {}   at most {first}, {second}, {third} MiB in each third",
            member + 1
        );
    }
    if report.faults.is_empty() {
        println!("verdict: all is well");
        return ExitCode::SUCCESS;
    }
    println!("verdict: {} faults", report.faults.len());
    report.faults.iter().for_each(|fault| println!("  {fault}"));
    ExitCode::FAILURE
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}
