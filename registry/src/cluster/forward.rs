//! The follower's end of the write path: its clients' proposals go to the leader in batches over one stream.
//!
//! A proposal is answered `NotLeader` only when it was never sent or the leader says that it did not take it: then it
//! may be made again. One that was sent and not answered is `LeaderChanged`: nobody knows.

use std::{collections::VecDeque, time::Duration};

use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use watchkeep_api::peer::{Answers, Commands, Proposed, proposed::Fate};

use super::{
    ClusterError,
    queue::{Answer, Batches, Proposal},
};
use crate::{raft::Peers, schema::Outcome};

/// Batches under way at once.
const WINDOW: usize = 2;
/// How long the leader may take to take a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// A member that may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) id: u64,
    /// Of its peer listener.
    pub(super) address: String,
}

/// Serves batches until the queue is gone and the last of them is answered. The stream is opened when there is
/// something to send, and again after it broke.
pub(super) async fn run(mut batches: Batches, peers: Peers, leader: Leader) {
    while let Some(batch) = batches.next(1).await {
        match Session::open(&peers, &leader).await {
            Ok(session) => session.serve(batch, &mut batches).await,
            Err(error) => {
                tracing::debug!(leader = leader.id, %error, "the leader cannot be reached");
                refuse(batch);
            }
        }
    }
}

/// An open stream to the leader.
struct Session {
    head: Commands,
    commands: mpsc::Sender<Commands>,
    answers: Streaming<Answers>,
    /// Who waits, by batch.
    waiting: VecDeque<Vec<oneshot::Sender<Answer>>>,
}

impl Session {
    /// # Errors
    /// Why it cannot be opened. Nothing has been sent then.
    async fn open(peers: &Peers, leader: &Leader) -> Result<Self, tonic::Status> {
        let head = Commands { cluster_id: peers.cluster_id(), to: leader.id, commands: Vec::new() };
        let mut client = peers
            .client(&leader.address)
            .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let (commands, sent) = mpsc::channel(WINDOW);
        let opening = client.propose_stream(ReceiverStream::new(sent));
        let opened = tokio::time::timeout(OPEN_TIMEOUT, opening).await;
        let answers = opened.map_err(|_| tonic::Status::unavailable("no answer"))??.into_inner();
        Ok(Self { head, commands, answers, waiting: VecDeque::new() })
    }

    /// Sends `first` and what follows it. Returns when the stream breaks, or when the queue is gone and nobody waits.
    async fn serve(mut self, first: Vec<Proposal>, batches: &mut Batches) {
        let mut next = Some(first);
        let mut closed = false;
        while !closed || !self.waiting.is_empty() {
            if let Some(batch) = next.take() {
                self.send(batch);
            }
            let at_least = self.waiting.back().map_or(1, Vec::len);
            tokio::select! {
                biased;
                answers = self.answers.message() => match answers {
                    Ok(Some(answers)) => self.answered(answers.answers),
                    Ok(None) | Err(_) => return self.lost(),
                },
                batch = batches.next(at_least), if !closed && self.waiting.len() < WINDOW => {
                    closed = batch.is_none();
                    next = batch;
                }
            }
        }
    }

    fn send(&mut self, batch: Vec<Proposal>) {
        match self.commands.try_reserve() {
            Ok(permit) => {
                let (commands, waiting) = batch.into_iter().map(Proposal::split).unzip();
                permit.send(Commands { commands, ..self.head.clone() });
                self.waiting.push_back(waiting);
            }
            // The stream has ended, which its answers will say; there is always room for what the window allows.
            Err(_) => refuse(batch),
        }
    }

    fn answered(&mut self, answers: Vec<Proposed>) {
        let waiting = self.waiting.pop_front().into_iter().flatten();
        let answers = answers.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        for (waiting, answer) in waiting.zip(answers) {
            // Whoever waited may have gone.
            let _ = waiting.send(match answer {
                Some(answer) => fate(answer),
                None => Err(ClusterError::LeaderChanged),
            });
        }
    }

    fn lost(self) {
        for waiting in self.waiting.into_iter().flatten() {
            let _ = waiting.send(Err(ClusterError::LeaderChanged));
        }
    }
}

/// Answers those that were not sent.
fn refuse(batch: Vec<Proposal>) {
    for proposal in batch {
        proposal.answer(Err(ClusterError::NotLeader));
    }
}

fn fate(proposed: Proposed) -> Answer {
    match proposed.fate() {
        Fate::Applied => Outcome::decode(proposed.outcome).map_err(|_| ClusterError::LeaderChanged),
        Fate::NotLeader => Err(ClusterError::NotLeader),
        Fate::TooMany => Err(ClusterError::TooManyRequests),
        Fate::Unknown => Err(ClusterError::LeaderChanged),
    }
}

/// What the leader tells of a proposal that came over the stream.
pub(super) fn proposed(answer: Answer) -> Proposed {
    let (fate, outcome) = match answer {
        Ok(outcome) => (Fate::Applied, outcome.encode_to_vec().into()),
        Err(ClusterError::NotLeader) => (Fate::NotLeader, bytes::Bytes::new()),
        Err(ClusterError::TooManyRequests) => (Fate::TooMany, bytes::Bytes::new()),
        Err(_) => (Fate::Unknown, bytes::Bytes::new()),
    };
    Proposed { fate: fate.into(), outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_taken_may_be_made_again() {
        let outcome = Outcome { revision: 7, ..Outcome::default() };
        assert_eq!(fate(proposed(Ok(outcome.clone()))).unwrap(), outcome);
        for (error, again) in [
            (ClusterError::NotLeader, true),
            (ClusterError::TooManyRequests, false),
            (ClusterError::LeaderChanged, false),
            (ClusterError::Stopped, false),
        ] {
            let text = error.to_string();
            let told = fate(proposed(Err(error))).unwrap_err();
            assert_eq!(matches!(told, ClusterError::NotLeader), again, "{text}");
        }
    }
}
