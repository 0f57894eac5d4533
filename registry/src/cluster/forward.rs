//! The follower's end of the write path: its clients' proposals go to the leader in batches over one stream.
//!
//! A proposal is answered `NotLeader` only when it was never sent or the leader says that it did not take it: then it
//! may be made again. One that was sent and not answered is `LeaderChanged`: nobody knows.
//!
//! Whoever waits is told when this member has applied the command, too: a client that reads here what it has just written
//! here finds it, even without asking the leader, as with etcd.

use std::{collections::VecDeque, time::Duration};

use prost::Message;
use tokio::sync::{mpsc, oneshot, watch};
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
/// something to send, and again after it broke. `applied` is the log index that this member has applied.
pub(super) async fn run(
    mut batches: Batches,
    peers: Peers,
    leader: Leader,
    applied: watch::Receiver<u64>,
) {
    let (known, told) = mpsc::channel(WINDOW);
    tokio::spawn(tell(told, applied));
    while let Some(batch) = batches.next(1).await {
        match Session::open(&peers, &leader, known.clone()).await {
            Ok(session) => session.serve(batch, &mut batches).await,
            Err(error) => {
                tracing::debug!(leader = leader.id, %error, "the leader cannot be reached");
                refuse(batch);
            }
        }
    }
}

/// Those of one batch who wait, and what they are told.
type Known = Vec<(oneshot::Sender<Answer>, Answer)>;

/// Tells each batch's answers when this member has applied what they are of. Nobody waits longer than a request may take,
/// and a member that goes down tells nothing.
async fn tell(mut told: mpsc::Receiver<Known>, mut applied: watch::Receiver<u64>) {
    while let Some(known) = told.recv().await {
        let indexes = known.iter().filter_map(|(_, answer)| Some(answer.as_ref().ok()?.index));
        let index = indexes.max().unwrap_or_default();
        if applied.wait_for(|applied| *applied >= index).await.is_err() {
            return;
        }
        for (waiting, answer) in known {
            // Whoever waited may have gone.
            let _ = waiting.send(answer);
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
    /// Where answers go until they are told.
    known: mpsc::Sender<Known>,
}

impl Session {
    /// # Errors
    /// Why it cannot be opened. Nothing has been sent then.
    async fn open(
        peers: &Peers,
        leader: &Leader,
        known: mpsc::Sender<Known>,
    ) -> Result<Self, tonic::Status> {
        let head = Commands { cluster_id: peers.cluster_id(), to: leader.id, commands: Vec::new() };
        let mut client = peers
            .client(&leader.address)
            .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let (commands, sent) = mpsc::channel(WINDOW);
        let opening = client.propose_stream(ReceiverStream::new(sent));
        let opened = tokio::time::timeout(OPEN_TIMEOUT, opening).await;
        let answers = opened.map_err(|_| tonic::Status::unavailable("no answer"))??.into_inner();
        Ok(Self { head, commands, answers, waiting: VecDeque::new(), known })
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
                    Ok(Some(answers)) => self.answered(answers.answers).await,
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

    async fn answered(&mut self, answers: Vec<Proposed>) {
        let waiting = self.waiting.pop_front().into_iter().flatten();
        let answers = answers.into_iter().map(fate).map(Some);
        let answers = answers.chain(std::iter::repeat_with(|| None));
        let known = waiting.zip(answers);
        let known = known
            .map(|(waiting, answer)| (waiting, answer.unwrap_or(Err(ClusterError::LeaderChanged))));
        // A member that goes down tells nothing any more.
        let _ = self.known.send(known.collect()).await;
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

    #[tokio::test]
    async fn an_answer_is_told_when_its_command_is_applied_here() {
        let (applied, index) = watch::channel(6);
        let (known, told) = mpsc::channel(WINDOW);
        let telling = tokio::spawn(tell(told, index));
        let (first, mut answered) = oneshot::channel();
        let (second, mut refused) = oneshot::channel();
        let outcome = Outcome { index: 7, ..Outcome::default() };
        let batch = vec![(first, Ok(outcome.clone())), (second, Err(ClusterError::NotLeader))];
        known.send(batch).await.expect("there is room");
        tokio::task::yield_now().await;
        assert!(answered.try_recv().is_err() && refused.try_recv().is_err(), "not applied yet");
        applied.send_replace(7);
        assert_eq!(answered.await.expect("told").expect("applied"), outcome);
        assert!(matches!(refused.await.expect("told"), Err(ClusterError::NotLeader)));

        let (third, never) = oneshot::channel();
        let outcome = Outcome { index: 8, ..Outcome::default() };
        known.send(vec![(third, Ok(outcome))]).await.expect("there is room");
        drop(applied);
        assert!(never.await.is_err(), "the member goes down");
        telling.await.expect("it ends");
    }

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
