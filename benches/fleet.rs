//! A fleet on three registry nodes: instances registered with a TTL, each renewed every ten seconds, by agents that send
//! the heartbeats of 500 instances at once to the node next to them.
//!
//! `cargo xtask bench fleet [--instances 100000] [--seconds 120] [--interval-seconds 10]`

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep_until;

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "registry/side.rs"]
#[allow(dead_code, reason = "shared with the benchmark of the registry")]
mod side;

use common::{eventually, http, wait::ensure};
use side::Side;

/// Instances of one agent.
const AGENT: usize = 500;
/// A heartbeat that is answered later than this after it was due is late.
const LATE: Duration = Duration::from_secs(1);
const NODES: usize = 3;
const LONG: Duration = Duration::from_secs(120);

fn main() {
    let instances = option("--instances").unwrap_or(100_000);
    let time = Duration::from_secs(option("--seconds").unwrap_or(120));
    let interval = Duration::from_secs(option("--interval-seconds").unwrap_or(10));
    let instances = usize::try_from(instances).expect("few");
    println!(
        "{instances} instances on {NODES} nodes, a heartbeat each every {interval:?}, TTL three of them, for {time:?}"
    );
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(measure(instances, interval, time));
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

/// What an agent saw.
#[derive(Default)]
struct Seen {
    waits: Vec<Duration>,
    renewed: u64,
    lost: u64,
}

async fn measure(instances: usize, interval: Duration, time: Duration) {
    let mut side = Side::ours(NODES).await;
    let Side::Ours(cluster) = &side else { unreachable!("ours") };
    let nodes: Vec<String> =
        cluster.nodes.iter().map(|node| format!("http://{}", node.http)).collect();
    let empty = side.resident_bytes();

    let (started, before) = (Instant::now(), side.cpu_seconds());
    let ttl_seconds = interval.as_secs() * 3;
    for agent in 0..instances.div_ceil(AGENT) {
        let body = json!({"ttl_seconds": ttl_seconds, "instances": of_agent(agent, instances)
            .map(|n| json!({"id": format!("i{n}"), "address": "10.0.0.1", "port": 80})).collect::<Vec<_>>()});
        let url = format!("{}/v1/services/{}/instances", nodes[agent % NODES], service(agent));
        let request = http::client().put(url).json(&body).timeout(LONG);
        let answer = http::json(request).await.expect("registered");
        assert_eq!(answer["errors"], json!([]), "{answer}");
    }
    let took = started.elapsed().as_secs_f64();
    let per = (side.cpu_seconds() - before) / instances as f64 * 1e6;
    println!(
        "registered in {took:.1} s, {:.0}/s, {per:.0} µs of server CPU each",
        instances as f64 / took
    );
    for node in &nodes {
        eventually("every node knows all of them", LONG, async || {
            let page = http::text(http::client().get(format!("{node}/metrics"))).await?;
            let known = page.lines().find_map(|l| l.strip_prefix("watchkeep_catalog_instances "));
            let known = known.and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            ensure(known >= instances, || known.to_string())
        })
        .await;
    }

    let (begin, before, own) = (Instant::now(), side.cpu_seconds(), own_cpu_seconds());
    let agents = instances.div_ceil(AGENT);
    let beating: Vec<_> = (0..agents)
        .map(|agent| {
            let phase = interval.mul_f64(agent as f64 / agents as f64);
            let url = format!("{}/v1/heartbeats", nodes[agent % NODES]);
            tokio::spawn(beat(url, agent, instances, begin + phase, interval, begin + time))
        })
        .collect();
    let mut all = Seen::default();
    for agent in beating {
        let seen = agent.await.expect("an agent");
        all.waits.extend(seen.waits);
        all.renewed += seen.renewed;
        all.lost += seen.lost;
    }
    report(&mut side, all, begin.elapsed(), before, own, empty, instances);
}

fn service(agent: usize) -> String {
    format!("fleet-{}", agent % 20)
}

fn of_agent(agent: usize, instances: usize) -> std::ops::Range<usize> {
    agent * AGENT..((agent + 1) * AGENT).min(instances)
}

/// One agent: its instances' heartbeats at fixed times, however long an answer takes.
async fn beat(
    url: String,
    agent: usize,
    instances: usize,
    first: Instant,
    interval: Duration,
    end: Instant,
) -> Seen {
    let places = of_agent(agent, instances)
        .map(|n| json!({"service": service(agent), "id": format!("i{n}")}));
    let body = json!({"instances": places.collect::<Vec<Value>>()});
    let (mut due, mut seen) = (first, Seen::default());
    while due < end {
        sleep_until(due.into()).await;
        match http::json(http::client().post(&url).json(&body)).await {
            Ok(answer) => {
                seen.renewed += answer["renewed"].as_u64().unwrap_or(0);
                seen.lost += answer["errors"].as_array().map_or(0, Vec::len) as u64;
            }
            Err(error) => {
                println!("agent {agent}: {error}");
                seen.lost += of_agent(agent, instances).len() as u64;
            }
        }
        seen.waits.push(due.elapsed());
        due += interval;
    }
    seen
}

fn report(
    side: &mut Side,
    mut seen: Seen,
    took: Duration,
    cpu_before: f64,
    own_before: f64,
    empty: u64,
    instances: usize,
) {
    seen.waits.sort();
    let at = |share: f64| {
        seen.waits[((seen.waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
    };
    let late = seen.waits.iter().filter(|wait| **wait > LATE).count();
    let cpu = side.cpu_seconds() - cpu_before;
    let renewed = seen.renewed.max(1) as f64;
    println!(
        "{} heartbeats renewed ({:.0}/s), {} refused or lost; {} of {} requests late (more than {LATE:?} after they were due)",
        seen.renewed,
        renewed / took.as_secs_f64(),
        seen.lost,
        late,
        seen.waits.len()
    );
    println!(
        "a request of {AGENT}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!(
        "CPU of all three nodes: {:.1} µs a heartbeat, {:.1} % of one core; of the agents {:.1} µs a heartbeat",
        cpu / renewed * 1e6,
        cpu / took.as_secs_f64() * 100.0,
        (own_cpu_seconds() - own_before) / renewed * 1e6
    );
    let full = side.resident_bytes();
    println!(
        "memory: {:.0} MiB a node, {:.0} MiB of it before the fleet: {:.1} KiB an instance and node",
        full as f64 / NODES as f64 / f64::from(1 << 20),
        empty as f64 / NODES as f64 / f64::from(1 << 20),
        full.saturating_sub(empty) as f64 / NODES as f64 / instances as f64 / 1024.0
    );
}

/// User and system time of this process so far.
fn own_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("own statistics");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / 100.0
}
