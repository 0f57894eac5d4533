//! Giving the leadership away (Raft, dissertation §3.10): to whom an operator says, and before this member is removed.
//!
//! A leader that has begun to hand over takes no more writes and sends no heartbeats until another leads, and openraft
//! cannot be told to let it be. So it begins only with one that is there and can be elected.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use tracing::info;

use super::{
    Cluster, ClusterError, PAUSE,
    members::{ASK, CHANGE_TIMEOUT},
};

/// Pause before a leader that is to be removed asks its successor again.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(200);

/// Why a member was not given the leadership.
#[derive(Debug, Error)]
pub(crate) enum NotMoved {
    /// This member does not lead.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// It is no voter.
    #[error("etcdserver: bad leader transferee")]
    BadTransferee,
    /// It did not answer, did not catch up, or was not elected in time.
    #[error("etcdserver: request timed out, leader transfer took too long")]
    TookTooLong,
    /// Nothing is known of the members, or this one is going down.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl Cluster {
    /// Gives the leadership to a voter, and returns when that one leads. Each step may take an election timeout, as in
    /// etcd.
    pub(crate) async fn move_leader(&self, target: u64) -> Result<(), NotMoved> {
        if self.leader() != Some(self.0.id) {
            return Err(NotMoved::NotLeader);
        }
        let members = self.membership().into_iter();
        let voter = members.filter(|(_, _, is_learner)| !is_learner).find(|(id, ..)| *id == target);
        let Some((_, peer, _)) = voter else { return Err(NotMoved::BadTransferee) };
        if target == self.0.id {
            return Ok(());
        }
        let limit = self.0.timing.timeout;
        // Heartbeats tell of the last seconds only: whether it is there is asked now.
        let there = self.0.peers.identity(&peer.address, ASK.min(limit)).await;
        let known = (target, self.cluster_id());
        if there.is_none_or(|answer| (answer.node_id, answer.cluster_id) != known) {
            return Err(NotMoved::TookTooLong);
        }
        self.caught_up(target, Instant::now() + limit).await?;
        info!(to = target, "leadership moves");
        let asked = self.0.raft.trigger().transfer_leader(target).await;
        asked.map_err(|_| ClusterError::Stopped)?;
        let led = self.0.raft.wait(Some(limit));
        let led = led.metrics(|now| now.current_leader == Some(target), "the other leads").await;
        led.map(drop).map_err(|_| NotMoved::TookTooLong)
    }

    /// Waits until a member has what this leader has, but for what is on its way.
    async fn caught_up(&self, target: u64, deadline: Instant) -> Result<(), NotMoved> {
        loop {
            let seats = self.seats(&self.roster()?);
            if seats.iter().any(|seat| seat.id == target && seat.in_sync()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(NotMoved::TookTooLong);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives the leadership to the voter that is furthest; then it is for that one to remove this member.
    pub(super) async fn hand_over(&self) -> Result<u64, ClusterError> {
        let deadline = Instant::now() + CHANGE_TIMEOUT / 2;
        while self.leader() == Some(self.0.id) && Instant::now() < deadline {
            let seats = self.seats(&self.roster()?);
            let others = seats.iter().filter(|seat| seat.id != self.0.id && seat.votes);
            let Some(next) = others.filter(|seat| seat.connected).min_by_key(|seat| seat.lag)
            else {
                return Err(ClusterError::Timeout);
            };
            info!(to = next.id, "this member is to be removed: leadership moves");
            let asked = self.0.raft.trigger().transfer_leader(next.id).await;
            asked.map_err(|_| ClusterError::Stopped)?;
            let left = self.0.raft.wait(Some(HAND_OVER_PAUSE));
            // Not within the pause: asked again.
            let _ =
                left.metrics(|now| now.current_leader != Some(self.0.id), "another leads").await;
        }
        Err(ClusterError::NotLeader)
    }
}
