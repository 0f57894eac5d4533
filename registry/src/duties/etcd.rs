//! Brings the gauges of etcd's names up to date.

use std::{collections::BTreeSet, fs, time::Duration};

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::MissedTickBehavior;

use super::int;
use crate::{cluster::Cluster, etcd::ETCD_VERSION, node::raft_numbers};

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);
/// File descriptors are counted only each so many rounds: it means reading a directory.
const DESCRIPTORS_EVERY: u32 = 10;

/// Does so for as long as the member runs.
pub(crate) async fn refresh(cluster: Cluster) {
    let m = &cluster.metrics().etcd;
    m.id.with_label_values(&[&format!("{:x}", cluster.id())]).set(1);
    m.version.with_label_values(&[ETCD_VERSION]).set(1);
    let minor = ETCD_VERSION.rsplit_once('.').map_or(ETCD_VERSION, |(minor, _)| minor);
    m.cluster_version.with_label_values(&[minor]).set(1);
    let mut learners = BTreeSet::new();
    let (mut ticks, mut round) = (tokio::time::interval(INTERVAL), 0u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        members(&cluster, &mut learners);
        state(&cluster);
        if round.is_multiple_of(DESCRIPTORS_EVERY) {
            // Elsewhere than on Linux there is no /proc, and these stay 0.
            if let Ok(Some((used, limit))) = tokio::task::spawn_blocking(descriptors).await {
                m.fd_used.set(used);
                m.fd_limit.set(limit);
            }
        }
        round = round.wrapping_add(1);
    }
}

fn members(cluster: &Cluster, learners: &mut BTreeSet<u64>) {
    let m = &cluster.metrics().etcd;
    let numbers = raft_numbers(cluster.raft());
    let leads = numbers.leader == Some(cluster.id());
    m.is_learner.set(i64::from(numbers.is_learner));
    let heard: BTreeSet<u64> = if leads {
        let metrics = cluster.raft().metrics();
        let metrics = metrics.borrow_watched();
        let acked = metrics.heartbeat.iter().flatten();
        let lately = acked.filter(|(_, at)| {
            at.is_some_and(|at| openraft::Instant::elapsed(&*at) < cluster.patience())
        });
        lately.map(|(id, _)| *id).collect()
    } else {
        numbers.leader.filter(|_| cluster.has_leader()).into_iter().collect()
    };
    let own = format!("{:x}", cluster.id());
    m.known_peers.reset();
    m.active_peers.reset();
    for (id, _, is_learner) in cluster.membership() {
        if is_learner {
            learners.insert(id);
        } else if learners.remove(&id) && leads {
            m.learner_promotions.inc();
        }
        if id != cluster.id() {
            let labels = [own.as_str(), &format!("{id:x}")];
            m.known_peers.with_label_values(&labels).set(1);
            m.active_peers.with_label_values(&labels).set(i64::from(heard.contains(&id)));
        }
    }
}

fn state(cluster: &Cluster) {
    let (m, all) = (&cluster.metrics().etcd, cluster.metrics());
    m.db_bytes.set(all.db_bytes.get());
    m.quota_bytes.set(all.db_bytes.get() + all.free_bytes.get());
    m.keys.set(all.keys.get());
    m.revision.set(all.revision.get());
    m.compact_revision.set(all.compact_revision.get());
    m.watchers.set(all.watchers.get());
    m.snapshot_applying.set(i64::from(cluster.store().life().is_none()));
    m.watch_streams.set(int(cluster.hub().stream_count()));
    let lags = cluster.hub().lags();
    m.slow_watchers.set(int(lags.len()));
    m.pending_events.set(lags.iter().map(|lag| lag.revisions).sum());
}

/// File descriptors in use, and most of them.
fn descriptors() -> Option<(i64, i64)> {
    let used = fs::read_dir("/proc/self/fd").ok()?.count();
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let limit = line.split_whitespace().next()?;
    Some((int(used), limit.parse().unwrap_or(i64::MAX)))
}
