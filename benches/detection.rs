//! From SIGKILL of a service to its verdict and to the delivered failover callback: interval 1 s, fall 2, the fault at
//! a random phase, on one node with one collector and on three with three. What is promised: at most 2 s + 100 ms at the
//! 99th percentile. The verdict's time is the leader's when it decides; the callback comes after the commit.
//!
//! `cargo xtask bench detection [--rounds 5] [--services 20] [--seed 1]`: rounds × services runs per cluster.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::json;
use tempfile::TempDir;

#[path = "../tests/common/mod.rs"]
mod common;
use common::{Cluster, eventually, ports, process::Process, receiver::Receiver, wait::ensure};

const INTERVAL: Duration = Duration::from_secs(1);
/// Two intervals, and a tenth of a second for everything else.
const PROMISE: Duration = Duration::from_millis(2_100);
/// The faults of a round are spread over this, so that each is alone most of the time.
const SPREAD: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(60);

fn main() {
    if let Some(port) = option("--victim") {
        serve(u16::try_from(port).expect("a port"));
    }
    let rounds = option("--rounds").unwrap_or(5);
    let services = option("--services").unwrap_or(20);
    let seed = option("--seed").unwrap_or(1);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    println!("interval 1 s, fall 2, {rounds} rounds of {services} faults, seed {seed}");
    println!("nodes fault to  runs      min      p50      p90      p99      max  within 2.1 s");
    for nodes in [1, 3] {
        let took = runtime.block_on(measure(nodes, rounds, services, seed));
        report(nodes, "verdict", took.iter().map(|took| took.verdict).collect());
        report(nodes, "callback", took.iter().map(|took| took.callback).collect());
    }
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

/// The service that is killed: it answers every connection with 200.
fn serve(port: u16) -> ! {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("bind");
    loop {
        let (mut stream, _) = listener.accept().expect("accept");
        // A prober that went away is none of its business.
        let _ = stream.read(&mut [0; 4096]);
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
}

/// How long one fault took.
struct Took {
    verdict: Duration,
    callback: Duration,
}

struct Victim {
    service: String,
    port: u16,
    process: Option<Process>,
}

impl Victim {
    fn start(&mut self, dir: &TempDir) {
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args(["--victim", &self.port.to_string()]);
        let log = dir.path().join(&self.service);
        self.process = Some(Process::spawn(&self.service, command, &log));
    }
}

async fn measure(nodes: usize, rounds: u64, services: u64, seed: u64) -> Vec<Took> {
    let (sink, dir) = (Receiver::start().await, TempDir::new().expect("temporary folder"));
    let alerting = json!({"failover": [
        {"name": "any", "when": {"role": "primary"}, "callback": {"url": sink.url("/callback")}},
    ]});
    let cluster = Cluster::start(nodes, &[("alerting", alerting)]).await;
    let mut victims: Vec<Victim> = (0..services)
        .map(|at| Victim { service: format!("svc-{at}"), port: ports::free(), process: None })
        .collect();
    let mut random = seed;
    let mut took = Vec::new();
    for round in 0..rounds {
        for victim in &mut victims {
            victim.start(&dir);
            if round == 0 {
                let instance = json!({
                    "id": "a", "address": "127.0.0.1", "port": victim.port, "role": "primary",
                    "checks": [{"name": "http", "interval_ms": INTERVAL.as_millis(), "timeout_ms": 500,
                                "fall": 2, "rise": 1, "http": {}}],
                });
                cluster.nodes[0].register(&victim.service, &instance).await;
            }
        }
        all_passing(&cluster, victims.len()).await;
        took.extend(faults(&cluster, &mut victims, &sink, &mut random).await);
    }
    took
}

async fn all_passing(cluster: &Cluster, count: usize) {
    eventually("all are passing", LONG, async || {
        let verdicts = cluster.nodes[0].list("/watchkeep/verdicts/svc-").await?;
        let passing = verdicts.iter().filter(|verdict| verdict["status"] == "passing").count();
        ensure(passing == count, || format!("{passing} of {count}"))
    })
    .await;
}

/// Kills each victim once, at a random moment, and gives the time until each one's verdict and callback.
async fn faults(
    cluster: &Cluster,
    victims: &mut [Victim],
    sink: &Receiver,
    random: &mut u64,
) -> Vec<Took> {
    let before = sink.at("/callback").len();
    let mut plan: Vec<(Duration, usize)> =
        (0..victims.len()).map(|at| (SPREAD.mul_f64(draw(random)), at)).collect();
    plan.sort();
    let begin = tokio::time::Instant::now();
    let mut killed = BTreeMap::new();
    for (after, at) in plan {
        tokio::time::sleep_until(begin + after).await;
        let mut process = victims[at].process.take().expect("it runs");
        killed.insert(victims[at].service.clone(), (Instant::now(), Utc::now()));
        process.kill();
    }
    let callbacks = sink.wait("/callback", before + victims.len(), LONG).await;
    let mut took = Vec::new();
    for callback in &callbacks[before..] {
        let body = callback.json();
        let service = body["service"].as_str().expect("a service");
        let (killed, killed_at) = killed.remove(service).expect("one callback for each fault");
        let verdict = cluster.nodes[0].verdict(service, "a", "critical", LONG).await;
        let since: DateTime<Utc> =
            verdict["since"].as_str().expect("since").parse().expect("a time");
        let verdict = (since - killed_at).to_std().unwrap_or_default();
        took.push(Took { verdict, callback: callback.at - killed });
    }
    took
}

/// A number from 0 to 1 (splitmix64).
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn report(nodes: usize, what: &str, mut took: Vec<Duration>) {
    took.sort();
    let rank = |share: f64| {
        let at = (share * took.len() as f64).ceil() as usize;
        took[at.clamp(1, took.len()) - 1].as_secs_f64()
    };
    let within = took.iter().filter(|took| **took <= PROMISE).count();
    let share = 100.0 * within as f64 / took.len() as f64;
    println!(
        "{nodes:>5} {what:<8} {:>5} {:>6.3} s {:>6.3} s {:>6.3} s {:>6.3} s {:>6.3} s  {share:.0} % ({within})",
        took.len(),
        rank(0.0),
        rank(0.5),
        rank(0.9),
        rank(0.99),
        rank(1.0),
    );
}
