//! Renewing many leases over one stream: what the heartbeats of a fleet come down to.

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;
use watchkeep_api::etcdserverpb::{LeaseKeepAliveRequest, lease_client::LeaseClient};

use super::Client;

/// Renewals that wait to be sent; beyond it callers wait.
const WAITING_MAX: usize = 16_384;
/// Renewals under way on the stream.
const UNDER_WAY_MAX: usize = 1_024;
/// How long a renewal is tried.
const TRY_FOR: Duration = Duration::from_secs(5);
/// A stream that owes answers for so long is given up.
const SILENCE: Duration = Duration::from_secs(1);
/// Before a broken stream is opened anew.
const PAUSE: Duration = Duration::from_millis(50);

struct Ask {
    lease: i64,
    answer: oneshot::Sender<i64>,
}

/// Renews leases for any number of callers over one stream. Cheap to clone; the stream ends with the last clone.
#[derive(Debug, Clone)]
pub struct Renewer(mpsc::Sender<Ask>);

impl Renewer {
    /// Renews; answers in the order of `leases` with the seconds each has now: 0 when it is gone, none when the
    /// registry did not answer within 5 s.
    pub async fn renew(&self, leases: &[i64]) -> Vec<Option<i64>> {
        let deadline = Instant::now() + TRY_FOR;
        let one = |lease: i64| async move {
            loop {
                let (answer, answered) = oneshot::channel();
                timeout_at(deadline, self.0.send(Ask { lease, answer })).await.ok()?.ok()?;
                match timeout_at(deadline, answered).await {
                    Ok(Ok(left)) => return Some(left),
                    // The stream broke: a renewal may be repeated.
                    Ok(Err(_)) => {}
                    Err(_) => return None,
                }
            }
        };
        join_all(leases.iter().map(|lease| one(*lease))).await
    }
}

impl Client {
    /// Opens a stream for renewals, and opens it anew whenever it breaks.
    #[must_use]
    pub fn renewer(&self) -> Renewer {
        let (sender, mut asks) = mpsc::channel(WAITING_MAX);
        let client = self.clone();
        tokio::spawn(async move {
            // Nobody asks: no stream.
            while let Some(first) = asks.recv().await {
                if let Err(status) = client.renew_over_one(first, &mut asks).await {
                    debug!(%status, "the stream of renewals broke");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Renewer(sender)
    }

    /// One stream, until it breaks or nobody asks any more. What it owes then is asked again by the callers.
    async fn renew_over_one(
        &self,
        first: Ask,
        asks: &mut mpsc::Receiver<Ask>,
    ) -> Result<(), tonic::Status> {
        let (at, channel) = self.endpoints.current();
        let fail = |status: tonic::Status| {
            self.endpoints.rotate(at);
            status
        };
        let (requests, receiver) = mpsc::channel(UNDER_WAY_MAX);
        let mut owed: HashMap<i64, Vec<oneshot::Sender<i64>>> = HashMap::new();
        let ask = |ask: Ask, owed: &mut HashMap<i64, Vec<oneshot::Sender<i64>>>| {
            owed.entry(ask.lease).or_default().push(ask.answer);
            // There is room: no more are under way.
            let _ = requests.try_send(LeaseKeepAliveRequest { id: ask.lease });
        };
        ask(first, &mut owed);
        let link = self.login.link(channel).await.map_err(fail)?;
        let mut leases = LeaseClient::new(link);
        let opened = leases.lease_keep_alive(ReceiverStream::new(receiver));
        let opened = tokio::time::timeout(SILENCE, opened).await;
        let opened = opened.unwrap_or_else(|_| Err(tonic::Status::unavailable("no answer")));
        let mut answers = opened.map_err(fail)?.into_inner();
        loop {
            tokio::select! {
                more = asks.recv(), if owed.len() < UNDER_WAY_MAX && requests.capacity() > 0 => match more {
                    Some(more) => ask(more, &mut owed),
                    None => return Ok(()),
                },
                answer = answers.message(), if !owed.is_empty() => {
                    let answer = answer.map_err(fail)?;
                    let answer = answer.ok_or_else(|| fail(tonic::Status::unavailable("the stream ended")))?;
                    for waiting in owed.remove(&answer.id).into_iter().flatten() {
                        // Whoever asked may have gone.
                        let _ = waiting.send(answer.ttl);
                    }
                }
                () = tokio::time::sleep(SILENCE), if !owed.is_empty() => {
                    return Err(fail(tonic::Status::unavailable("no answer to a renewal")));
                }
            }
        }
    }
}
