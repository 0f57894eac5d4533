//! One receiver of remote write: samples are gathered into requests, requests wait on disk, and are sent from there.
//!
//! ```text
//! push ─memory─▶ rules ─▶ shards ─▶ requests ─disk─▶ POST, shards side by side
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use chrono::Utc;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;
use watchkeep_catalog::prompb;
use watchkeep_series::{Labels, Sample};

use super::{
    codec::{self, Outgoing},
    config::{QueueConfig, Way},
    deliver::{Delivery, Shared, with},
    post::Post,
    spool::{Record, Spool},
};
use crate::{metrics::ReceiverMetrics, relabel::Relabeling, schedule};

/// Samples taken from memory at a time.
const TAKEN_MAX: usize = 10_000;
/// Series whose relabelled labels are remembered.
const RELABELED_MAX: usize = 100_000;
/// A request that has more is not made larger: native histograms may have any number of buckets.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// Requests read from disk before they are sent, for each shard.
const AHEAD_PER_SHARD: usize = 2;

/// The way to a receiver. Dropped, what waits in memory is lost; [`Queue::close`] brings it to the disk.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<(Labels, Outgoing)>,
    /// Whether it is sent native histograms.
    histograms: bool,
    metrics: ReceiverMetrics,
    writer: JoinHandle<()>,
    _stop: DropGuard,
}

impl Queue {
    /// Starts gathering and sending to where `url` says.
    pub(super) fn start(
        id: &str,
        way: Way,
        config: &QueueConfig,
        spool: Spool,
        url: watch::Receiver<Option<String>>,
        metrics: ReceiverMetrics,
    ) -> Self {
        let (sender, samples) = mpsc::channel(config.capacity);
        let (stop, histograms) = (CancellationToken::new(), way.histograms);
        metrics.waiting(spool.samples(), spool.bytes());
        let (spool, news) = (Arc::new(Mutex::new(spool)), Arc::new(Notify::new()));
        let post = Arc::new(Post {
            id: id.to_owned(),
            client: way.client,
            headers: way.headers,
            credentials: way.credentials,
            is_node: way.is_node,
            url,
            min_backoff: Duration::from_millis(config.min_backoff_ms),
            max_backoff: Duration::from_millis(config.max_backoff_ms),
            metrics: metrics.clone(),
            failing: AtomicBool::new(false),
        });
        let ahead_max = usize::from(config.max_shards) * AHEAD_PER_SHARD;
        let delivery = Delivery { spool: spool.clone(), news: news.clone(), post, ahead_max };
        tokio::spawn(stop.clone().run_until_cancelled_owned(delivery.run()));
        let writer = Writer {
            id: id.to_owned(),
            spool,
            news,
            config: config.clone(),
            relabel: way.relabel,
            relabeled: HashMap::new(),
            batches: (0..config.max_shards).map(|_| Gathered::default()).collect(),
            metrics: metrics.clone(),
            failing: false,
        };
        let writer = tokio::spawn(writer.run(samples));
        Self { sender, histograms, metrics, writer, _stop: stop.drop_guard() }
    }

    /// Takes samples; what finds no room in memory is dropped and counted.
    pub(super) fn push(&self, samples: &[(Labels, Sample)]) {
        self.offer(samples.iter().map(|(labels, sample)| (labels, Outgoing::Float(*sample))));
    }

    /// The same with native histograms, where they are wanted.
    pub(super) fn push_histograms(&self, histograms: &[(Labels, Arc<prompb::Histogram>)]) {
        if self.histograms {
            let of = |histogram: &Arc<_>| Outgoing::Histogram(Arc::clone(histogram));
            self.offer(histograms.iter().map(|(labels, histogram)| (labels, of(histogram))));
        }
    }

    fn offer<'a>(&self, points: impl Iterator<Item = (&'a Labels, Outgoing)>) {
        let taken = points.map(|(labels, point)| self.sender.try_send((labels.clone(), point)));
        self.metrics.dropped.inc_by(taken.filter(Result::is_err).count() as u64);
    }

    /// Brings what is in memory to the disk, and ends. What is being sent may be sent again by the next process.
    pub(super) async fn close(self) {
        drop(self.sender);
        if let Err(cause) = self.writer.await {
            error!(%cause, "a queue of remote write failed");
        }
    }
}

