//! Follows the other members' lives and calls elections.

use std::{collections::HashMap, time::Duration};

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};
use tracing::{debug, info};

use super::{Campaign, nothing_due};
use crate::cluster::Cluster;

/// How often a member looks whether an election is due, once one can be.
const TICK: Duration = Duration::from_millis(10);
/// A look that comes later than it should by so much means that this member stood still, not that the leader was silent.
const STOOD_STILL: Duration = Duration::from_millis(150);
/// Pause before a member that does not answer is asked again.
const RETRY: Duration = Duration::from_millis(50);
/// How often the membership is looked at.
const MEMBERS: Duration = Duration::from_secs(1);

/// Calls elections when they are due. A member that leads does not look before that ends.
pub(crate) async fn elections(cluster: Cluster, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut campaign = Campaign::new(cluster.timing(), random.random());
    let mut changes = cluster.raft().server_metrics();
    let (mut before, mut rest) = (Instant::now(), TICK);
    loop {
        if changes.borrow_watched().state == ServerState::Leader {
            if changes.changed().await.is_err() {
                return;
            }
            (before, rest) = (Instant::now(), TICK);
            continue;
        }
        tokio::time::sleep(rest).await;
        let now = Instant::now();
        let late = (now - before).saturating_sub(rest);
        before = now;
        if late > STOOD_STILL {
            debug!(?late, "this member stood still");
            cluster.vitals().stood_still(late, now);
        }
        let seen = cluster.seen(now);
        rest = nothing_due(cluster.timing(), &seen).max(TICK);
        if !campaign.is_due(now, &seen, random.random()) {
            continue;
        }
        info!(quiet = ?seen.quiet, gone = seen.gone, "calling an election");
        cluster.metrics().elections.inc();
        if cluster.raft().trigger().elect(true).await.is_err() {
            return;
        }
    }
}

/// Holds a call open to every other member, which breaks when its process ends.
pub(crate) async fn members(cluster: Cluster) {
    let mut ticks = tokio::time::interval(MEMBERS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut tasks, mut followed) = (JoinSet::new(), HashMap::<(u64, String), AbortHandle>::new());
    loop {
        ticks.tick().await;
        let own = cluster.id();
        let others: Vec<(u64, String)> = cluster
            .membership()
            .into_iter()
            .filter(|(id, _, _)| *id != own)
            .map(|(id, peer, _)| (id, peer.address))
            .collect();
        followed.retain(|member, task| {
            let stays = others.contains(member);
            if !stays {
                task.abort();
            }
            stays
        });
        for member in others {
            followed.entry(member).or_insert_with_key(|(id, address)| {
                tasks.spawn(follow(cluster.clone(), *id, address.clone()))
            });
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn follow(cluster: Cluster, id: u64, address: String) {
    let mut known = None;
    loop {
        let asked =
            tokio::time::timeout(cluster.timing().lease, cluster.peers().alive(id, &address));
        match asked.await {
            Ok(Ok((process, mut life))) => {
                // One that is there in another's place leads no more, if it did.
                let same = known.replace(process).is_none_or(|known| known == process);
                cluster.vitals().answers(id, same, Instant::now());
                while let Ok(Some(_)) = life.message().await {}
                debug!(member = id, "connection lost");
            }
            _ => {
                if known.is_some() {
                    cluster.vitals().ended(id, Instant::now());
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
