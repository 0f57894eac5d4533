//! The thread that owns the series store's upkeep: it appends what probes hand over, flushes every second, also while it
//! expires, which it does every minute. fjall may make a write wait for hundreds of milliseconds; only this thread waits.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use watchkeep_series::{Appended, Labels, Sample, SeriesError, SeriesStore};

use crate::metrics::{Metrics, SeriesMetrics};

/// What one probe or scrape yields.
pub(crate) type Samples = Vec<(Labels, Sample)>;

/// Probes and scrapes whose samples may wait for the thread.
const QUEUE_MAX: usize = 50_000;
/// Samples that may wait for it.
const SAMPLES_MAX: usize = 1_000_000;
/// Probes and scrapes appended at a time.
const BATCH_MAX: usize = 5_000;
/// What comes this long after the first is appended with it: to be woken for each probe costs more than to append it.
const GATHER: Duration = Duration::from_millis(20);
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// The first time after a start: limits that are lower than before hold soon, also where a node does not run for a minute.
const EXPIRE_FIRST: Duration = Duration::from_secs(5);
/// An operation works again when it has not failed for so long: one that fails now and then is not logged each time.
const CALM: Duration = Duration::from_secs(60);

/// Keeps a store that no collector of this process keeps, until the token is cancelled: flushes it every
/// second, expires it every minute, and flushes it at the end.
pub async fn keep_series(store: Arc<SeriesStore>, metrics: Metrics, token: CancellationToken) {
    let (samples, done) = start(store, metrics);
    token.cancelled().await;
    drop(samples);
    // An error means that the thread panicked: its message is out already.
    let _ = done.await;
}

/// The way to the thread. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    sender: SyncSender<Samples>,
    waiting: Arc<AtomicUsize>,
}

impl Local {
    /// Hands samples over; the number that found no room otherwise. Never waits.
    pub(crate) fn offer(&self, samples: Samples) -> Result<(), usize> {
        let count = samples.len();
        if self.waiting.fetch_add(count, Ordering::Relaxed) + count > SAMPLES_MAX
            || self.sender.try_send(samples).is_err()
        {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            return Err(count);
        }
        Ok(())
    }
}

/// Starts the thread. It ends, with a last flush, when the way to it is dropped.
pub(crate) fn start(store: Arc<SeriesStore>, metrics: Metrics) -> (Local, oneshot::Receiver<()>) {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    let local = Local { sender, waiting: waiting.clone() };
    let (done, ended) = oneshot::channel();
    thread::spawn(move || {
        Keeper {
            store,
            samples: receiver,
            waiting,
            flush_at: Instant::now() + FLUSH_EVERY,
            metrics: metrics.series,
            last: Appended::default(),
            troubles: Troubles::default(),
        }
        .run();
        let _ = done.send(());
    });
    (local, ended)
}

struct Keeper {
    store: Arc<SeriesStore>,
    samples: Receiver<Samples>,
    waiting: Arc<AtomicUsize>,
    flush_at: Instant,
    metrics: SeriesMetrics,
    /// The store's totals when they were last added to the counters.
    last: Appended,
    troubles: Troubles,
}

/// The operations that fail, and when each did last: an error that lasts is logged once.
#[derive(Debug, Default)]
struct Troubles(HashMap<&'static str, Instant>);

impl Troubles {
    /// It failed; true when that is news.
    fn begins(&mut self, operation: &'static str, now: Instant) -> bool {
        self.0.insert(operation, now).is_none()
    }

    /// It went well; true when it did not before, and has for long enough.
    fn ends(&mut self, operation: &'static str, now: Instant) -> bool {
        let calm = self.0.get(operation).is_some_and(|at| now.duration_since(*at) >= CALM);
        calm && self.0.remove(operation).is_some()
    }
}

impl Keeper {
    fn run(&mut self) {
        let mut expire_at = Instant::now() + EXPIRE_FIRST;
        self.stats();
        loop {
            let wait = self.flush_at.saturating_duration_since(Instant::now());
            match self.samples.recv_timeout(wait) {
                Ok(first) => {
                    thread::sleep(GATHER);
                    self.append(Some(first));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            self.flush_when_due();
            if Instant::now() >= expire_at {
                self.expire();
                expire_at = Instant::now() + EXPIRE_EVERY;
            }
        }
    }

    /// Appends what waits, behind `first`.
    fn append(&mut self, first: Option<Samples>) {
        let waiting = self.samples.try_iter().take(BATCH_MAX);
        let batch: Vec<_> = first.into_iter().chain(waiting).flatten().collect();
        if batch.is_empty() {
            return;
        }
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        let appended = self.store.append(&batch, Utc::now().timestamp_millis());
        self.judge("append", appended.map(|_| ()));
    }

    fn flush_when_due(&mut self) {
        let now = Instant::now();
        if now >= self.flush_at {
            self.flush();
            self.flush_at = now + FLUSH_EVERY;
        }
    }

    fn flush(&mut self) {
        let timer = self.metrics.flush.start_timer();
        let flushed = self.store.flush();
        timer.observe_duration();
        self.judge("flush", flushed);
        self.stats();
    }

    fn expire(&mut self) {
        let store = Arc::clone(&self.store);
        let expired = store.expire_in_steps(Utc::now().timestamp_millis(), || {
            self.append(None);
            self.flush_when_due();
        });
        self.judge("expire", expired.map(|_| ()));
    }

    fn judge(&mut self, operation: &'static str, result: Result<(), SeriesError>) {
        match result {
            Ok(()) => {
                if self.troubles.ends(operation, Instant::now()) {
                    info!(operation, "series store works again");
                }
            }
            Err(cause) => {
                self.metrics.errors.with_label_values(&[operation]).inc();
                if self.troubles.begins(operation, Instant::now()) {
                    error!(%cause, operation, "series store failed");
                }
            }
        }
    }

    fn stats(&mut self) {
        let stats = match self.store.stats() {
            Ok(stats) => stats,
            Err(cause) => return warn!(%cause, "series store cannot be measured"),
        };
        self.metrics.active.set(stats.series as i64);
        self.metrics.disk_bytes.set(i64::try_from(stats.disk_bytes).unwrap_or(i64::MAX));
        let (now, last) = (stats.total, self.last);
        self.metrics.appended.inc_by(now.appended - last.appended);
        for (reason, count) in [
            ("out_of_order", now.out_of_order - last.out_of_order),
            ("duplicate", now.duplicate - last.duplicate),
            ("too_old", now.too_old - last.too_old),
            ("too_new", now.too_new - last.too_new),
            ("series_max", now.series_max - last.series_max),
        ] {
            self.metrics.rejected.with_label_values(&[reason]).inc_by(count);
        }
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_said_once() {
        let (mut troubles, begin) = (Troubles::default(), Instant::now());
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        for second in 0..200 {
            let now = begin + Duration::from_secs(second);
            // At `series_max` every other append is refused, and every flush goes well.
            if second < 100 && second % 2 == 0 {
                begins.extend(troubles.begins("append", now).then_some(second));
            } else {
                ends.extend(troubles.ends("append", now).then_some(second));
            }
            assert!(!troubles.ends("flush", now));
        }
        assert_eq!((begins, ends), (vec![0], vec![158]));
    }
}