/// What a shard has for its next request.
#[derive(Default)]
struct Gathered {
    points: Vec<(Labels, Outgoing)>,
    bytes: usize,
}

struct Writer {
    id: String,
    spool: Shared,
    news: Arc<Notify>,
    config: QueueConfig,
    relabel: Relabeling,
    /// None: a rule drops it.
    relabeled: HashMap<Labels, Option<Labels>>,
    batches: Vec<Gathered>,
    metrics: ReceiverMetrics,
    failing: bool,
}

impl Writer {
    async fn run(mut self, mut samples: mpsc::Receiver<(Labels, Outgoing)>) {
        let mut due: Option<Instant> = None;
        let mut taken = Vec::new();
        loop {
            let receiving = samples.recv_many(&mut taken, TAKEN_MAX);
            let count = match due {
                None => Some(receiving.await),
                Some(due) => timeout_at(due, receiving).await.ok(),
            };
            for (labels, point) in taken.drain(..) {
                if let Some(full) = self.gather(labels, point) {
                    self.write(full).await;
                }
            }
            let is_closed = count == Some(0);
            if is_closed || due.is_some_and(|due| Instant::now() >= due) {
                for shard in 0..self.batches.len() {
                    self.write(shard).await;
                }
                due = None;
            }
            if is_closed {
                return;
            }
            if due.is_none() && self.batches.iter().any(|batch| !batch.points.is_empty()) {
                due = Some(Instant::now() + self.config.batch_wait());
            }
        }
    }

    /// Puts a sample into its shard; the shard, if that is full now.
    fn gather(&mut self, labels: Labels, point: Outgoing) -> Option<usize> {
        let labels = self.relabel(labels)?;
        let pairs = labels.iter().flat_map(|(name, value)| [name, value]);
        let shard = schedule::hash(pairs) % self.batches.len() as u64;
        let shard = usize::try_from(shard).unwrap_or_default();
        let batch = &mut self.batches[shard];
        batch.bytes += point.bytes();
        batch.points.push((labels, point));
        let is_full = batch.points.len() >= self.config.max_samples_per_send
            || batch.bytes >= REQUEST_BYTES_MAX;
        is_full.then_some(shard)
    }

    fn relabel(&mut self, labels: Labels) -> Option<Labels> {
        if self.relabel.is_empty() {
            return Some(labels);
        }
        if let Some(known) = self.relabeled.get(&labels) {
            return known.clone();
        }
        if self.relabeled.len() >= RELABELED_MAX {
            self.relabeled.clear();
        }
        let made = self.relabel.apply(&labels);
        self.relabeled.insert(labels, made.clone());
        made
    }

    /// Makes a request of what a shard has gathered.
    async fn write(&mut self, shard: usize) {
        let batch = std::mem::take(&mut self.batches[shard]).points;
        if batch.is_empty() {
            return;
        }
        let samples = batch.len() as u64;
        let record = Record {
            made_ms: Utc::now().timestamp_millis(),
            samples: u32::try_from(samples).unwrap_or(u32::MAX),
            shard: u16::try_from(shard).unwrap_or_default(),
            shards: self.config.max_shards,
            body: codec::encode_all(batch.iter().map(|(labels, point)| (labels, point.clone()))),
        };
        let written = with(&self.spool, move |spool| {
            let lost = spool.append(&record)?;
            Ok::<_, std::io::Error>((lost, spool.samples(), spool.bytes()))
        });
        match written.await {
            Ok((lost, samples, bytes)) => {
                self.failing = false;
                self.metrics.dropped.inc_by(lost);
                self.metrics.waiting(samples, bytes);
                self.news.notify_one();
            }
            Err(cause) => {
                self.metrics.dropped.inc_by(samples);
                if !std::mem::replace(&mut self.failing, true) {
                    error!(receiver = %self.id, %cause, "the queue of remote write cannot be written");
                }
            }
        }
    }
}
