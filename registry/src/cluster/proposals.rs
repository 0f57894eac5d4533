//! Proposing a command: it goes into the leader's log, from here or by way of the leader, and is answered with what applying it gave.

use std::sync::PoisonError;

use bytes::Bytes;
use openraft::{
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, RaftError},
};
use prost::Message;
use tracing::debug_span;
use watchkeep_api::peer::Answers;

use super::{
    Cluster, ClusterError, PAUSE, REQUEST_TIMEOUT,
    forward::{self, Leader},
    now_ms,
    queue::{self, Queue},
    remote,
};
use crate::{
    auth::Caller,
    mvcc::{Refusal, refused_by},
    raft::types::Encoded,
    schema::{Body, Command, Outcome},
    spans::within,
};

/// How often a command is tried whose caller has changed on the way.
const TRIES_MAX: usize = 5;

impl Cluster {
    /// Puts a command of this member's own into the log, through the leader, and answers with what applying it gave.
    /// What a client asks for goes by [`Self::propose_for`].
    pub(crate) async fn propose(&self, body: Body) -> Result<Outcome, ClusterError> {
        self.propose_as(body, "", 0).await
    }

    /// The same for a caller, who is judged where the command stands in the log. When users or roles have changed on
    /// its way there, it is tried again with what its caller is now.
    pub(crate) async fn propose_for(
        &self,
        caller: &Caller,
        body: Body,
    ) -> Result<Outcome, ClusterError> {
        if caller.user().is_empty() {
            return self.propose_as(body, "", caller.revision()).await;
        }
        let mut caller = caller.clone();
        for _ in 1..TRIES_MAX {
            let outcome = self.propose_as(body.clone(), caller.user(), caller.revision()).await?;
            if outcome.refusal != Refusal::AuthOldRevision as u32 {
                return Ok(outcome);
            }
            let revision = outcome.auth.map_or(0, |auth| auth.revision);
            let renewing = self.auth().renewed(&caller, revision, self.applied_index());
            let renewed = tokio::time::timeout(REQUEST_TIMEOUT, renewing).await;
            match renewed.map_err(|_| self.late())? {
                Some(renewed) => caller = renewed.map_err(ClusterError::Denied)?,
                None => return Ok(outcome),
            }
        }
        self.propose_as(body, caller.user(), caller.revision()).await
    }

    async fn propose_as(
        &self,
        body: Body,
        auth_user: &str,
        auth_revision: u64,
    ) -> Result<Outcome, ClusterError> {
        if let Some(refused) = self.refused_by_alarm(&body).await? {
            return Ok(refused);
        }
        let span = debug_span!("propose");
        let command = Command {
            time_ms: now_ms(),
            body: Some(body),
            trace_parent: watchkeep_api::trace::trace_parent(&span).unwrap_or_default(),
            auth_user: auth_user.to_owned(),
            auth_revision,
        };
        let command = Bytes::from(command.encode_to_vec());
        let _pending = self.0.metrics.proposal();
        let proposing = async {
            loop {
                match self.propose_once(command.clone()).await {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    other => return other,
                }
            }
        };
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, within(span, proposing)).await;
        let answer = answer.unwrap_or_else(|_| Err(self.late()));
        if answer.is_err() {
            self.0.metrics.proposals_failed.inc();
        }
        answer
    }

    /// Keeps out of the log what an alarm refuses anyway. This member may not know yet that the alarm has ended, so it asks
    /// the leader first.
    async fn refused_by_alarm(&self, body: &Body) -> Result<Option<Outcome>, ClusterError> {
        if refused_by(self.0.store.alarms(), body).is_none() {
            return Ok(None);
        }
        let view = self.linearizable_view().await?;
        let applied = view.applied();
        Ok(refused_by(applied.alarms, body).map(|refusal| Outcome {
            refusal: refusal as u32,
            revision: applied.revision,
            term: applied.term,
            ..Outcome::default()
        }))
    }

    async fn propose_once(&self, command: Bytes) -> Result<Outcome, ClusterError> {
        let answer = match self.to_leader() {
            Some(queue) => queue.push(command)?,
            None => self.0.lead.push(command)?,
        };
        // Whoever had it has ended without a word.
        answer.await.unwrap_or(Err(ClusterError::LeaderChanged))
    }

    /// The queue to the leader, when it is known and another member. That to a former one is served until all in it is
    /// answered.
    fn to_leader(&self) -> Option<Queue> {
        let standing = self.0.standing.borrow_watched();
        let (id, address) = remote(&standing, self.0.id)?;
        let mut forward = self.0.forward.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((to, queue)) = &*forward
            && (to.id, &to.address) == (id, address)
        {
            return Some(queue.clone());
        }
        let leader = Leader { id, address: address.clone() };
        let (queue, batches) = queue::queue(self.0.requests_max);
        let (peers, applied) = (self.0.peers.clone(), self.0.applied_index.clone());
        tokio::spawn(forward::run(batches, peers, leader.clone(), applied));
        *forward = Some((leader, queue.clone()));
        Some(queue)
    }

    /// Puts another member's batch of commands into the log, if this member leads. Answers when all are answered.
    pub(crate) async fn propose_all(&self, commands: Vec<Bytes>) -> Answers {
        let waiting: Vec<_> =
            commands.into_iter().map(|command| self.0.lead.push(command)).collect();
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.push(forward::proposed(match answer {
                Ok(answer) => answer.await.unwrap_or(Err(ClusterError::LeaderChanged)),
                Err(refused) => Err(refused),
            }));
        }
        Answers { answers }
    }

    /// Puts a command into the log if this member leads.
    pub(super) async fn propose_here(&self, command: Bytes) -> Result<Outcome, ClusterError> {
        match self.0.raft.client_write(Encoded(command)).await {
            Ok(written) => written.data.outcome.ok_or(ClusterError::Stopped),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(ClusterError::NotLeader)
            }
            Err(RaftError::APIError(_)) => Err(ClusterError::LeaderChanged),
            Err(RaftError::Fatal(_)) => Err(ClusterError::Stopped),
        }
    }
}
