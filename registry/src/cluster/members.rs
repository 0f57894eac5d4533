//! Changing the members, wherever the leader is; and knowing whether this one still belongs to them.

use std::{collections::BTreeMap, time::Duration};

use openraft::{
    ChangeMembers, EntryPayload, Membership,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, RaftError},
    raft::Precondition,
};
use tokio::time::Instant;
use tracing::{info, warn};
use watchkeep_api::peer::{IdentityResponse, PeerMember};

use super::{Cluster, ClusterError, PAUSE};
use crate::{
    members::{self, Change, Refusal, Seat},
    mvcc::{self, ViewError},
    raft::{
        PeerError, stored_membership,
        types::{Peer, StoredMembership},
    },
    schema::MemberInfo,
};

/// How long a change waits for a leader, for the change before it and for its commit.
pub(super) const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one of the others may take to say who it is.
pub(super) const ASK: Duration = Duration::from_millis(500);

/// A member as everybody may know it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    pub(crate) peer: Peer,
    pub(crate) is_learner: bool,
    /// What it says of itself; none before it was up.
    pub(crate) info: Option<MemberInfo>,
}

/// The members as of one applied index.
pub(super) struct Roster {
    stored: StoredMembership,
    members: Vec<Listed>,
    last_id: u64,
    index: u64,
}

fn unreadable(error: impl ToString) -> ClusterError {
    ClusterError::View(ViewError::new(mvcc::Table::Meta, error))
}

impl Cluster {
    pub(super) fn roster(&self) -> Result<Roster, ClusterError> {
        let view = self.0.store.view();
        let stored = stored_membership(view.applied()).map_err(unreadable)?;
        let infos = mvcc::members(&view)?;
        let membership = stored.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership
            .nodes()
            .map(|(id, peer)| Listed {
                id: *id,
                peer: peer.clone(),
                is_learner: !voters.contains(id),
                info: infos.iter().find(|info| info.id == *id).cloned(),
            })
            .collect::<Vec<_>>();
        let highest = members.iter().map(|member| member.id).max().unwrap_or(0);
        let last_id = mvcc::last_member_id(&view)?.max(highest);
        Ok(Roster { members, last_id, index: view.applied().index, stored })
    }

    /// The members as applied here.
    pub(crate) fn listed(&self) -> Result<Vec<Listed>, ClusterError> {
        Ok(self.roster()?.members)
    }

    /// Who this member is and whom it knows, for whoever asks on the peer listener.
    pub(crate) fn identity(&self) -> Result<IdentityResponse, ClusterError> {
        let roster = self.roster()?;
        let published = roster.members.iter().filter(|member| member.info.is_some());
        Ok(IdentityResponse {
            node_id: self.0.id,
            published: published.map(|member| member.id).collect(),
            cluster_id: self.cluster_id(),
            members: roster
                .members
                .iter()
                .map(|member| PeerMember {
                    id: member.id,
                    address: member.peer.address.clone(),
                    is_learner: member.is_learner,
                })
                .collect(),
            last_member_id: roster.last_id,
            applied_index: roster.index,
        })
    }

    /// Changes the members through the leader; answers with the id of the member changed, and with the change
    /// applied here, unless it was the removal of this member.
    pub(crate) async fn change_member(
        &self,
        change: &Change,
    ) -> Result<Result<u64, Refusal>, ClusterError> {
        let changing = async {
            loop {
                let answer = match self.remote_leader() {
                    Some(leader) => {
                        let (id, address) = (leader.id, &leader.address);
                        match self.0.peers.change_member(id, address, change).await {
                            Ok(answer) => Ok(answer),
                            Err(PeerError::NotTaken(_)) => Err(ClusterError::NotLeader),
                            Err(PeerError::Lost(_)) => Err(ClusterError::LeaderChanged),
                        }
                    }
                    None => self.change_member_here(change).await,
                };
                match answer {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    other => return other,
                }
            }
        };
        let answer = tokio::time::timeout(CHANGE_TIMEOUT, changing).await;
        let changed = answer.unwrap_or_else(|_| Err(self.late()))?;
        // One that was removed hears nothing of it: the leader speaks to members only.
        if changed.is_ok_and(|_| *change != Change::Remove { id: self.0.id }) {
            self.linearizable_view().await?;
        }
        Ok(changed)
    }

