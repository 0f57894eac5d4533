//! One receiver of remote write: its queue, and the task that empties it.

use std::time::Duration;

use bytes::Bytes;
use http::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use prometheus::IntCounter;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};
use watchkeep_series::{Labels, Sample};

use super::codec;
use crate::metrics::ReceiverMetrics;

/// Samples that wait for a receiver.
const QUEUE_MAX: usize = 100_000;
/// Samples of one request.
const BATCH_MAX: usize = 2_000;
/// How long a sample waits for others to share its request.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// Tries of one request: about a minute and a half in all.
const ATTEMPTS_MAX: u32 = 14;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The way to a receiver. Dropped, what waits is dropped with it.
#[derive(Debug)]
pub(super) struct Queue {
    url: String,
    sender: mpsc::Sender<(Labels, Sample)>,
    metrics: ReceiverMetrics,
    _stop: DropGuard,
}

impl Queue {
    /// Starts sending to `{url}/api/v1/write`; `id` is for the log.
    pub(super) fn start(
        id: &str,
        url: &str,
        client: reqwest::Client,
        metrics: ReceiverMetrics,
    ) -> Self {
        let (sender, samples) = mpsc::channel(QUEUE_MAX);
        let stop = CancellationToken::new();
        let task = Task {
            id: id.to_owned(),
            target: format!("{url}/api/v1/write"),
            client,
            metrics: metrics.clone(),
            failing: false,
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(task.run(samples)));
        Self { url: url.to_owned(), sender, metrics, _stop: stop.drop_guard() }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Takes samples; what finds no room is dropped and counted.
    pub(super) fn push(&self, samples: &[(Labels, Sample)]) {
        let lost = samples.iter().filter(|s| self.sender.try_send((*s).clone()).is_err()).count();
        self.metrics.dropped.inc_by(lost as u64);
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        self.metrics.queue.set(waiting as i64);
    }
}

struct Task {
    id: String,
    target: String,
    client: reqwest::Client,
    metrics: ReceiverMetrics,
    failing: bool,
}

/// What one try came to.
enum Tried {
    Sent,
    /// Another try is of no use.
    Refused(String),
    Failed(String),
}

impl Task {
    async fn run(mut self, mut samples: mpsc::Receiver<(Labels, Sample)>) {
        loop {
            let batch = collect(&mut samples).await;
            if batch.is_empty() {
                return;
            }
            self.metrics.queue.set(samples.len() as i64);
            let result = self.send(Bytes::from(codec::encode(&batch))).await;
            result.inc_by(batch.len() as u64);
        }
    }

    /// Sends a body, again and again if need be; answers with the counter of what came of it.
    async fn send(&mut self, body: Bytes) -> &IntCounter {
        let mut pause = PAUSE_MIN;
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(body.clone()).await {
                Tried::Sent => {
                    if std::mem::take(&mut self.failing) {
                        info!(receiver = %self.id, "remote write works again");
                    }
                    return &self.metrics.sent;
                }
                Tried::Refused(cause) => {
                    warn!(receiver = %self.id, %cause, "remote write refused");
                    return &self.metrics.refused;
                }
                Tried::Failed(cause) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        warn!(receiver = %self.id, %cause, "remote write failed, trying again");
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        &self.metrics.failed
    }

    async fn attempt(&self, body: Bytes) -> Tried {
        let request = self
            .client
            .post(&self.target)
            .header(CONTENT_ENCODING, "snappy")
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Tried::Sent,
            Ok(answer) => {
                let status = answer.status();
                let cause = format!("POST {}: status {status}", self.target);
                if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
                    Tried::Refused(cause)
                } else {
                    Tried::Failed(cause)
                }
            }
            Err(error) => Tried::Failed(error.to_string()),
        }
    }
}

/// Waits for a sample, then [`BATCH_WAIT`] for more, or until the batch is full. Empty: the queue is closed.
async fn collect(samples: &mut mpsc::Receiver<(Labels, Sample)>) -> Vec<(Labels, Sample)> {
    let mut batch = Vec::new();
    if samples.recv_many(&mut batch, BATCH_MAX).await == 0 {
        return batch;
    }
    let until = Instant::now() + BATCH_WAIT;
    while batch.len() < BATCH_MAX {
        let room = BATCH_MAX - batch.len();
        match timeout_at(until, samples.recv_many(&mut batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    batch
}
