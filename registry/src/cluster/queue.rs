//! Proposals that wait for a batch. Everything is bounded: how many wait, how many bytes they hold, how large a batch
//! is. What does not fit is refused at once, never kept waiting.
//!
//! Nobody waits for a clock. When no batch is on its way, the next proposal goes at once; while some are, the next
//! batch goes when it is no smaller than they are. So a lone client is served at once, and under load batches grow:
//!
//! ```text
//! 1 alone        ─▶ goes at once
//! 1 under way, 1 ─▶ goes at once; 2 under way, so the next 30 gather and go together when the first of them is done
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::ClusterError;
use crate::schema::Outcome;

/// Most commands in a batch.
const BATCH_MAX: usize = 1_024;
/// A batch is closed when it reaches this many bytes; a larger command goes alone.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Most bytes of commands that wait in one queue.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// What became of a proposal.
pub(super) type Answer = Result<Outcome, ClusterError>;

/// A command and who waits for its outcome. One that is dropped unanswered was lost with the member's end.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) command: Bytes,
    answer: oneshot::Sender<Answer>,
}

impl Proposal {
    /// Tells the one who waits; that one may have gone.
    pub(super) fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }

    /// The command, and the place for its answer.
    pub(super) fn split(self) -> (Bytes, oneshot::Sender<Answer>) {
        (self.command, self.answer)
    }
}

/// Where proposals go in.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Proposal>,
    bytes: Arc<AtomicUsize>,
}

/// Where batches come out.
#[derive(Debug)]
pub(super) struct Batches {
    receiver: mpsc::Receiver<Proposal>,
    bytes: Arc<AtomicUsize>,
    /// Taken from the queue, and not enough for a batch yet.
    gathered: Vec<Proposal>,
    gathered_bytes: usize,
}

/// A queue for at most `proposals_max`.
pub(super) fn queue(proposals_max: usize) -> (Queue, Batches) {
    let (sender, receiver) = mpsc::channel(proposals_max);
    let bytes = Arc::new(AtomicUsize::new(0));
    let gathered = Vec::new();
    let queue = Queue { sender, bytes: Arc::clone(&bytes) };
    (queue, Batches { receiver, bytes, gathered, gathered_bytes: 0 })
}

impl Queue {
    /// Queues a command and answers where its outcome will come.
    ///
    /// # Errors
    /// `TooManyRequests` when the queue is full; `Stopped` when nobody serves it any more.
    pub(super) fn push(&self, command: Bytes) -> Result<oneshot::Receiver<Answer>, ClusterError> {
        let length = command.len();
        let waiting = self.bytes.fetch_add(length, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let pushed = if waiting > 0 && waiting + length > QUEUE_BYTES_MAX {
            Err(ClusterError::TooManyRequests)
        } else {
            self.sender.try_send(Proposal { command, answer }).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ClusterError::TooManyRequests,
                mpsc::error::TrySendError::Closed(_) => ClusterError::Stopped,
            })
        };
        if pushed.is_err() {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
        }
        pushed.map(|()| answered)
    }
}

impl Batches {
    /// Waits until there are `at_least` proposals, or a whole batch, and takes along those behind them; none when every
    /// [`Queue`] is gone. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self, at_least: usize) -> Option<Vec<Proposal>> {
        self.gather();
        while self.gathered.len() < at_least && !self.is_full() {
            match self.receiver.recv().await {
                Some(proposal) => self.keep(proposal),
                None => break,
            }
            self.gather();
        }
        self.bytes.fetch_sub(std::mem::take(&mut self.gathered_bytes), Ordering::Relaxed);
        let batch = std::mem::take(&mut self.gathered);
        (!batch.is_empty()).then_some(batch)
    }

    fn gather(&mut self) {
        while !self.is_full()
            && let Ok(proposal) = self.receiver.try_recv()
        {
            self.keep(proposal);
        }
    }

    fn keep(&mut self, proposal: Proposal) {
        self.gathered_bytes += proposal.command.len();
        self.gathered.push(proposal);
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= BATCH_MAX || self.gathered_bytes >= BATCH_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(length: usize) -> Bytes {
        vec![0; length].into()
    }

    #[tokio::test]
    async fn a_batch_is_what_waits_up_to_its_bounds() {
        let (queue, mut batches) = queue(2 * BATCH_MAX);
        let answers: Vec<_> = (0..BATCH_MAX + 3).map(|_| queue.push(command(1)).unwrap()).collect();
        assert_eq!(batches.next(1).await.unwrap().len(), BATCH_MAX);
        assert_eq!(batches.next(1).await.unwrap().len(), 3);
        let large = [BATCH_BYTES_MAX - 1, 1, 1].map(|length| queue.push(command(length)).unwrap());
        assert_eq!(batches.next(1).await.unwrap().len(), 2, "closed by its bytes");
        assert_eq!(batches.next(1).await.unwrap().len(), 1);
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0, "what was taken does not count");
        drop((queue, answers, large));
        assert!(batches.next(1).await.is_none());
    }

    #[tokio::test]
    async fn a_batch_that_is_too_small_waits_and_is_not_lost() {
        let (queue, mut batches) = queue(8);
        let mut answers = vec![queue.push(command(1)).unwrap(), queue.push(command(1)).unwrap()];
        assert!(futures::FutureExt::now_or_never(batches.next(3)).is_none());
        answers.push(queue.push(command(1)).unwrap());
        assert_eq!(batches.next(3).await.unwrap().len(), 3);
        answers.push(queue.push(command(1)).unwrap());
        assert!(futures::FutureExt::now_or_never(batches.next(2)).is_none());
        assert_eq!(batches.next(1).await.unwrap().len(), 1, "nothing is under way any more");
        answers.push(queue.push(command(1)).unwrap());
        drop(queue);
        assert_eq!(batches.next(9).await.unwrap().len(), 1, "nobody else will come");
        assert!(batches.next(1).await.is_none());
    }

    #[test]
    fn what_does_not_fit_is_refused_at_once() {
        let full =
            |result: Result<_, ClusterError>| matches!(result, Err(ClusterError::TooManyRequests));
        let (many, _batches) = queue(2);
        let _first = (many.push(command(1)).unwrap(), many.push(command(1)).unwrap());
        assert!(full(many.push(command(1))), "by number");
        let (large, batches) = queue(9);
        let _second = large.push(command(QUEUE_BYTES_MAX + 1)).expect("alone it may be larger");
        assert!(full(large.push(command(1))), "by bytes");
        drop(batches);
        assert!(matches!(many.push(command(1)), Err(ClusterError::TooManyRequests)));
    }
}
