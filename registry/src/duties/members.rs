//! What a member does for the membership: seat who has arrived, follow who has moved, notice that it was removed.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::MissedTickBehavior;

use crate::cluster::Cluster;

/// How often a leader looks whether an arriving member has caught up.
const ARRIVALS_INTERVAL: Duration = Duration::from_millis(100);
/// How often a member without a leader asks whether it was removed.
const REMOVED_INTERVAL: Duration = Duration::from_millis(500);

/// Gives arriving members their votes.
pub(crate) async fn seat_arrivals(cluster: Cluster) {
    let mut ticks = tokio::time::interval(ARRIVALS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        cluster.seat_arrivals().await;
    }
}

/// Lets connections follow members that have moved.
pub(crate) async fn follow_addresses(cluster: Cluster) {
    let mut changes = cluster.raft().server_metrics();
    loop {
        cluster.follow_addresses();
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Notices that this member was removed: asks at its start, since it may have been down then, and whenever it hears
/// no leader, since a leader speaks to members only. `hints` are peer addresses from the configuration.
pub(crate) async fn notice_removal(cluster: Cluster, hints: Vec<String>) {
    let mut ticks = tokio::time::interval(REMOVED_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = true;
    loop {
        ticks.tick().await;
        if (first || !cluster.has_leader()) && cluster.was_removed(&hints).await {
            cluster.set_removed();
            return;
        }
        first = false;
    }
}
