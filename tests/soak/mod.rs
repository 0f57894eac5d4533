//! Three members under the most writes that they take, with snapshots and purges as often as can be, while one after
//! another is killed and started again. It ends with a verdict: no process ended by itself or panicked, nobody called an
//! election before the first was killed, there was a quorum whenever there could be one, nothing that was acknowledged is
//! lost, and memory stays flat.
//!
//! openraft's issue 2116, a panic when a purge overtakes an apply, showed under such a load.

#![allow(unreachable_pub, dead_code, reason = "shared by a test and a benchmark")]

pub mod load;
pub mod memory;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::common::Cluster;
use load::Load;
use memory::Memory;

const NODES: usize = 3;
/// A snapshot and a purge are due after so many entries: the least that can be configured.
const LOG_ENTRIES_KEPT: u64 = 1_000;
/// Small, so that segments are begun and recycled all the time.
const LOG_SEGMENT_BYTES: u64 = 8 << 20;
/// How long a killed member stays away.
const AWAY: Duration = Duration::from_secs(2);
/// Without an acknowledged write for so long, the quorum was lost. An election takes less, on a busy machine too.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Until everything that was acknowledged is seen on each member.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Names of metrics.
const PURGED: &str = "watchkeep_registry_raft_purged_index";
const ELECTIONS: &str = "watchkeep_registry_elections_called_total";

/// How hard and how long.
pub struct Plan {
    /// Of the load.
    pub time: Duration,
    /// Between two kills.
    pub kill_every: Duration,
    /// Writers, each with a connection of its own.
    pub writers: usize,
    /// Least purges that each member must have made for the soak to have shown something.
    pub purges_min: u64,
}

/// What was measured.
pub struct Report {
    /// Acknowledged writes.
    pub writes: u64,
    /// Longest time without one.
    pub silence: Duration,
    /// Members killed.
    pub kills: usize,
    /// Purges seen, by member.
    pub purges: Vec<u64>,
    /// Of the members' memory.
    pub memory: Memory,
    /// Everything that must not be; empty: all is well.
    pub faults: Vec<String>,
}

/// Runs it.
pub async fn soak(plan: &Plan) -> Report {
    let cluster = Cluster::layout_roles(&["registry"; NODES], None, &[]);
    let fields =
        format!("log_entries_kept: {LOG_ENTRIES_KEPT}, log_segment_bytes: {LOG_SEGMENT_BYTES}");
    cluster.nodes.iter().for_each(|node| node.set_registry(&fields));
    let mut cluster = cluster.run().await;
    let mut elections = Vec::new();
    for node in &cluster.nodes {
        elections.push(metric(&node.client, ELECTIONS).await);
    }
    let load = Load::start(&cluster.urls(), plan.writers);
    let (began, mut faults) = (Instant::now(), Vec::new());
    let (mut purged, mut purges) = (vec![0; NODES], vec![0; NODES]);
    let (mut memory, mut kills) = (Memory::new(NODES), 0);
    let (mut next_kill, mut back) = (began + plan.kill_every, None);
    let enough = |purges: &[u64]| purges.iter().all(|purges| *purges >= plan.purges_min);
    // A machine that is slow gets as much again, to make purges enough.
    while began.elapsed() < plan.time || (began.elapsed() < plan.time * 2 && !enough(&purges)) {
        sleep(Duration::from_millis(250)).await;
        for at in 0..NODES {
            if !cluster.nodes[at].is_running() {
                continue;
            }
            if let Some(status) = cluster.nodes[at].process().ended() {
                faults.push(format!("{} ended by itself: {status}", cluster.nodes[at].name));
                cluster.nodes[at].kill();
                back = Some((at, Instant::now()));
                continue;
            }
            memory.sample(at, began.elapsed(), cluster.nodes[at].process().id());
            let now = metric(&cluster.nodes[at].client, PURGED).await.unwrap_or(purged[at]);
            purges[at] += u64::from(now > purged[at]);
            purged[at] = purged[at].max(now);
        }
        match back {
            Some((at, when)) if Instant::now() >= when => {
                cluster.nodes[at].start();
                back = None;
            }
            None if Instant::now() >= next_kill && began.elapsed() + AWAY * 2 < plan.time => {
                if kills == 0 {
                    faults.extend(needless(&cluster, &elections).await);
                }
                let victim = kills % NODES;
                cluster.nodes[victim].kill();
                (kills, next_kill) = (kills + 1, Instant::now() + plan.kill_every);
                back = Some((victim, Instant::now() + AWAY));
            }
            _ => {}
        }
    }
    if let Some((at, _)) = back {
        cluster.nodes[at].start();
    }
    let (acknowledged, silence) = load.stop().await;
    cluster.ready().await;
    faults.extend(lost(&cluster, &acknowledged.values).await);
    for node in &cluster.nodes {
        let log = std::fs::read_to_string(node.log()).unwrap_or_default();
        let panics = log.lines().filter(|line| line.contains("panicked at"));
        faults.extend(panics.map(|line| format!("{}: {line}", node.name)));
    }
    if silence > SILENCE_MAX {
        faults.push(format!("no write was acknowledged for {silence:?}"));
    }
    for (at, purges) in purges.iter().enumerate().filter(|(_, purges)| **purges < plan.purges_min) {
        faults.push(format!("member {} purged {purges} times: too few to show anything", at + 1));
    }
    faults.extend(memory.grows());
    Report { writes: acknowledged.count, silence, kills, purges, memory, faults }
}

/// What members miss of what was acknowledged, each asked for its own state.
async fn lost(cluster: &Cluster, values: &BTreeMap<String, u64>) -> Vec<String> {
    let mut faults = Vec::new();
    for node in &cluster.nodes {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let held = load::held(&format!("http://{}", node.client)).await;
            let missing = held.as_ref().map_or_else(
                |error| vec![error.clone()],
                |held| {
                    let behind = values.iter().filter(|(key, value)| held.get(*key) < Some(*value));
                    behind
                        .map(|(key, value)| format!("{key}: {:?}, not {value}", held.get(key)))
                        .collect()
                },
            );
            if missing.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                let some = &missing[..missing.len().min(3)];
                faults.push(format!(
                    "{} lost {} acknowledged writes: {some:?}",
                    node.name,
                    missing.len()
                ));
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
    faults
}

/// Elections that members have called since `before`, while nobody had failed.
async fn needless(cluster: &Cluster, before: &[Option<u64>]) -> Vec<String> {
    let mut faults = Vec::new();
    for (node, before) in cluster.nodes.iter().zip(before) {
        let called = metric(&node.client, ELECTIONS).await;
        // One that does not answer in a second has its reasons: all cores are busy.
        if let (Some(called), Some(before)) = (called, before)
            && called > *before
        {
            let more = called - before;
            faults.push(format!("{} called {more} elections while nobody had failed", node.name));
        }
    }
    faults
}

/// A number of a member's metrics; none when it does not answer.
async fn metric(client: &str, name: &str) -> Option<u64> {
    let url = format!("http://{client}/metrics");
    let asked = crate::common::http::client().get(url).timeout(Duration::from_secs(1)).send().await;
    let text = asked.ok()?.text().await.ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.parse().ok()
}
