//! Renewals on their way to the leader: all that wait are sent in one call, and whether the leader still leads is made
//! sure of once for all of them.

use std::time::Duration;

use tokio::sync::{
    mpsc::{self, error::SendTimeoutError},
    oneshot,
};
use watchkeep_api::peer::LeaseResponse;

use crate::cluster::{Cluster, ClusterError};

/// Leases renewed in one call.
const BATCH_MAX: usize = 4_096;
/// Streams whose renewals wait; beyond it they wait to wait.
const WAITING_MAX: usize = 1_024;
/// And for so long at most: whoever is refused then asks again, and a lease lasts longer than that.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// One stream's renewals.
pub(crate) struct Renewals {
    ids: Vec<i64>,
    answer: oneshot::Sender<Result<Vec<LeaseResponse>, ClusterError>>,
}

/// The way to the task that sends them.
#[derive(Clone)]
pub(crate) struct Renewer(mpsc::Sender<Renewals>);

/// Where they arrive.
pub(crate) struct Queue(mpsc::Receiver<Renewals>);

pub(crate) fn queue() -> (Renewer, Queue) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Renewer(sender), Queue(receiver))
}

impl Renewer {
    /// Renews leases; answers in their order.
    pub(crate) async fn renew(&self, ids: Vec<i64>) -> Result<Vec<LeaseResponse>, ClusterError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.send_timeout(Renewals { ids, answer }, WAIT_MAX).await;
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => ClusterError::TooManyRequests,
            SendTimeoutError::Closed(_) => ClusterError::Stopped,
        })?;
        answered.await.map_err(|_| ClusterError::Stopped)?
    }
}

/// Sends what waits, a batch at a time.
pub(crate) async fn run(cluster: Cluster, mut queue: Queue) {
    while let Some(first) = queue.0.recv().await {
        let (mut ids, mut waiting) = (first.ids, Vec::new());
        waiting.push((ids.len(), first.answer));
        while ids.len() < BATCH_MAX
            && let Ok(next) = queue.0.try_recv()
        {
            waiting.push((next.ids.len(), next.answer));
            ids.extend(next.ids);
        }
        cluster
            .metrics()
            .renewal_batch
            .observe(f64::from(u32::try_from(ids.len()).unwrap_or(u32::MAX)));
        match cluster.renew_batch(&ids).await {
            Ok(mut answers) => {
                for (count, answer) in waiting {
                    let rest = answers.split_off(count.min(answers.len()));
                    // A stream that has ended does not wait for its answers.
                    let _ = answer.send(Ok(std::mem::replace(&mut answers, rest)));
                }
            }
            Err(error) => {
                let error = || match error {
                    ClusterError::NoLeader => ClusterError::NoLeader,
                    ClusterError::Stopped => ClusterError::Stopped,
                    _ => ClusterError::Timeout,
                };
                for (_, answer) in waiting {
                    let _ = answer.send(Err(error()));
                }
            }
        }
    }
}
