//! A crowd on three registry nodes: a hundred thousand leases granted at once, each with a key, then as many idle watchers, a
//! hundred thousand, each of a key of its own. Rate, server CPU and memory of each part; then all leases are revoked at once by
//! being left to run out, and every watcher must hear of its key.
//!
//! `cargo xtask bench crowd [--leases 100000] [--watchers 100000] [--ttl-seconds 60]`

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_client::{Client, PutOptions, WatchOptions};
use tokio::task::JoinSet;

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "registry/side.rs"]
#[allow(dead_code, reason = "shared with the benchmark of the registry")]
mod side;

use common::{eventually, wait::ensure};
use side::Side;

const NODES: usize = 3;
/// Clients that grant, and streams that carry the watchers.
const CLIENTS: usize = 100;
const LONG: Duration = Duration::from_secs(300);

fn main() {
    let leases = option("--leases").unwrap_or(100_000);
    let watchers = option("--watchers").unwrap_or(100_000).min(leases);
    let ttl = i64::try_from(option("--ttl-seconds").unwrap_or(60)).expect("short");
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(measure(leases, watchers, ttl));
}

/// The number behind a flag.
fn option(flag: &str) -> Option<u64> {
    let mut args = std::env::args().skip_while(|arg| arg != flag);
    args.nth(1).map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

async fn measure(leases: u64, watchers: u64, ttl: i64) {
    let mut side = Side::ours(NODES).await;
    let clients = connect(&side.urls()).await;
    let mut meter = Meter::new(&mut side);
    let granted = Instant::now();
    each(&clients, leases, async move |mut client, number| {
        let lease = client.lease_grant(ttl, None).await.expect("grant").id();
        let options = PutOptions::new().with_lease(lease);
        client.put(key(number), "", Some(options)).await.expect("put");
    })
    .await;
    meter.row(&mut side, "leases granted, a key each", leases);

    let (heard, mut streams) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for (at, client) in clients.iter().enumerate() {
        let (mut client, heard) = (client.clone(), Arc::clone(&heard));
        let mut own = (0..watchers).skip(at).step_by(CLIENTS);
        let Some(first) = own.next() else { continue };
        let mut stream = client.watch(key(first), None).await.expect("watch");
        for number in own {
            stream.watch(key(number), Some(WatchOptions::new())).await.expect("watch");
        }
        streams.spawn(async move {
            while let Ok(Some(answer)) = stream.message().await {
                let events = answer.events().len() + usize::from(answer.created());
                heard.fetch_add(events as u64, Ordering::Relaxed);
            }
        });
    }
    eventually("all watchers are there", LONG, async || {
        let there = heard.load(Ordering::Relaxed);
        ensure(there >= watchers, || format!("{there} of {watchers}"))
    })
    .await;
    meter.row(&mut side, "watchers of a key each", watchers);

    let left = Duration::from_secs(ttl.unsigned_abs()).saturating_sub(granted.elapsed());
    println!("{:<28} until the first lease runs out: {left:.1?}", "idle");
    eventually("every watcher heard the end of its key", LONG, async || {
        let ended = heard.load(Ordering::Relaxed) - watchers;
        ensure(ended >= watchers, || format!("{ended} of {watchers}"))
    })
    .await;
    let late = granted.elapsed().saturating_sub(Duration::from_secs(ttl.unsigned_abs()));
    meter.row(&mut side, "leases run out, and are told", leases);
    println!("the last end was heard {late:.1?} after the first lease's time was over");
    streams.abort_all();
}

fn key(number: u64) -> String {
    format!("/crowd/{number:09}")
}

async fn connect(urls: &[String]) -> Vec<Client> {
    let mut clients = Vec::new();
    for at in 0..CLIENTS {
        let url = urls[at % urls.len()].clone();
        clients.push(Client::connect([url], None).await.expect("connect"));
    }
    clients
}

/// Does `work` for each number below `count`, by all clients at once.
async fn each(clients: &[Client], count: u64, work: impl AsyncFn(Client, u64) + Copy + 'static) {
    let set = tokio::task::LocalSet::new();
    for (at, client) in clients.iter().enumerate() {
        let client = client.clone();
        set.spawn_local(async move {
            for number in (0..count).skip(at).step_by(CLIENTS) {
                work(client.clone(), number).await;
            }
        });
    }
    set.await;
}

/// Prints what a part took, beginning where the part before ended.
struct Meter {
    began: Instant,
    cpu: f64,
    resident: u64,
}

impl Meter {
    fn new(side: &mut Side) -> Self {
        println!(
            "{:<28} {:>8} {:>9} {:>10} {:>20}",
            "", "seconds", "a second", "CPU each", "memory a node"
        );
        Self { began: Instant::now(), cpu: side.cpu_seconds(), resident: side.resident_bytes() }
    }

    fn row(&mut self, side: &mut Side, what: &str, count: u64) {
        let (seconds, count) = (self.began.elapsed().as_secs_f64(), count.max(1) as f64);
        let (cpu, resident) = (side.cpu_seconds(), side.resident_bytes());
        let mib = |bytes: u64| bytes as f64 / NODES as f64 / f64::from(1 << 20);
        println!(
            "{what:<28} {seconds:>8.1} {:>9.0} {:>7.1} µs {:>7.0} MiB ({:+.2} KiB)",
            count / seconds,
            (cpu - self.cpu) / count * 1e6,
            mib(resident),
            (mib(resident) - mib(self.resident)) * 1024.0 / count,
        );
        *self = Self { began: Instant::now(), cpu, resident };
    }
}
