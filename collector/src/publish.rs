//! What this collector wants the registry to say under its lease, and the writing of it.
//!
//! For each key the latest wish is kept, and at most one write of it is under way, so the order of puts and deletes of
//! a key holds while keys do not wait for each other. Wishes that come faster than the registry writes go in batches, and
//! wait as keys in a queue, not as tasks. A wish that could not be written is tried again until it is or a newer one
//! takes its place: an absent registry delays opinions and loses none. When the lease is a new one, all is written again
//! under it.

use std::{
    collections::{HashMap, VecDeque, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{Instrument, Span, debug, info_span, warn};
use watchkeep_catalog::{Client, ClientError, client::Op, trace};

use crate::metrics::Metrics;

/// Writes at a time.
const WRITES_MAX: usize = 8;
/// Keys in one write: a transaction of etcd takes 128.
const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 256 * 1024;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What one key should be.
#[derive(Clone)]
struct Wish {
    /// None: there should be no such key.
    value: Option<Bytes>,
    since: Instant,
    span: Span,
}

struct Entry {
    wish: Wish,
    /// Counts wishes.
    version: u64,
    /// Version and lease that were written last.
    written: Option<(u64, i64)>,
    /// Whether it is in the queue or under way.
    writing: bool,
    /// How long it waits when the next try fails; more than the least when the last has.
    pause: Duration,
    /// The registry refused a write it was part of: it is tried alone, so that it holds up no other.
    alone: bool,
}

/// Cheap to clone; all clones write the same keys.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Inner>);

struct Inner {
    client: Client,
    metrics: Metrics,
    stop: CancellationToken,
    /// 0: there is none now.
    lease: watch::Sender<i64>,
    /// A lease that the registry does not know.
    unknown: watch::Sender<i64>,
    entries: Mutex<HashMap<Arc<str>, Entry>>,
    queue: Mutex<VecDeque<Arc<str>>>,
    queued: Notify,
    permits: Arc<Semaphore>,
}

impl Publisher {
    /// Writes until `stop` is cancelled, as soon as there is a lease.
    pub(crate) fn new(client: Client, metrics: Metrics, stop: CancellationToken) -> Self {
        let inner = Arc::new(Inner {
            client,
            metrics,
            stop,
            lease: watch::channel(0).0,
            unknown: watch::channel(0).0,
            entries: Mutex::default(),
            queue: Mutex::default(),
            queued: Notify::new(),
            permits: Arc::new(Semaphore::new(WRITES_MAX)),
        });
        inner.spawn(Arc::clone(&inner).run());
        Self(inner)
    }

    /// `key` should be `value`, under the lease. Returns at once.
    pub(crate) fn put(&self, key: &str, value: Bytes, span: Span) {
        self.wish(key, Some(value), span);
    }

    /// There should be no `key`. Returns at once.
    pub(crate) fn delete(&self, key: &str) {
        self.wish(key, None, Span::none());
    }

    fn wish(&self, key: &str, value: Option<Bytes>, span: Span) {
        let wish = Wish { value, since: Instant::now(), span };
        let key: Arc<str> = key.into();
        let mut entries = self.0.entries();
        let entry = match entries.entry(Arc::clone(&key)) {
            hash_map::Entry::Occupied(known) => {
                let entry = known.into_mut();
                (entry.wish, entry.version, entry.alone) = (wish, entry.version + 1, false);
                entry
            }
            hash_map::Entry::Vacant(new) => new.insert(Entry {
                wish,
                version: 1,
                written: None,
                writing: false,
                pause: PAUSE_MIN,
                alone: false,
            }),
        };
        if !std::mem::replace(&mut entry.writing, true) {
            self.0.enqueue([key]);
        }
    }

    /// A new lease: everything is written under it.
    pub(crate) fn leased(&self, lease: i64) {
        self.0.lease.send_replace(lease);
        let mut entries = self.0.entries();
        let idle = entries.iter_mut().filter(|(_, entry)| !entry.writing);
        self.0.enqueue(idle.map(|(key, entry)| {
            entry.writing = true;
            Arc::clone(key)
        }));
    }

    /// The lease is gone: writing waits for the next.
    pub(crate) fn unleased(&self) {
        self.0.lease.send_replace(0);
    }

    /// Resolves when the registry answered that it does not know `lease`.
    pub(crate) async fn refused(&self, lease: i64) {
        let mut unknown = self.0.unknown.subscribe();
        // The sender lives as long as we do.
        let _ = unknown.wait_for(|unknown| *unknown == lease).await;
    }
}

impl Inner {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(work));
    }

    fn enqueue(&self, keys: impl IntoIterator<Item = Arc<str>>) {
        self.queue().extend(keys);
        self.queued.notify_one();
    }

    /// Takes batches off the queue and has them written, a few at a time.
    async fn run(self: Arc<Self>) {
        let mut lease = self.lease.subscribe();
        loop {
            if self.queue().is_empty() {
                self.queued.notified().await;
                continue;
            }
            // Neither is ever closed.
            let Ok(lease) = lease.wait_for(|lease| *lease != 0).await.map(|lease| *lease) else {
                return;
            };
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
            let batch = self.batch();
            if !batch.is_empty() {
                self.spawn(Arc::clone(&self).settle(batch, lease, permit));
            }
        }
    }

    /// The next wishes that go together.
    fn batch(&self) -> Vec<Wished> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Some(key) = self.queue().pop_front() else { break };
            let Some(wished) = self.wished(&key) else { continue };
            if wished.alone && !batch.is_empty() {
                self.queue().push_front(key);
                break;
            }
            bytes += wished.wish.value.as_ref().map_or(0, Bytes::len);
            let alone = wished.alone;
            batch.push(wished);
            if alone {
                break;
            }
        }
        batch
    }

    /// Writes a batch; what is not written, or not as it is wished by now, goes back into the queue.
    async fn settle(self: Arc<Self>, batch: Vec<Wished>, lease: i64, permit: OwnedSemaphorePermit) {
        let attempt = self.attempt(&batch, lease).await;
        drop(permit);
        match attempt {
            Ok(()) => batch.iter().for_each(|wished| self.written(wished, lease)),
            Err(error) => {
                if is_lease_unknown(&error) {
                    self.unknown.send_replace(lease);
                }
                sleep(self.failed(&batch, &error)).await;
            }
        }
        let again = batch.into_iter().map(|wished| wished.key);
        let again: Vec<_> = {
            let mut entries = self.entries();
            again.filter(|key| self.is_due(&mut entries, key)).collect()
        };
        if !again.is_empty() {
            self.enqueue(again);
        }
    }

    async fn attempt(&self, batch: &[Wished], lease: i64) -> Result<(), ClientError> {
        if let [Wished { key, wish, .. }] = batch {
            return match &wish.value {
                Some(value) => {
                    let put = self.client.put(key, value.clone(), lease);
                    put.instrument(wish.span.clone()).await.map(|_revision| ())
                }
                None => self.client.delete(key).await.map(|_existed| ()),
            };
        }
        let ops = batch.iter().map(|Wished { key, wish, .. }| match &wish.value {
            Some(value) => Op::put(key, value.clone(), lease),
            None => Op::delete(key),
        });
        let write = self.client.write(ops.collect());
        write.instrument(joined(batch)).await.map(|_revision| ())
    }

    /// How long the batch waits after its failure.
    fn failed(&self, batch: &[Wished], error: &ClientError) -> Duration {
        let alone = error.is_refusal() && !error.is_exhausted() && !is_lease_unknown(error);
        let (mut entries, mut longest) = (self.entries(), PAUSE_MIN);
        for Wished { key, .. } in batch {
            let Some(entry) = entries.get_mut(key) else { continue };
            longest = longest.max(entry.pause);
            (entry.pause, entry.alone) = ((entry.pause * 2).min(PAUSE_MAX), alone);
        }
        let (keys, first) = (batch.len(), batch.first().map_or("", |wished| &wished.key));
        if longest < PAUSE_MAX && longest * 2 >= PAUSE_MAX {
            warn!(first, keys, %error, "not written for a while, trying again");
        } else {
            debug!(first, keys, %error, "not written, trying again");
        }
        longest
    }

    /// What is to be written of a key, if there is anything.
    fn wished(&self, key: &Arc<str>) -> Option<Wished> {
        let mut entries = self.entries();
        if !self.is_due(&mut entries, key) {
            return None;
        }
        let Entry { wish, version, alone, .. } = entries.get(key)?;
        Some(Wished { key: Arc::clone(key), wish: wish.clone(), version: *version, alone: *alone })
    }

    /// Whether anything is to be written of a key; when nothing is, it is no longer under way.
    fn is_due(&self, entries: &mut HashMap<Arc<str>, Entry>, key: &str) -> bool {
        let Some(entry) = entries.get_mut(key) else { return false };
        let is_written = match (&entry.wish.value, entry.written) {
            (_, None) => false,
            (None, Some((version, _))) => version == entry.version,
            (Some(_), Some(written)) => written == (entry.version, *self.lease.borrow()),
        };
        if is_written {
            entry.writing = false;
            if entry.wish.value.is_none() {
                entries.remove(key);
            }
        }
        !is_written
    }

    fn written(&self, Wished { key, version, .. }: &Wished, lease: i64) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return };
        // Under a further lease it is the same wish: that is no new delay.
        if entry.written.is_none_or(|(before, _)| before < *version) {
            let since = entry.wish.since;
            self.metrics.opinion_write.observe(since.elapsed().as_secs_f64());
        }
        if entry.version == *version {
            // A span ends when nobody holds it, and an exporter sees none that has not ended.
            entry.wish.span = Span::none();
        }
        entry.written = Some((*version, lease));
        (entry.pause, entry.alone) = (PAUSE_MIN, false);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<str>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wished {
    key: Arc<str>,
    wish: Wish,
    version: u64,
    /// Nothing else goes with it.
    alone: bool,
}

/// The span of a write of several wishes: what the registry does is part of the first trace among them that is kept, and
/// linked with the others.
fn joined(batch: &[Wished]) -> Span {
    let spans = batch.iter().map(|wished| &wished.wish.span);
    let mut traced: Vec<&Span> = spans.filter(|span| !span.is_disabled()).collect();
    if traced.is_empty() {
        return Span::none();
    }
    let kept = traced.iter().position(|span| trace::is_kept(span)).unwrap_or(0);
    let span = info_span!(parent: traced.swap_remove(kept), "write", keys = batch.len());
    traced.into_iter().for_each(|other| trace::link(&span, other));
    span
}

/// A put answers `NotFound` only for its lease.
fn is_lease_unknown(error: &ClientError) -> bool {
    matches!(error, ClientError::Status { code: Code::NotFound, .. })
}