    /// Changes the members if this member leads. [`ClusterError::NotLeader`] when it must be tried again, here or
    /// elsewhere: nothing has happened then.
    pub(crate) async fn change_member_here(
        &self,
        change: &Change,
    ) -> Result<Result<u64, Refusal>, ClusterError> {
        let _alone = self.0.changing.lock().await;
        let patience = Instant::now() + self.0.silence * 2;
        loop {
            let index = self.read_index_here().await?;
            let mut applied = self.0.applied_index.clone();
            let reached = applied.wait_for(|applied| *applied >= index).await;
            reached.map_err(|_| ClusterError::Stopped)?;
            let roster = self.roster()?;
            match members::check(&self.seats(&roster), change) {
                Ok(()) => return self.carry_out(&roster, change).await.map(Ok),
                // A new leader has to hear from everybody first.
                Err(Refusal::Unhealthy) if Instant::now() < patience => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }

    /// The members with what only the leader knows of them.
    pub(super) fn seats(&self, roster: &Roster) -> Vec<Seat> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last_log = metrics.last_log_index.unwrap_or_default();
        let seat = |member: &Listed| {
            let own = member.id == self.0.id;
            let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&member.id)?);
            let matched = metrics.replication.as_ref().and_then(|at| *at.get(&member.id)?);
            Seat {
                id: member.id,
                address: member.peer.address.clone(),
                votes: !member.is_learner,
                arriving: member.is_learner && member.peer.arriving,
                started: member.info.is_some(),
                connected: own
                    || heard
                        .is_some_and(|at| openraft::Instant::elapsed(&*at) < self.0.silence * 2),
                lag: if own {
                    0
                } else {
                    last_log.saturating_sub(matched.map_or(0, |at| at.index))
                },
            }
        };
        roster.members.iter().map(seat).collect()
    }

    async fn carry_out(&self, roster: &Roster, change: &Change) -> Result<u64, ClusterError> {
        let membership = roster.stored.membership();
        let mut configs = membership.get_joint_config().clone();
        let mut nodes: BTreeMap<u64, Peer> =
            membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
        let id = match change {
            Change::Add { address, is_learner } => {
                let id = roster.last_id + 1;
                nodes.insert(id, Peer { address: address.clone(), arriving: !is_learner });
                id
            }
            Change::Promote { id } => {
                for voters in &mut configs {
                    voters.insert(*id);
                }
                *id
            }
            Change::Remove { id } if *id == self.0.id => return self.hand_over().await,
            Change::Remove { id } => {
                for voters in &mut configs {
                    voters.remove(id);
                }
                nodes.remove(id);
                *id
            }
            Change::Update { id, address } => {
                let peer = nodes.get(id).cloned().unwrap_or_default();
                let moved = BTreeMap::from([(*id, Peer { address: address.clone(), ..peer })]);
                let condition = condition(roster);
                let set = ChangeMembers::SetNodes(moved);
                settled(self.0.raft.change_membership_if(set, true, condition).await)?;
                info!(member = id, %address, "member is elsewhere now");
                return Ok(*id);
            }
        };
        // One voter more or less at a time: the majorities before and after share a member (Raft, dissertation §4.1).
        let next = Membership::new(configs, nodes).map_err(unreadable)?;
        let condition = condition(roster);
        settled(self.0.raft.append_membership(next, EntryPayload::Blank, condition).await)?;
        info!(member = id, ?change, "members have changed");
        Ok(id)
    }

    /// Gives their votes to members that were added as voters and have caught up, if this member leads.
    pub(crate) async fn seat_arrivals(&self) {
        if self.leader() != Some(self.0.id) {
            return;
        }
        let Ok(roster) = self.roster() else { return };
        let seats = self.seats(&roster);
        for seat in seats.iter().filter(|seat| seat.arriving && seat.started && seat.in_sync()) {
            match self.change_member_here(&Change::Promote { id: seat.id }).await {
                Ok(Ok(id)) => info!(member = id, "has caught up and votes now"),
                Ok(Err(refusal)) => info!(member = seat.id, %refusal, "does not vote yet"),
                Err(error) => info!(member = seat.id, %error, "does not vote yet"),
            }
        }
    }

    /// Asks the others whether this member was removed. Those who do not answer, or are behind, say nothing.
    pub(crate) async fn was_removed(&self, hints: &[String]) -> bool {
        let mut addresses: Vec<String> = hints.to_vec();
        let known = self.membership().into_iter().filter(|(id, ..)| *id != self.0.id);
        addresses.extend(known.map(|(_, peer, _)| peer.address));
        addresses.sort();
        addresses.dedup();
        let asks = addresses.iter().map(|address| self.0.peers.identity(address, ASK));
        futures::future::join_all(asks).await.into_iter().flatten().any(|answer| {
            answer.cluster_id == self.cluster_id()
                && answer.last_member_id >= self.0.id
                && answer.members.iter().all(|member| member.id != self.0.id)
        })
    }

    /// This member was removed: it must end.
    pub(crate) fn set_removed(&self) {
        warn!(id = self.0.id, "this member was removed from the cluster");
        self.0.removed.send_replace(true);
    }

    /// Resolves when this member was removed from the cluster.
    pub(crate) async fn removed(&self) {
        let mut removed = self.0.removed.subscribe();
        // Its sender lives as long as this does.
        if removed.wait_for(|removed| *removed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets the connections follow the members' addresses.
    pub(crate) fn follow_addresses(&self) {
        let members = self.membership().into_iter();
        self.0.peers.set_addresses(members.map(|(id, peer, _)| (id, peer.address)).collect());
    }
}

/// Only if the membership is still the one that was judged.
fn condition(roster: &Roster) -> [Precondition<crate::raft::types::TypeConfig>; 1] {
    [Precondition::LastMembershipLogId { last_membership_log_id: *roster.stored.log_id() }]
}

type Written = Result<
    openraft::raft::ClientWriteResponse<crate::raft::types::TypeConfig>,
    RaftError<crate::raft::types::TypeConfig, ClientWriteError<crate::raft::types::TypeConfig>>,
>;

fn settled(written: Written) -> Result<(), ClusterError> {
    match written {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(
            ClientWriteError::ForwardToLeader(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_),
        )) => Err(ClusterError::NotLeader),
        Err(RaftError::APIError(_)) => Err(ClusterError::LeaderChanged),
        Err(RaftError::Fatal(_)) => Err(ClusterError::Stopped),
    }
}
