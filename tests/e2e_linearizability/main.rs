//! Linearizability under faults. Three members run in network namespaces of their own; clients put, get, delete, compare
//! and swap, hold leases and watch, while members are killed, paused, cut off, muted, slowed, removed and replaced, and
//! their clocks shifted. Everything that clients were told is written down and then judged (`check/`).
//!
//! Needs root and `ip` (apt package iproute2); without them the test is skipped with a message, and with `CI=true` it
//! fails. `WATCHKEEP_SEED` (default: drawn, and printed) gives faults and operations, not their exact times;
//! `WATCHKEEP_SECONDS` (default: 46) says how long faults are made.
//!
//! `mutants.rs` shows that the checks find what they are there for, and `mutants/cluster.rs` that they find a bug that is
//! put back into the product. And it has found bugs that nobody had put in: a restarted leader that led on in its old term
//! and read by an old committed index, and progress told below what was shown.

#![allow(clippy::print_stdout, reason = "seed, faults and counts are for whoever reads a failure")]

mod check;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod history;
mod leases;
mod member;
mod membership;
mod mutants;
mod network;
mod rpc;
mod truth;
mod watchers;

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use clients::{Client, Run};
use faults::Nemesis;
use history::{Action, Ending, Event, History, Step};
use member::Member;
use network::Network;
use watchers::Plan;

const MEMBERS: usize = 3;
const CLIENTS: usize = 9;
const LEASE_CLIENTS: usize = 6;
const SECONDS: u64 = 46;
/// Until all is well again after the last fault.
const RECOVERY: Duration = Duration::from_secs(30);
/// Breaches that a failure shows.
const SHOWN: usize = 8;

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a whole number")))
}

