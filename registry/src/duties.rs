//! What a member does in the background: follow the leadership, expire leases, refresh metrics, publish itself.

use std::time::Duration;

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use prometheus::IntCounter;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tracing::{debug, info};

use crate::{
    cluster::{Cluster, ClusterError},
    mvcc,
    node::raft_numbers,
    schema::{Body, MemberInfo},
};

pub(crate) mod members;

mod etcd;

pub(crate) use etcd::refresh as refresh_etcd_metrics;

/// How often leases are looked at: the most by which one outlives its TTL, apart from the revocation itself.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);
/// Leases revoked in one such interval: 2,000 a second (etcd: 1,000).
const EXPIRE_MAX: usize = 200;
/// Pause before a new leader looks again whether it is confirmed.
const LEADER_PAUSE: Duration = Duration::from_millis(5);
/// Revocations under way at once.
const REVOKES_MAX: usize = 64;
/// Steps by which watchers that are behind are counted, in revisions.
const WATCHER_LAGS: [i64; 5] = [1, 10, 100, 1_000, 10_000];
/// Watchers shown one by one, those that are furthest behind.
const WATCHERS_SHOWN: usize = 10;
const METRICS_INTERVAL: Duration = Duration::from_millis(500);
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Tells the lessor when this member begins and ends to lead.
pub(crate) async fn watch_leadership(cluster: Cluster) {
    let mut changes = cluster.raft().server_metrics();
    let (mut promoted, mut leader_seen) = (None, None);
    loop {
        let (leader, leads) = {
            let now = changes.borrow_watched();
            let term = now.vote.leader_id.term;
            (now.current_leader, (now.state == ServerState::Leader).then_some(term))
        };
        if leader.is_some() && leader != leader_seen {
            cluster.metrics().leader_changes.inc();
            leader_seen = leader;
        }
        cluster.metrics().is_leader.set(i64::from(leads.is_some()));
        if promoted.is_some() && promoted != leads {
            cluster.lessor().demote();
            promoted = None;
        }
        let Some(term) = leads.filter(|_| promoted.is_none()) else {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        // What is left of leases counts only when everything of the leaders before has been applied.
        match cluster.applied_as_leader().await {
            Ok(()) if cluster.term() == term && cluster.leader() == Some(cluster.id()) => {
                info!(term, "this member leads now");
                cluster.lessor().promote(term, Instant::now());
                promoted = Some(term);
            }
            Ok(()) => {}
            Err(ClusterError::Stopped) => return,
            Err(error) => {
                debug!(%error, "not confirmed as the leader yet");
                tokio::time::sleep(LEADER_PAUSE).await;
            }
        }
    }
}

/// Lets openraft's clock tick, a hundred times a second, only while it is needed: for the heartbeats of a leader that is not
/// alone. Elections are called by [`crate::election`].
pub(crate) async fn tick(cluster: Cluster) {
    let mut changes = cluster.raft().server_metrics();
    loop {
        let beats = {
            let now = changes.borrow_watched();
            now.state == ServerState::Leader && now.membership_config.nodes().nth(1).is_some()
        };
        cluster.raft().runtime_config().tick(beats);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Revokes leases that have run out, at a bounded pace: a mass expiry must not stall the writes.
pub(crate) async fn expire_leases(cluster: Cluster) {
    let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut revoking: JoinSet<()> = JoinSet::new();
    loop {
        ticks.tick().await;
        let (term, due) = cluster.lessor().expired(Instant::now(), EXPIRE_MAX);
        for (id, late) in due {
            while revoking.len() >= REVOKES_MAX {
                revoking.join_next().await;
            }
            cluster.metrics().lease_lateness.observe(late.as_secs_f64());
            let cluster = cluster.clone();
            revoking.spawn(async move {
                match cluster.expire(id, term).await {
                    Ok(()) => cluster.metrics().leases_expired.inc(),
                    Err(error) => {
                        debug!(lease = id, %error, "lease not revoked yet");
                        cluster.lessor().retry(id, Instant::now());
                    }
                }
            });
        }
        while revoking.try_join_next().is_some() {}
    }
}

/// Notes in the log what is left of long leases.
pub(crate) async fn note_leases(cluster: Cluster) {
    let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = cluster.note_leases().await {
            debug!(%error, "the rest of leases was not noted");
        }
    }
}

/// Tells the others this member's name and where clients find it, until they know.
pub(crate) async fn publish(cluster: Cluster, name: String, client_url: String) {
    let info = MemberInfo { id: cluster.id(), name, client_urls: vec![client_url] };
    loop {
        if cluster.members().is_ok_and(|members| members.contains(&info)) {
            return;
        }
        if let Err(error) = cluster.propose(Body::Publish(info.clone())).await {
            debug!(%error, "member not published yet");
            tokio::time::sleep(PUBLISH_INTERVAL).await;
        }
    }
}

/// Brings the gauges up to date.
pub(crate) async fn refresh_metrics(cluster: Cluster) {
    let mut ticks = tokio::time::interval(METRICS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        raft_gauges(&cluster);
        cluster.auth().refresh_metrics();
        storage_gauges(&cluster);
        watch_gauges(&cluster);
        stage_gauges(&cluster).await;
    }
}

fn int(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Lifts a counter to `total`.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn raft_gauges(cluster: &Cluster) {
    let (m, now) = (cluster.metrics(), raft_numbers(cluster.raft()));
    m.has_leader.set(i64::from(cluster.has_leader()));
    m.term.set(int(now.term));
    raise(&m.committed, now.committed);
    raise(&m.applied, now.applied);
    m.last_log.set(int(now.last_log));
    for role in ["leader", "follower", "candidate", "learner"] {
        m.role.with_label_values(&[role]).set(i64::from(role == now.role));
    }
    let metrics = cluster.raft().metrics();
    let metrics = metrics.borrow_watched();
    m.snapshot_index.set(int(metrics.snapshot.map_or(0, |id| id.index)));
    m.purged_index.set(int(metrics.purged.map_or(0, |id| id.index)));
    m.lag.reset();
    let own = [(cluster.id(), Some(now.last_log))];
    let confirmed =
        metrics.replication.iter().flatten().map(|(id, at)| (*id, at.map(|at| at.index)));
    // A member that does not lead knows nothing of the others' progress: it shows none.
    for (id, at) in own.into_iter().chain(confirmed) {
        let lag = now.last_log.saturating_sub(at.unwrap_or_default());
        m.lag.with_label_values(&[&id.to_string()]).set(int(lag));
    }
}

fn storage_gauges(cluster: &Cluster) {
    let (m, stats) = (cluster.metrics(), cluster.store().stats());
    let held = stats.disk_bytes + stats.memtable_bytes as u64;
    m.db_bytes.set(int(held));
    m.db_in_use_bytes.set(int(held));
    m.disk_bytes.set(int(stats.disk_bytes));
    m.segments.set(int(stats.segments));
    m.l0_segments.set(int(stats.l0_segments));
    m.cache_hits.set(stats.cache_hit_ratio);
    m.cache_bytes.set(int(stats.cache_bytes));
    m.pinned_bytes.set(int(stats.pinned_bytes));
    raise(&m.forgotten_rows, stats.forgotten_rows);
    m.memtable_rows.set(int(stats.memtable_rows));
    m.write_buffer.set(int(stats.memtable_bytes));
    m.outstanding_flushes.set(int(stats.sealed_memtables));
    m.active_compactions.set(i64::from(stats.merging));
    raise(&m.compactions, stats.merges);
    m.compacting_seconds.set(stats.merging_seconds);
    let applied = cluster.store().applied();
    m.keys.set(applied.keys);
    m.revision.set(applied.revision);
    m.compact_revision.set(applied.compact_revision);
    let (leases, due) = cluster.lessor().count(Instant::now());
    m.leases.set(int(leases));
    m.leases_due.set(int(due));
    m.alarms.reset();
    if cluster.store().alarms() != 0
        && let Ok(alarms) = mvcc::alarms(&cluster.store().view())
    {
        for (kind, member) in alarms {
            let kind = if kind == mvcc::CORRUPT { "CORRUPT" } else { "NOSPACE" };
            m.alarms.with_label_values(&[&format!("{member:x}"), kind]).set(1);
        }
    }
}

fn watch_gauges(cluster: &Cluster) {
    let (m, lags) = (cluster.metrics(), cluster.hub().lags());
    m.watch_streams.set(int(cluster.hub().stream_count()));
    for step in WATCHER_LAGS {
        let behind = lags.partition_point(|lag| lag.revisions >= step);
        m.watchers_behind.with_label_values(&[&step.to_string()]).set(int(behind));
    }
    m.watcher_lag.reset();
    for lag in lags.iter().take(WATCHERS_SHOWN) {
        let labels = [lag.stream.to_string(), lag.watcher.to_string()];
        m.watcher_lag.with_label_values(&labels).set(lag.revisions);
    }
}

/// openraft measures each entry on its way; the newest thousand make these quantiles.
async fn stage_gauges(cluster: &Cluster) {
    let Ok(mut stats) = cluster.raft().runtime_stats().await else { return };
    stats.build_log_stage_histograms();
    let stages = &stats.log_stage_histograms;
    for (stage, histogram) in [
        ("queued", &stages.proposed_to_received),
        ("appended", &stages.received_to_submitted),
        ("fsynced", &stages.submitted_to_persisted),
        ("replicated", &stages.persisted_to_committed),
        ("applied", &stages.committed_to_applied),
        ("total", &stages.proposed_to_applied),
    ] {
        let found = histogram.percentile_stats();
        for (percentile, micros) in [("0.5", found.p50), ("0.99", found.p99)] {
            #[expect(clippy::cast_precision_loss, reason = "microseconds of one stage are few")]
            let seconds = micros as f64 / 1e6;
            cluster.metrics().stage_quantiles.with_label_values(&[stage, percentile]).set(seconds);
        }
    }
}
