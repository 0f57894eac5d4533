//! How this member stands: whether it hears a leader, and whether it would vote for another.

use std::time::Duration;

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use tokio::time::Instant;

use super::Cluster;
use crate::{
    election::{Seen, would_vote},
    raft::types::Vote,
};

impl Cluster {
    /// Whether it may vote for another member. One that has just come back does not know that it confirmed a leader
    /// a moment ago; that leader answers reads without asking, for as long as nobody who confirmed it votes anew.
    pub(crate) fn may_vote(&self) -> bool {
        Instant::now() >= self.0.votes_from
    }

    /// A message of a leader has come. One of a former leader, which knows nothing of a higher vote, does not count.
    pub(crate) fn heard_from(&self, vote: &Vote) {
        if *vote >= self.0.raft.metrics().borrow_watched().vote {
            self.0.vitals.heard(Instant::now());
        }
    }

    /// What this member sees, for elections.
    pub(crate) fn seen(&self, now: Instant) -> Seen {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (own, vitals) = (self.0.id, &self.0.vitals);
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let leads = metrics.state == ServerState::Leader;
        let leader = metrics.current_leader.filter(|leader| *leader != own);
        let (quiet, new) = vitals.quiet(now);
        let before = voters
            .iter()
            .filter(|id| **id < own && Some(**id) != leader && !vitals.is_absent(**id));
        Seen {
            may_stand: voters.contains(&own) && !leads,
            alone: voters == [own],
            quiet,
            new,
            gone: leader.is_none_or(|leader| vitals.leader_has_ended(leader)),
            rank: u32::try_from(before.count()).unwrap_or(u32::MAX),
        }
    }

    /// Whether it says that it would vote for another. A leader does not as long as others confirm it.
    pub(crate) fn would_vote(&self) -> bool {
        let now = Instant::now();
        let leads = self.leader() == Some(self.0.id);
        if leads { !self.has_leader() } else { would_vote(self.0.timing, &self.seen(now)) }
    }

    /// How long a leader or a follower may be silent until it is taken for lost.
    pub(crate) fn patience(&self) -> Duration {
        self.0.silence
    }

    /// Whether there is a leader within reach: itself, confirmed by a quorum, or another that was heard lately.
    pub(crate) fn has_leader(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        match metrics.current_leader {
            Some(leader) if leader == self.0.id => {
                // A lone voter is its own quorum; openraft keeps no time for it.
                let alone = metrics.membership_config.voter_ids().nth(1).is_none();
                let confirmed = metrics.last_quorum_acked;
                let fresh =
                    confirmed.is_some_and(|at| openraft::Instant::elapsed(&*at) < self.0.silence);
                alone || fresh
            }
            Some(_) => self.0.vitals.quiet(Instant::now()).0 < self.0.silence,
            None => false,
        }
    }
}
