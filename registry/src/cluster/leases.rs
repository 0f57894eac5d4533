//! Leases: renewed in the leader's memory, wherever it is, and what is left of long ones noted in the log.

use prost::Message;
use tokio::time::Instant;
use watchkeep_api::peer::LeaseResponse;

use super::{Cluster, ClusterError, PAUSE, REQUEST_TIMEOUT, now_ms};
use crate::{
    lessor::{CHECKPOINTS_MAX, Left, Renewal},
    mvcc::Refusal,
    schema::{Body, Command, LeaseCheckpoint, LeaseRest, Revoke},
};

/// Times that the notes of leases are taken back before a renewal is given up.
const RENEW_TRIES: usize = 3;

impl Cluster {
    /// Renews leases, wherever the leader is; answers in their order.
    pub(crate) async fn renew(&self, ids: Vec<i64>) -> Result<Vec<LeaseResponse>, ClusterError> {
        self.0.renewer.renew(ids).await
    }

    /// Renews leases on the leader, for [`crate::renewal`].
    pub(crate) async fn renew_batch(
        &self,
        ids: &[i64],
    ) -> Result<Vec<LeaseResponse>, ClusterError> {
        let asking = async {
            loop {
                let answer = match self.remote_leader() {
                    Some(leader) => {
                        let answer = self.0.peers.renew(leader.id, &leader.address, ids).await;
                        answer.map_err(|_| ClusterError::NotLeader)
                    }
                    None => self.renew_here(ids).await,
                };
                match answer {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    other => return other,
                }
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, asking).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// What is left of a lease, asked of the leader.
    pub(crate) async fn lease(&self, id: i64) -> Result<LeaseResponse, ClusterError> {
        let asking = async {
            loop {
                let answer = match self.remote_leader() {
                    Some(leader) => {
                        let answer = self.0.peers.lease(leader.id, &leader.address, id).await;
                        answer.map_err(|_| ClusterError::NotLeader)
                    }
                    None => self.lease_here(id).await,
                };
                match answer {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    other => return other,
                }
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, asking).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Renews leases if this member leads, which it makes sure of first: a leader that was replaced must not promise
    /// what its successor does not know.
    pub(crate) async fn renew_here(&self, ids: &[i64]) -> Result<Vec<LeaseResponse>, ClusterError> {
        self.read_index_here().await?;
        for _ in 0..RENEW_TRIES {
            let renewals = self.0.lessor.renew(ids, Instant::now());
            // Just elected: it does not know yet what is left.
            let renewals = renewals.ok_or(ClusterError::NotLeader)?;
            if !renewals.contains(&Renewal::Noted) {
                self.0.metrics.leases_renewed.inc_by(ids.len() as u64);
                return Ok(renewals.into_iter().map(renewed).collect());
            }
            let _turn = self.0.checkpoints.lock().await;
            let (term, rests) = self.0.lessor.to_take_back(ids);
            for rests in rests.chunks(CHECKPOINTS_MAX) {
                self.checkpoint(term, rests.to_vec()).await?;
            }
        }
        Err(ClusterError::NotLeader)
    }

    /// What is left of a lease if this member leads.
    pub(crate) async fn lease_here(&self, id: i64) -> Result<LeaseResponse, ClusterError> {
        self.read_index_here().await?;
        if !self.0.lessor.leads() {
            return Err(ClusterError::NotLeader);
        }
        Ok(self.0.lessor.left(id, Instant::now()).map_or(NO_LEASE, response))
    }

    /// Notes in the log what is left of long leases, if this member leads.
    pub(crate) async fn note_leases(&self) -> Result<(), ClusterError> {
        let _turn = self.0.checkpoints.lock().await;
        let (term, rests) = self.0.lessor.to_note(Instant::now());
        if rests.is_empty() { Ok(()) } else { self.checkpoint(term, rests).await }
    }

    /// One checkpoint at a time: a note must not come after it has been taken back.
    async fn checkpoint(&self, term: u64, rests: Vec<LeaseRest>) -> Result<(), ClusterError> {
        let body = Some(Body::LeaseCheckpoint(LeaseCheckpoint { rests, term }));
        let command = Command { time_ms: now_ms(), body, ..Command::default() };
        let outcome = self.propose_here(command.encode_to_vec().into()).await?;
        match outcome.refusal {
            0 => Ok(()),
            refusal if refusal == Refusal::Corrupt as u32 => Err(ClusterError::Corrupt),
            _ => Err(ClusterError::NotLeader),
        }
    }

    /// Revokes a lease that ran out while this member led in `term`. Never by way of another leader: that one knows
    /// of renewals that this one does not.
    pub(crate) async fn expire(&self, id: i64, term: u64) -> Result<(), ClusterError> {
        let body = Some(Body::Revoke(Revoke { id, term }));
        let command = Command { time_ms: now_ms(), body, ..Command::default() };
        let outcome = self.propose_here(command.encode_to_vec().into()).await?;
        if outcome.refusal == 0 {
            self.0.metrics.etcd.leases_expired.inc();
        }
        // It stays as it is until the alarm ends.
        if outcome.refusal == Refusal::Corrupt as u32 { Err(ClusterError::Corrupt) } else { Ok(()) }
    }
}

/// There is no such lease.
const NO_LEASE: LeaseResponse = LeaseResponse { left_ms: -1, granted_seconds: 0 };

fn response(left: Left) -> LeaseResponse {
    LeaseResponse {
        left_ms: i64::try_from(left.left.as_millis()).unwrap_or(i64::MAX),
        granted_seconds: left.granted_seconds,
    }
}

fn renewed(renewal: Renewal) -> LeaseResponse {
    match renewal {
        Renewal::Renewed(left) => response(left),
        Renewal::Unknown | Renewal::Noted => NO_LEASE,
    }
}
