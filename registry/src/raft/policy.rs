//! When to take snapshots and purge the log: our own policy, never openraft's (its issue 2116 is a panic when a
//! purge overtakes an apply).

use std::{sync::Arc, time::Duration};

use openraft::{Config, SnapshotPolicy};
use tracing::{debug, warn};

use super::types::Raft;
use crate::{config::RegistryConfig, election::Timing};

/// How often the policy looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Pauses between two tries to send entries to a member that is away, up to the last. Heartbeats are tried beside them.
const BACKOFF: &str = "10ms 50ms 100ms ..200ms";

/// The times that decide about elections.
pub(crate) fn timing(config: &RegistryConfig) -> Timing {
    Timing::new(config.heartbeat_interval_ms, config.election_timeout_ms)
}

/// openraft's configuration.
pub(crate) fn raft_config(config: &RegistryConfig) -> Result<Arc<Config>, openraft::ConfigError> {
    let lease = u64::try_from(timing(config).lease.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "watchkeep".to_owned(),
        heartbeat_interval: config.heartbeat_interval_ms,
        // What openraft calls by this name is the leader's lease too; elections are called by `election`.
        election_timeout_min: lease - 1,
        election_timeout_max: lease,
        enable_elect: false,
        // A leader that comes back would lead on in its old term, with the committed index that it happened to have
        // stored: its reads would lack what was committed since. It must be elected, and commit in its new term first.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::Never,
        // A member further behind than the log reaches gets a snapshot anyway.
        replication_lag_threshold: u64::MAX,
        max_in_snapshot_log_to_keep: config.log_entries_kept,
        purge_batch_size: 1024,
        max_payload_entries: 512,
        install_snapshot_timeout: 60_000,
        backoff: BACKOFF.to_owned(),
        ..Config::default()
    }
    .validate()
    .map(Arc::new)
}

/// Takes a snapshot each time `log_entries_kept` entries have been applied since the last; openraft then purges
/// what is that far behind it. So a purge is always that wide a margin behind what is applied here.
pub(crate) async fn run_snapshots(raft: Raft, entries: u64) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let (applied, taken) = {
            let metrics = raft.metrics();
            let metrics = openraft::async_runtime::watch::WatchReceiver::borrow_watched(&metrics);
            (
                metrics.last_applied.map_or(0, |id| id.index),
                metrics.snapshot.map_or(0, |id| id.index),
            )
        };
        if applied < taken + entries {
            continue;
        }
        debug!(applied, taken, "taking a snapshot");
        if let Err(error) = raft.trigger().snapshot().await {
            warn!(%error, "no snapshot could be taken");
            return;
        }
    }
}
