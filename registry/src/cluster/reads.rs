//! The index that a linearizable read must have applied, asked for by many at once and found out once for all of them:
//! one question is under way, and whoever comes meanwhile joins the next. (One that is under way may have been answered
//! already by the leader, so it says nothing of what was acknowledged since.)

use std::time::Duration;

use openraft::{LinearizerOption, async_runtime::watch::WatchReceiver};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Cluster, ClusterError, PAUSE, REQUEST_TIMEOUT, bug, forward::Leader};
use crate::{
    raft::{Peers, types::Raft},
    store::StoreView,
};

/// Most that are answered together.
const TOGETHER_MAX: usize = 4_096;
/// A question that is not answered by then is asked again.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A linearizable read that takes longer to begin is a slow one: etcd asks again after that.
const SLOW_READ_INDEX: Duration = Duration::from_millis(500);

/// What was found out.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadIndex {
    pub(super) index: u64,
    /// Whether this member leads.
    pub(super) here: bool,
}

type Found = Result<ReadIndex, ClusterError>;

/// Where reads ask.
#[derive(Debug, Clone)]
pub(super) struct Reads(mpsc::Sender<oneshot::Sender<Found>>);

/// Where they are answered.
#[derive(Debug)]
pub(super) struct Asked(mpsc::Receiver<oneshot::Sender<Found>>);

/// A queue for at most `reads_max`.
pub(super) fn queue(reads_max: usize) -> (Reads, Asked) {
    let (sender, receiver) = mpsc::channel(reads_max);
    (Reads(sender), Asked(receiver))
}

impl Reads {
    /// The index, from the leader, wherever it is.
    ///
    /// # Errors
    /// `NotLeader`: there is none that answers, ask again; `TooManyRequests`; `Stopped`.
    pub(super) async fn index(&self) -> Found {
        let (answer, found) = oneshot::channel();
        self.0.try_send(answer).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ClusterError::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => ClusterError::Stopped,
        })?;
        found.await.unwrap_or(Err(ClusterError::Stopped))
    }
}

impl Cluster {
    /// A view that has everything that was acknowledged before this call.
    pub(crate) async fn linearizable_view(&self) -> Result<StoreView, ClusterError> {
        self.catch_up().await?;
        Ok(self.0.store.view())
    }

    /// Waits until everything is applied here that was acknowledged before this call.
    pub(crate) async fn catch_up(&self) -> Result<(), ClusterError> {
        if bug::reads_ask_no_leader() {
            return Ok(());
        }
        let reading = async {
            let index = loop {
                match self.0.reads.index().await {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    found => break found?.index,
                }
            };
            if *self.0.applied_index.borrow() >= index {
                return Ok(());
            }
            let mut applied = self.0.applied_index.clone();
            let reached = applied.wait_for(|applied| *applied >= index).await;
            reached.map(|_| ()).map_err(|_| ClusterError::Stopped)
        };
        let began = Instant::now();
        let read = tokio::time::timeout(REQUEST_TIMEOUT, reading).await;
        if began.elapsed() > SLOW_READ_INDEX {
            self.0.metrics.etcd.slow_read_indexes.inc();
        }
        if !matches!(read, Ok(Ok(()))) {
            self.0.metrics.etcd.read_indexes_failed.inc();
        }
        read.unwrap_or_else(|_| Err(self.late()))
    }

    /// The index that a linearizable read must have applied, if this member leads.
    pub(crate) async fn read_index_here(&self) -> Result<u64, ClusterError> {
        if self.remote_leader().is_some() {
            return Err(ClusterError::NotLeader);
        }
        let found = self.0.reads.index().await?;
        if found.here { Ok(found.index) } else { Err(ClusterError::NotLeader) }
    }

    /// Resolves when this member, which leads, has applied everything that was committed before it did.
    pub(crate) async fn applied_as_leader(&self) -> Result<(), ClusterError> {
        let index = self.read_index_here().await?;
        let mut applied = self.0.applied_index.clone();
        let reached = applied.wait_for(|applied| *applied >= index).await;
        reached.map(drop).map_err(|_| ClusterError::Stopped)
    }
}

/// Answers until every [`Reads`] is gone.
pub(super) async fn run(mut asked: Asked, id: u64, raft: Raft, peers: Peers) {
    let (mut waiting, standing) = (Vec::new(), raft.server_metrics());
    while asked.0.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
        let leader = Leader::known(&standing.borrow_watched(), id);
        let asking = async {
            match leader {
                Some(leader) => {
                    let index = peers.read_index(leader.id, &leader.address).await.ok()?;
                    Some(ReadIndex { index, here: false })
                }
                None => Some(ReadIndex { index: index_here(&raft).await?, here: true }),
            }
        };
        let found = tokio::time::timeout(TIMEOUT, asking).await.ok().flatten();
        for waiting in waiting.drain(..) {
            // Whoever waited may have gone.
            let _ = waiting.send(found.ok_or(ClusterError::NotLeader));
        }
    }
}

/// The index if this member leads: by its leader lease, or by a round of heartbeats when that is not fresh.
async fn index_here(raft: &Raft) -> Option<u64> {
    let linearizer = raft.get_read_linearizer(LinearizerOption::new(None, true)).await;
    linearizer.ok().map(|linearizer| linearizer.read_log_id().index())
}
