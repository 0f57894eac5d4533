//! Empties the queue on disk: reads ahead, sends each shard's requests one after the other and the shards side by side,
//! and notes how far everything is done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::Utc;
use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tracing::error;

use super::{
    post::Post,
    spool::{Entry, Position, Spool},
};

/// How often the lag is measured while nothing happens, and the disk tried again after an error.
const TICK: Duration = Duration::from_secs(1);

/// A spool that is written and read at the same time.
pub(super) type Shared = Arc<Mutex<Spool>>;

/// Does something with the spool where waiting for the disk disturbs nobody.
pub(super) async fn with<T: Send + 'static>(
    spool: &Shared,
    work: impl FnOnce(&mut Spool) -> T + Send + 'static,
) -> T {
    let spool = spool.clone();
    // A thread that panicked with it left at worst a count that is off.
    let work = move || work(&mut spool.lock().unwrap_or_else(PoisonError::into_inner));
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Panics go on here; without one, the runtime is being taken down.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// A request that was read and is not known to be done.
struct Flight {
    at: Position,
    next: Position,
    made_ms: i64,
    samples: u32,
    shards: u16,
    is_done: bool,
}

pub(super) struct Delivery {
    pub(super) spool: Shared,
    /// Told when something was added.
    pub(super) news: Arc<Notify>,
    pub(super) post: Arc<Post>,
    pub(super) ahead_max: usize,
}

impl Delivery {
    /// Sends for ever.
    pub(super) async fn run(self) {
        let mut cursor = with(&self.spool, |spool| spool.position()).await;
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut ready: BTreeMap<u16, VecDeque<Entry>> = BTreeMap::new();
        let mut busy = BTreeSet::new();
        let mut sending = JoinSet::new();
        loop {
            while flights.len() < self.ahead_max {
                let Some(entry) = self.read(cursor).await else { break };
                // Series are elsewhere when there are more shards, or fewer: all before has to be done first.
                let shards = entry.record.shards;
                if flights.back().is_some_and(|flight| flight.shards != shards) {
                    break;
                }
                cursor = entry.next;
                flights.push_back(Flight::of(&entry));
                ready.entry(entry.record.shard).or_default().push_back(entry);
            }
            for (shard, waiting) in &mut ready {
                if busy.contains(shard) {
                    continue;
                }
                if let Some(Entry { at, record, .. }) = waiting.pop_front() {
                    let (shard, samples) = (*shard, u64::from(record.samples));
                    busy.insert(shard);
                    let sent = self.post.clone().send(Bytes::from(record.body), samples);
                    sending.spawn(async move {
                        sent.await;
                        (at, shard)
                    });
                }
            }
            self.measure(flights.front());
            tokio::select! {
                Some(sent) = sending.join_next() => match sent {
                    Ok((at, shard)) => {
                        busy.remove(&shard);
                        self.done(&mut flights, at).await;
                    }
                    Err(cause) => return error!(%cause, "remote write failed"),
                },
                () = self.news.notified() => {}
                () = sleep(TICK) => {}
            }
        }
    }

    async fn read(&self, from: Position) -> Option<Entry> {
        match with(&self.spool, move |spool| spool.read(from)).await {
            Ok(entry) => entry,
            Err(cause) => {
                error!(receiver = %self.post.id, %cause, "the queue of remote write cannot be read");
                sleep(TICK).await;
                None
            }
        }
    }

    /// Notes that the request at `at` is done, and with it all before that were waiting for it.
    async fn done(&self, flights: &mut VecDeque<Flight>, at: Position) {
        if let Some(flight) = flights.iter_mut().find(|flight| flight.at == at) {
            flight.is_done = true;
        }
        while flights.front().is_some_and(|flight| flight.is_done) {
            let Some(Flight { next, samples, .. }) = flights.pop_front() else { return };
            let saved = with(&self.spool, move |spool| {
                let saved = spool.done(next, samples);
                saved.map(|()| (spool.samples(), spool.bytes()))
            });
            match saved.await {
                Ok((samples, bytes)) => self.post.metrics.waiting(samples, bytes),
                Err(cause) => {
                    error!(receiver = %self.post.id, %cause, "what was sent cannot be noted, it may be sent again");
                }
            }
        }
    }

    fn measure(&self, first: Option<&Flight>) {
        let lag_ms = first.map_or(0, |flight| Utc::now().timestamp_millis() - flight.made_ms);
        self.post.metrics.lag.set(lag_ms.max(0) as f64 / 1e3);
    }
}

impl Flight {
    fn of(entry: &Entry) -> Self {
        let Entry { at, next, record } = entry;
        Self {
            at: *at,
            next: *next,
            made_ms: record.made_ms,
            samples: record.samples,
            shards: record.shards,
            is_done: false,
        }
    }
}
