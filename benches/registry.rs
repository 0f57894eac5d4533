//! Puts a second at 1 and at 100 clients, side by side with a real etcd: the same client crate, the same load,
//! the two sides in turn, medians over the rounds, and the servers' CPU time per put beside them.
//!
//! `cargo xtask bench registry [--rounds 5] [--seconds 3] [--nodes 1]`; the load tool shares the cores.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    fs,
    time::{Duration, Instant},
};

use etcd_client::Client;
use tempfile::TempDir;

#[path = "../tests/common/mod.rs"]
mod common;
use common::{Cluster, etcd::Etcd};

const VALUE_BYTES: usize = 256;
const KEYS: usize = 10_000;
/// Clock ticks in a second of `/proc/<pid>/stat`: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

fn main() {
    let (rounds, seconds) = (option("--rounds").unwrap_or(5), option("--seconds").unwrap_or(3));
    let only = option("--nodes");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    println!(
        "puts of {VALUE_BYTES} bytes, {rounds} rounds of {seconds} s a side, in turn; medians"
    );
    println!(
        "nodes clients   watchkeep         p99    CPU a put        etcd         p99    CPU a put  ratio"
    );
    for nodes in [1, 3].into_iter().filter(|nodes| only.is_none_or(|only| only == *nodes)) {
        runtime.block_on(compare(nodes, rounds, Duration::from_secs(seconds)));
    }
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

/// What one run measured.
#[derive(Clone, Copy)]
struct Run {
    puts_per_second: f64,
    p99_ms: f64,
    cpu_us: f64,
}

async fn compare(nodes: u64, rounds: u64, time: Duration) {
    let nodes = usize::try_from(nodes).expect("few");
    let dir = TempDir::new().expect("temporary folder");
    // Registries alone: nobody probes beside the load.
    let mut ours = Cluster::layout_roles(&vec!["registry"; nodes], None, &[]).run().await;
    let theirs = Etcd::cluster(dir.path(), nodes).await;
    let our_urls = ours.urls();
    let our_ids: Vec<u32> = ours.nodes.iter_mut().map(|node| node.process().id()).collect();
    let their_urls: Vec<String> =
        theirs.iter().map(|etcd| format!("http://{}", etcd.client)).collect();
    let their_ids: Vec<u32> = theirs.iter().map(Etcd::id).collect();
    for clients in [1, 100] {
        let (mut we, mut they) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            we.push(load(&our_urls, &our_ids, clients, time).await);
            they.push(load(&their_urls, &their_ids, clients, time).await);
        }
        let (we, they) = (median(&we), median(&they));
        println!(
            "{nodes:>5} {clients:>7} {:>8.0}/s {:>8.2} ms {:>9.0} µs {:>8.0}/s {:>8.2} ms {:>9.0} µs {:>6.2}",
            we.puts_per_second,
            we.p99_ms,
            we.cpu_us,
            they.puts_per_second,
            they.p99_ms,
            they.cpu_us,
            we.puts_per_second / they.puts_per_second
        );
    }
}

/// Every client puts as fast as it is answered, each at a node of its own.
async fn load(urls: &[String], processes: &[u32], clients: usize, time: Duration) -> Run {
    let mut connected = Vec::new();
    for at in 0..clients {
        let url = urls[at % urls.len()].clone();
        connected.push(Client::connect([url], None).await.expect("connect"));
    }
    let before = cpu_seconds(processes);
    let begin = Instant::now();
    let tasks: Vec<_> = connected
        .into_iter()
        .enumerate()
        .map(|(client, connection)| tokio::spawn(put(client, connection, begin + time)))
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("no put failed"));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = cpu_seconds(processes) - before;
    took.sort_unstable();
    let puts = took.len() as f64;
    Run {
        puts_per_second: puts / seconds,
        p99_ms: took[took.len() * 99 / 100].as_secs_f64() * 1e3,
        cpu_us: cpu / puts * 1e6,
    }
}

async fn put(client: usize, mut connection: Client, until: Instant) -> Vec<Duration> {
    let value = vec![b'x'; VALUE_BYTES];
    let mut took = Vec::new();
    while Instant::now() < until {
        let key = format!("/bench/{client}/{}", took.len() % KEYS);
        let begin = Instant::now();
        connection.put(key, value.clone(), None).await.expect("put");
        took.push(begin.elapsed());
    }
    took
}

/// User and system time of the processes so far.
fn cpu_seconds(processes: &[u32]) -> f64 {
    let ticks = processes.iter().map(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process runs");
        // Behind the name in parentheses: state is the first field, utime and stime the 12th and 13th.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        fields.skip(11).take(2).map(|field| field.parse::<f64>().expect("a number")).sum::<f64>()
    });
    ticks.sum::<f64>() / TICKS
}

fn median(runs: &[Run]) -> Run {
    let of = |field: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Run {
        puts_per_second: of(|run| run.puts_per_second),
        p99_ms: of(|run| run.p99_ms),
        cpu_us: of(|run| run.cpu_us),
    }
}
