//! How long PostgreSQL takes no writes when its primary is killed under pgbench: synchronous streaming replication, three
//! Watchkeep nodes, interval 1 s, fall 2, the fault at a random phase. Each run has servers and a cluster of its own; what
//! is counted ends with the first transaction that the promoted standby commits for a client.
//!
//! `cargo xtask bench postgres [--runs 20] [--interval-ms 1000] [--seed 1]`

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Duration;

use chrono::{DateTime, Utc};

#[path = "../tests/common/mod.rs"]
mod common;
use common::{
    Cluster,
    fenced::{Moments, Pair},
};

fn main() {
    let runs = option("--runs").unwrap_or(20);
    let interval_ms = option("--interval-ms").unwrap_or(1_000);
    let mut random = option("--seed").unwrap_or(1);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    println!("interval {interval_ms} ms, fall 2, three nodes, {runs} runs; seconds");
    println!(" run  fault to verdict  to callback  to promoted  to writes   whole");
    let mut all = Vec::new();
    for run in 1..=runs {
        let moments = runtime.block_on(once(interval_ms, &mut random));
        let steps = steps(&moments);
        let [verdict, callback, promoted, writes, whole] = steps;
        println!(
            "{run:>4}  {verdict:>16.3}  {callback:>11.3}  {promoted:>11.3}  {writes:>9.3}  {whole:>6.3}"
        );
        all.push(steps);
    }
    for (share, name) in [(0.0, "min"), (0.5, "p50"), (0.9, "p90"), (1.0, "max")] {
        let of = |at: usize| rank(all.iter().map(|steps| steps[at]).collect(), share);
        let [verdict, callback, promoted, writes, whole] = [of(0), of(1), of(2), of(3), of(4)];
        println!(
            "{name:>4}  {verdict:>16.3}  {callback:>11.3}  {promoted:>11.3}  {writes:>9.3}  {whole:>6.3}"
        );
    }
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

async fn once(interval_ms: u64, random: &mut u64) -> Moments {
    let mut pair = Pair::start().await;
    let cluster = Cluster::start(3, &pair.sections()).await;
    pair.watch(&cluster, interval_ms).await;
    // Some probes more, and then the fault, anywhere between two of them.
    tokio::time::sleep(Duration::from_millis(interval_ms).mul_f64(2.0 + draw(random))).await;
    pair.fail_over(&cluster).await
}

/// Seconds from the fault to the verdict, from each step to the next, and from the fault to the first write. The first
/// write may come before `pg_ctl` says that the promotion is done, so it counts from the callback.
fn steps(moments: &Moments) -> [f64; 5] {
    let seconds = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64();
    let Moments { killed, verdict, callback, promoted, written } = *moments;
    [
        seconds(killed, verdict),
        seconds(verdict, callback),
        seconds(callback, promoted),
        seconds(callback, written),
        seconds(killed, written),
    ]
}

fn rank(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * values.len() as f64).ceil() as usize;
    values[at.clamp(1, values.len()) - 1]
}

/// A number from 0 to 1 (splitmix64).
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
