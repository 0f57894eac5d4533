//! Many checks on one collector: registry and collector in one process as a user runs them, and beside it a process with the
//! targets. Prints each minute how late probes began, what was left out, CPU and memory; ends with a verdict, and with exit
//! code 1 when it is a bad one: lag p99 at most 50 ms, nothing left out, at most 300 MB.
//!
//! `cargo xtask bench scale [--checks 20000] [--interval 5] [--minutes 10] [--seconds N] [--facts 0] [--ports 64]`
//!
//! `--facts` is `collector.facts_max`: each fact of a probe is a series, and takes memory of its own.
//! The targets share the cores.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/soak/memory.rs"]
mod memory;

mod page;
mod target;

use std::{
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use common::{Cluster, eventually, ports, process::Process, wait::ensure};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use watchkeep_catalog::{Client, keys};

use page::Page;

/// Instances of a service.
const OF_SERVICE: u64 = 100;
/// Registrations at a time.
const WRITERS: u64 = 64;
const LONG: Duration = Duration::from_secs(300);
const LAG_SECONDS_MAX: f64 = 0.05;
const RESIDENT_MB_MAX: f64 = 300.0;

fn main() -> ExitCode {
    let ports: Vec<u16> = std::env::args()
        .skip_while(|arg| arg != "--targets")
        .skip(1)
        .filter_map(|port| port.parse().ok())
        .collect();
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    if !ports.is_empty() {
        runtime.block_on(target::serve(&ports));
        return ExitCode::SUCCESS;
    }
    runtime.block_on(measure(&Plan::from_args()))
}

struct Plan {
    checks: u64,
    interval: Duration,
    time: Duration,
    facts: u64,
    ports: u64,
}

impl Plan {
    fn from_args() -> Self {
        let minutes = Duration::from_secs(60 * option("--minutes").unwrap_or(10));
        Self {
            checks: option("--checks").unwrap_or(20_000),
            interval: Duration::from_secs(option("--interval").unwrap_or(5)),
            time: option("--seconds").map_or(minutes, Duration::from_secs),
            facts: option("--facts").unwrap_or(0),
            ports: option("--ports").unwrap_or(64),
        }
    }
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

/// The node watches itself as well: one check more.
async fn measure(plan: &Plan) -> ExitCode {
    println!("{} HTTP checks every {:?}, facts_max {}", plan.checks, plan.interval, plan.facts);
    let sections = [("collector", json!({"facts_max": plan.facts}))];
    let mut cluster = Cluster::layout_roles(&["registry, collector"], None, &sections).run().await;
    let ports: Vec<u16> = (0..plan.ports).map(|_| ports::free()).collect();
    let targets = start_targets(&cluster, &ports);
    let client = Client::new(&cluster.urls()).expect("a client");
    let began = Instant::now();
    register(&client, plan, &ports).await;
    println!("registered in {:.1} s", began.elapsed().as_secs_f64());
    let url = cluster.nodes[0].url("/metrics");
    eventually("all are probed, and well", LONG, async || {
        let page = Page::fetch(&url).await?;
        let probed = page.value("watchkeep_collector_targets");
        let passing = page.value(r#"watchkeep_collector_opinion_changes_total{status="passing"}"#);
        let checks = plan.checks as f64;
        ensure(probed >= checks && passing >= checks, || format!("{probed} probed, {passing} well"))
    })
    .await;
    let watched = [cluster.nodes[0].process().id(), targets.id()];
    watch(plan, &url, watched).await
}

fn start_targets(cluster: &Cluster, ports: &[u16]) -> Process {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.arg("--targets").args(ports.iter().map(u16::to_string));
    Process::spawn("targets", command, &cluster.dir().join("targets.log"))
}

async fn register(client: &Client, plan: &Plan, ports: &[u16]) {
    let (interval_ms, ports) = (plan.interval.as_millis(), Arc::<[u16]>::from(ports));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, ports, checks) = (client.clone(), ports.clone(), plan.checks);
        writers.spawn(async move {
            for n in (writer..checks).step_by(WRITERS as usize) {
                let (service, id) = (format!("service-{}", n / OF_SERVICE), format!("i-{n}"));
                let instance = json!({
                    "service": service, "id": id, "address": "127.0.0.1", "port": ports[n as usize % ports.len()],
                    "checks": [{"name": "http", "interval_ms": interval_ms, "http": {}}],
                });
                let key = keys::instance(&service, &id);
                client.put_json(&key, &instance, 0).await.expect("registers");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("a writer");
    }
}

/// Prints a line each minute (or for the whole time, when that is shorter), and the verdict.
async fn watch(plan: &Plan, url: &str, [node, targets]: [u32; 2]) -> ExitCode {
    println!(
        "   min  probes/s  lag p50  lag p99  missed  shed  failed  CPU node  CPU targets      RSS"
    );
    let begun = Instant::now();
    let first = Page::fetch(url).await.expect("metrics");
    let (mut before, mut peak) = (first.clone(), 0.0_f64);
    let (mut cpu, mut at) = ([page::cpu_seconds(node), page::cpu_seconds(targets)], begun);
    while begun.elapsed() < plan.time {
        let left = plan.time.saturating_sub(begun.elapsed());
        tokio::time::sleep(left.min(Duration::from_secs(60))).await;
        let now = Page::fetch(url).await.expect("metrics");
        let spent = [page::cpu_seconds(node), page::cpu_seconds(targets)];
        let seconds = at.elapsed().as_secs_f64();
        let resident = memory::resident(node).unwrap_or_default() as f64 / 1e6;
        peak = peak.max(resident);
        let probes = now.since(&before, page::SUCCESSES) + now.since(&before, page::FAILURES);
        println!(
            "{:>6.1} {:>9.0} {:>5.1} ms {:>5.1} ms {:>7} {:>5} {:>7} {:>7.0} % {:>10.0} % {:>5.0} MB",
            begun.elapsed().as_secs_f64() / 60.0,
            probes / seconds,
            now.lag(&before, 0.5) * 1e3,
            now.lag(&before, 0.99) * 1e3,
            now.since(&before, page::MISSED),
            now.since(&before, page::SHED),
            now.since(&before, page::FAILURES),
            (spent[0] - cpu[0]) / seconds * 100.0,
            (spent[1] - cpu[1]) / seconds * 100.0,
            resident,
        );
        (before, cpu, at) = (now, spent, Instant::now());
    }
    verdict(plan, &first, &before, begun.elapsed(), peak)
}

fn verdict(plan: &Plan, first: &Page, last: &Page, time: Duration, peak: f64) -> ExitCode {
    let probes = last.since(first, page::SUCCESSES) + last.since(first, page::FAILURES);
    let due = plan.checks as f64 * time.as_secs_f64() / plan.interval.as_secs_f64();
    let left_out = last.since(first, page::MISSED) + last.since(first, page::SHED);
    let lag = last.lag(first, 0.99);
    println!(
        "probes {probes} of {due:.0} that were due, lag p99 {:.1} ms, at most {peak:.0} MB",
        lag * 1e3
    );
    let mut faults = Vec::new();
    if lag > LAG_SECONDS_MAX {
        faults.push("late");
    }
    // A tick at either end belongs to it or not.
    if left_out > 0.0 || probes < due - plan.checks as f64 {
        faults.push("probes left out");
    }
    if peak > RESIDENT_MB_MAX {
        faults.push("memory");
    }
    if faults.is_empty() {
        println!("verdict: all is well");
        return ExitCode::SUCCESS;
    }
    println!("verdict: {}", faults.join(", "));
    ExitCode::FAILURE
}
