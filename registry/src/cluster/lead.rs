//! The leader's end of the write path: batches of proposals go into the log, and each is answered as it is applied.

use std::time::Instant;

use futures::{StreamExt, stream::FuturesUnordered};
use openraft::errors::ClientWriteError;

use super::{
    ClusterError,
    queue::{Batches, Proposal},
};
use crate::{
    metrics::Metrics,
    raft::types::{Encoded, Raft},
};

/// Batches under way at once: one on its way through the logs, and one that goes into the leader's log meanwhile.
const WINDOW: usize = 2;

/// Serves batches until every queue is gone and the last of them is answered.
pub(super) async fn run(mut batches: Batches, raft: Raft, metrics: std::sync::Arc<Metrics>) {
    let mut writing = FuturesUnordered::new();
    // The size of the newest one; it is at least that of those before it.
    let mut size = 0;
    loop {
        let at_least = if writing.is_empty() { 1 } else { size };
        tokio::select! {
            biased;
            Some(()) = writing.next(), if !writing.is_empty() => {}
            batch = batches.next(at_least), if writing.len() < WINDOW => match batch {
                Some(batch) => {
                    size = batch.len();
                    writing.push(write(&raft, &metrics, batch));
                }
                None => break,
            }
        }
    }
    while writing.next().await.is_some() {}
}

async fn write(raft: &Raft, metrics: &Metrics, batch: Vec<Proposal>) {
    let began = Instant::now();
    let (commands, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(Proposal::split).unzip();
    // None: the core has ended; each is told below.
    let mut written = raft.client_write_many(commands.into_iter().map(Encoded)).await.ok();
    for answer in waiting {
        let next = match &mut written {
            Some(written) => written.next().await,
            None => None,
        };
        // Whoever waited may have gone.
        let _ = answer.send(match next {
            Some(Ok(Ok(written))) => {
                metrics.proposed(began.elapsed());
                written.response.outcome.ok_or(ClusterError::Stopped)
            }
            Some(Ok(Err(ClientWriteError::ForwardToLeader(_)))) => Err(ClusterError::NotLeader),
            // It was in the log of a leader that lost the lead: the next one has it, or nobody.
            Some(Ok(Err(_))) => Err(ClusterError::LeaderChanged),
            Some(Err(_)) | None => Err(ClusterError::Stopped),
        });
    }
}