/// For the members; none, and a message, where there can be none.
fn network() -> Option<Network> {
    match Network::create(MEMBERS) {
        Ok(network) => Some(network),
        Err(why) if env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => {
            println!("skipped, no network namespaces: {why}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_are_linearizable_while_members_fail() {
    let Some(network) = network() else { return };
    let seed =
        setting("WATCHKEEP_SEED").unwrap_or_else(|| StdRng::from_os_rng().random_range(0..1 << 32));
    let seconds = setting("WATCHKEEP_SECONDS").unwrap_or(SECONDS);
    println!("WATCHKEEP_SEED={seed} WATCHKEEP_SECONDS={seconds}");
    let dir = tempfile::TempDir::with_prefix("watchkeep-linearizability-").expect("a folder");
    let history = observe(network, seed, Duration::from_secs(seconds), dir.path()).await;
    let began = Instant::now();
    let wrong = check::check(&history);
    println!("{}; judged in {:?}", summary(&history), began.elapsed());
    if !wrong.is_empty() {
        let kept = dir.keep();
        fs::write(kept.join("history"), format!("{history:#?}")).expect("write the history");
        let shown: Vec<_> = wrong.iter().take(SHOWN).map(String::as_str).collect();
        panic!(
            "WATCHKEEP_SEED={seed}: {} breaches, the history and the members' logs are in {}:\n{}",
            wrong.len(),
            kept.display(),
            shown.join("\n")
        );
    }
    // What hardly did anything has shown hardly anything.
    let answered = history.records.iter().filter(|record| record.outcome().is_some()).count();
    assert!(answered as u64 > seconds * 20, "only {answered} operations were answered");
}

/// Starts the members and waits until all are ready.
async fn start(
    network: Network,
    seed: u64,
    dir: &Path,
    bug: Option<&'static str>,
) -> (Nemesis, Run) {
    let mut members: Vec<Member> =
        (0..MEMBERS).map(|at| Member::layout(&network, at, MEMBERS, dir, bug)).collect();
    members.iter_mut().for_each(|member| member.start(&network));
    let run = Run {
        began: Instant::now(),
        over: Arc::default(),
        members: Arc::new(members.iter().map(|m| (m.url.clone(), Arc::clone(&m.lives))).collect()),
        records: Arc::new(Mutex::new(Vec::new())),
    };
    let mut nemesis = Nemesis::new(network, members, run.clone(), seed);
    ready(&mut nemesis, &run).await;
    (nemesis, run)
}

/// Starts everything, lets it run with faults, waits for calm and collects what there is to judge.
async fn observe(network: Network, seed: u64, time: Duration, dir: &Path) -> History {
    let (mut nemesis, run) = start(network, seed, dir, None).await;
    let (end, ended) = tokio::sync::watch::channel(None);
    let watchers: Vec<_> = plans()
        .into_iter()
        .map(|plan| tokio::spawn(watchers::follow(plan, run.clone(), ended.clone())))
        .collect();
    let clients: Vec<_> =
        (0..CLIENTS).map(|id| tokio::spawn(Client::new(id, run.clone(), seed).work())).collect();
    let holders: Vec<_> = (CLIENTS..CLIENTS + LEASE_CLIENTS)
        .map(|id| tokio::spawn(leases::hold(id, run.clone(), seed)))
        .collect();
    let faults = nemesis.work(run.now() + time).await;
    nemesis.heal().await;
    ready(&mut nemesis, &run).await;
    let calm = run.now();
    println!("{calm:>9.3?} calm after {faults} faults");
    run.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("the client did not fail");
    }
    let mut leases = Vec::new();
    for holder in holders {
        leases.extend(holder.await.expect("the holder did not fail"));
    }
    leases_ended(&run, &leases).await;
    let last = mark(&run, seed).await;
    end.send_replace(Some(last));
    let mut watches = Vec::new();
    for watcher in watchers {
        let watcher = tokio::time::timeout(RECOVERY, watcher).await;
        watches.extend(watcher.expect("watchers reach the end").expect("it did not fail"));
    }
    let accounts = accounts(&run, last).await;
    let records = std::mem::take(&mut *run.records.lock().expect("no holder panicked"));
    History { records, watches, leases, accounts, calm }
}

fn plans() -> Vec<Plan> {
    let all = Plan { prefix: "", member: None, prev_kv: false, no_delete: false };
    let here = |member| Plan { member: Some(member), ..all.clone() };
    vec![
        here(0),
        here(1),
        here(2),
        all.clone(),
        Plan { prefix: "r/", prev_kv: true, ..here(1) },
        Plan { prefix: "a/", no_delete: true, ..all.clone() },
        Plan { prefix: "lease/", prev_kv: true, ..all },
    ]
}

/// Waits until each member answers a linearizable read.
async fn ready(nemesis: &mut Nemesis, run: &Run) {
    for at in 0..MEMBERS {
        let channel = rpc::channel(&run.members[at].0);
        let read = Action::plain(Step::Read { key: "ready".to_owned() });
        assert_eq!(nemesis.members[at].ended(), None);
        common::eventually(&format!("member {} is ready", at + 1), RECOVERY, async || {
            let ending = rpc::perform(&channel, &read).await;
            common::wait::ensure(matches!(ending, Ending::Answered(_)), || format!("{ending:?}"))
        })
        .await;
    }
}

/// Waits until no key of a lease is left; how long that may take is judged later.
async fn leases_ended(run: &Run, leases: &[history::Lease]) {
    let longest = leases.iter().map(|lease| lease.ttl).max().unwrap_or_default();
    let channel = rpc::channel(&run.members[0].0);
    let scan = Action::plain(Step::Scan { prefix: "lease/".to_owned() });
    common::eventually("all leases have ended", longest + RECOVERY, async || {
        let ending = rpc::perform(&channel, &scan).await;
        let none = matches!(&ending, Ending::Answered(outcome) if outcome.found[0].is_empty());
        common::wait::ensure(none, || format!("{ending:?}"))
    })
    .await;
}

/// The last write of all; its revision.
async fn mark(run: &Run, seed: u64) -> i64 {
    let mut client = Client::new(CLIENTS + LEASE_CLIENTS, run.clone(), seed);
    let value = client.value();
    let last = Action::plain(Step::Put { key: "z".to_owned(), value, lease: 0 });
    let record = client.perform(last).await.expect("all is well");
    record.outcome().unwrap_or_else(|| panic!("all is well: {record:?}")).revision
}

/// Each member's own account of everything up to `last`.
async fn accounts(run: &Run, last: i64) -> BTreeMap<usize, Vec<Event>> {
    let mut accounts = BTreeMap::new();
    for member in 0..MEMBERS {
        let plan = Plan { prefix: "", member: Some(member), prev_kv: true, no_delete: false };
        let (_end, ended) = tokio::sync::watch::channel(Some(last));
        let told = watchers::follow(plan, run.clone(), ended);
        let told = tokio::time::timeout(RECOVERY, told).await.expect("members tell what happened");
        let batches = told.into_iter().flat_map(|watch| watch.batches);
        accounts.insert(member, batches.flat_map(|batch| batch.events).collect());
    }
    accounts
}

fn summary(history: &History) -> String {
    let count = |wanted: fn(&Ending) -> bool| {
        history.records.iter().filter(|record| wanted(&record.ending)).count()
    };
    let answered = history.records.iter().filter(|record| record.outcome().is_some());
    let mut took: Vec<Duration> = answered.map(|record| record.end - record.begin).collect();
    took.sort_unstable();
    format!(
        "{} operations answered (median {:.1?}), {} refused, {} with an unknown end; {} events, {} leases, {} watches",
        took.len(),
        took.get(took.len() / 2).copied().unwrap_or_default(),
        count(|ending| *ending == Ending::Refused),
        count(|ending| *ending == Ending::Unknown),
        history.accounts.values().next().map_or(0, Vec::len),
        history.leases.len(),
        history.watches.len()
    )
}
