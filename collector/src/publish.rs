//! What this collector wants the registry to say under its lease, and the writing of it.
//!
//! For each key the latest wish is kept, and at most one task writes it, so the order of puts and deletes of
//! a key holds while keys do not wait for each other. A wish that could not be written is tried again until it
//! is or a newer one takes its place: an absent registry delays opinions and loses none. When the lease is a
//! new one, all is written again under it.

use std::{
    collections::{HashMap, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{Instrument, Span, debug, warn};
use watchkeep_catalog::{Client, ClientError};

use crate::metrics::Metrics;

/// Writes at a time.
const WRITES_MAX: usize = 256;
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
    /// Whether a task is at it.
    writing: bool,
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
    entries: Mutex<HashMap<String, Entry>>,
    permits: Semaphore,
}

impl Publisher {
    /// Writes until `stop` is cancelled, as soon as there is a lease.
    pub(crate) fn new(client: Client, metrics: Metrics, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            client,
            metrics,
            stop,
            lease: watch::channel(0).0,
            unknown: watch::channel(0).0,
            entries: Mutex::default(),
            permits: Semaphore::new(WRITES_MAX),
        }))
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
        let mut entries = self.0.entries();
        let entry = match entries.entry(key.to_owned()) {
            hash_map::Entry::Occupied(known) => {
                let entry = known.into_mut();
                (entry.wish, entry.version) = (wish, entry.version + 1);
                entry
            }
            hash_map::Entry::Vacant(new) => {
                new.insert(Entry { wish, version: 1, written: None, writing: false })
            }
        };
        self.write(key, entry);
    }

    /// A new lease: everything is written under it.
    pub(crate) fn leased(&self, lease: i64) {
        self.0.lease.send_replace(lease);
        for (key, entry) in self.0.entries().iter_mut() {
            self.write(key, entry);
        }
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

    /// Has a task write the entry, unless one is at it already.
    fn write(&self, key: &str, entry: &mut Entry) {
        if !std::mem::replace(&mut entry.writing, true) {
            let (inner, key) = (self.0.clone(), key.to_owned());
            let stop = self.0.stop.clone();
            tokio::spawn(stop.run_until_cancelled_owned(async move { inner.run(&key).await }));
        }
    }
}

impl Inner {
    /// Writes a key until it is as wished.
    async fn run(&self, key: &str) {
        let mut lease = self.lease.subscribe();
        let mut pause = PAUSE_MIN;
        while let Some(wished) = self.wished(key) {
            if wished.wish.value.is_some() && *lease.borrow_and_update() == 0 {
                // The sender lives as long as we do.
                let _ = lease.changed().await;
                continue;
            }
            // Never closed.
            let Ok(permit) = self.permits.acquire().await else { return };
            let lease = *lease.borrow();
            match self.attempt(key, &wished.wish, lease).await {
                Ok(()) => {
                    self.written(key, wished.version, lease);
                    pause = PAUSE_MIN;
                }
                Err(error) => {
                    if is_lease_unknown(&error) {
                        self.unknown.send_replace(lease);
                    }
                    drop(permit);
                    let longer = (pause * 2).min(PAUSE_MAX);
                    if longer == PAUSE_MAX && pause < PAUSE_MAX {
                        warn!(key, %error, "not written for a while, trying again");
                    } else {
                        debug!(key, %error, "not written, trying again");
                    }
                    sleep(std::mem::replace(&mut pause, longer)).await;
                }
            }
        }
    }

    async fn attempt(&self, key: &str, wish: &Wish, lease: i64) -> Result<(), ClientError> {
        match &wish.value {
            Some(value) => {
                let put = self.client.put(key, value.clone(), lease);
                put.instrument(wish.span.clone()).await.map(|_revision| ())
            }
            None => self.client.delete(key).await.map(|_existed| ()),
        }
    }

    /// What is to be written; none when all is: then the task is over.
    fn wished(&self, key: &str) -> Option<Wished> {
        let mut entries = self.entries();
        let entry = entries.get_mut(key)?;
        let is_written = match (&entry.wish.value, entry.written) {
            (_, None) => false,
            (None, Some((version, _))) => version == entry.version,
            (Some(_), Some(written)) => written == (entry.version, *self.lease.borrow()),
        };
        if !is_written {
            return Some(Wished { wish: entry.wish.clone(), version: entry.version });
        }
        entry.writing = false;
        if entry.wish.value.is_none() {
            entries.remove(key);
        }
        None
    }

    fn written(&self, key: &str, version: u64, lease: i64) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return };
        // Under a further lease it is the same wish: that is no new delay.
        if entry.written.is_none_or(|(before, _)| before < version) {
            let since = entry.wish.since;
            self.metrics.opinion_write.observe(since.elapsed().as_secs_f64());
        }
        if entry.version == version {
            // A span ends when nobody holds it, and an exporter sees none that has not ended.
            entry.wish.span = Span::none();
        }
        entry.written = Some((version, lease));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wished {
    wish: Wish,
    version: u64,
}

/// A put answers `NotFound` only for its lease.
fn is_lease_unknown(error: &ClientError) -> bool {
    matches!(error, ClientError::Status { code: Code::NotFound, .. })
}
