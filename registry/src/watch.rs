//! Events for watchers: the latest revisions in memory, and who is told of them. Watchers pull at their own pace, so a
//! slow one costs no memory; one that falls behind what is kept here reads from the `events` table.
//!
//! ```text
//! apply ─publish─▶ recent revisions ─dispatch─▶ index: who wants these keys? ─mark─▶ a stream's list ─▶ its responses
//! ```
//!
//! Applying only appends and wakes the dispatcher. That marks each watcher concerned, once, however many revisions
//! come before its stream is sent on: so a stream is woken for what it wants only, and what it then sends is everything
//! since. Nothing is copied per watcher but a number.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use crate::schema::Event;

mod history;
mod index;
mod intervals;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use history::{Revision, past};
use index::Index;
pub(crate) use target::{Interest, Lag, Outbox, Target};

/// Bytes of events kept in memory.
const RECENT_BYTES_MAX: usize = 16 << 20;
/// Revisions handed out in one go.
pub(crate) const SINCE_MAX: usize = 1_000;
/// Watchers that read from the `events` table at once; others wait for them.
const CATCH_UPS_MAX: usize = 4;

struct Recent {
    /// Every revision above this one is here.
    floor: i64,
    revisions: VecDeque<Arc<Revision>>,
    bytes: usize,
}

impl Recent {
    fn new(floor: i64) -> Self {
        Self { floor, revisions: VecDeque::new(), bytes: 0 }
    }

    /// The newest revision that is here or was.
    fn last(&self) -> i64 {
        self.revisions.back().map_or(self.floor, |revision| revision.number)
    }

    fn since(&self, from: i64, max: usize) -> Option<Vec<Arc<Revision>>> {
        if from <= self.floor {
            return None;
        }
        let start = self.revisions.partition_point(|revision| revision.number < from);
        Some(self.revisions.range(start..).take(max).cloned().collect())
    }
}

/// The newest revisions and all watchers.
pub(crate) struct Hub {
    recent: Mutex<Recent>,
    newest: AtomicI64,
    /// Wakes the dispatcher.
    published: Notify,
    /// Every watcher concerned by revisions up to here has been marked.
    dispatched: watch::Sender<i64>,
    index: Mutex<Index>,
    streams: Mutex<Streams>,
    catch_ups: Semaphore,
}

#[derive(Default)]
struct Streams {
    open: HashMap<u64, Arc<Outbox>>,
    /// Numbers given to streams and watchers so far.
    numbered: u64,
}

impl Hub {
    /// A hub for a store that stands at `revision`.
    pub(crate) fn new(revision: i64) -> Self {
        Self {
            recent: Mutex::new(Recent::new(revision)),
            newest: AtomicI64::new(revision),
            published: Notify::new(),
            dispatched: watch::Sender::new(revision),
            index: Mutex::default(),
            streams: Mutex::default(),
            catch_ups: Semaphore::new(CATCH_UPS_MAX),
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a revision and wakes the dispatcher.
    pub(crate) fn publish(&self, number: i64, events: Vec<Event>) {
        let revision = Arc::new(Revision::new(number, events));
        let mut recent = self.recent();
        recent.bytes += revision.bytes();
        recent.revisions.push_back(revision);
        let mut dropped = Vec::new();
        while recent.bytes > RECENT_BYTES_MAX
            && let Some(oldest) = recent.revisions.pop_front()
        {
            recent.bytes -= oldest.bytes();
            recent.floor = oldest.number;
            dropped.push(oldest);
        }
        drop(recent);
        drop(dropped);
        self.newest.store(number, Ordering::Release);
        self.published.notify_one();
    }

    /// Starts anew at `revision`: the state was replaced.
    pub(crate) fn reset(&self, revision: i64) {
        let dropped = std::mem::replace(&mut *self.recent(), Recent::new(revision));
        drop(dropped);
        self.newest.store(revision, Ordering::Release);
        self.published.notify_one();
    }

    /// The newest revision.
    pub(crate) fn newest(&self) -> i64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Every watcher concerned by revisions up to this one has been marked.
    pub(crate) fn dispatched(&self) -> watch::Receiver<i64> {
        self.dispatched.subscribe()
    }

    /// Revisions from `from` on, up to a thousand; none when they are not all in memory.
    pub(crate) fn since(&self, from: i64) -> Option<Vec<Arc<Revision>>> {
        self.recent().since(from, SINCE_MAX)
    }

    /// A new stream.
    pub(crate) fn open(&self) -> Arc<Outbox> {
        let mut streams = self.streams();
        streams.numbered += 1;
        let outbox = Arc::new(Outbox::new(streams.numbered));
        streams.open.insert(outbox.stream, Arc::clone(&outbox));
        outbox
    }

    /// A stream has ended; its watchers have been removed.
    pub(crate) fn close(&self, outbox: &Outbox) {
        self.streams().open.remove(&outbox.stream);
        outbox.close();
    }

    /// A new watcher of a stream that wants what comes from revision `next` on. It is marked with all that is there
    /// already.
    pub(crate) fn watch(
        &self,
        outbox: &Arc<Outbox>,
        id: i64,
        interest: Interest,
        next: i64,
    ) -> Arc<Target> {
        let number = {
            let mut streams = self.streams();
            streams.numbered += 1;
            streams.numbered
        };
        let target = Arc::new(Target::new(number, id, interest, Arc::clone(outbox)));
        self.index().insert(Arc::clone(&target));
        // What was published before it stood in the index may have been dispatched without it.
        let last = self.recent().last();
        if next <= last {
            target.mark(next);
        }
        target
    }

    pub(crate) fn unwatch(&self, target: &Target) {
        self.index().remove(target);
    }

    /// A place among those who read the past.
    pub(crate) async fn catch_up(&self) -> Option<SemaphorePermit<'_>> {
        self.catch_ups.acquire().await.ok()
    }

    /// Streams that are open.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams().open.len()
    }

    /// Watchers that have not been sent everything, the furthest behind first.
    pub(crate) fn lags(&self) -> Vec<Lag> {
        let streams: Vec<_> = self.streams().open.values().cloned().collect();
        let (newest, mut lags) = (self.newest(), Vec::new());
        streams.iter().for_each(|outbox| outbox.lags(newest, &mut lags));
        lags.sort_unstable_by(|a, b| b.cmp(a));
        lags
    }

    /// Marks the watchers concerned by what was published since the last time.
    fn dispatch(&self) {
        let from = *self.dispatched.borrow() + 1;
        // The newest revision first: what comes after it is for the next time.
        let newest = self.newest();
        let revisions = self.recent().since(from, usize::MAX);
        let mut marks: Vec<(Arc<Target>, i64)> = Vec::new();
        let index = self.index();
        match &revisions {
            Some(revisions) => {
                for (revision, change) in
                    revisions.iter().flat_map(|r| r.changes.iter().map(move |c| (r, c)))
                {
                    index.holding(&change.event.kv.key, &mut |target| {
                        if target.interest.passes(&change.event) {
                            marks.push((Arc::clone(target), revision.number));
                        }
                    });
                }
            }
            // Too many at once, or the state was replaced: each looks for itself.
            None => index.each(&mut |target| marks.push((Arc::clone(target), from))),
        }
        drop(index);
        marks.iter().for_each(|(target, revision)| target.mark(*revision));
        let reached = revisions.and_then(|r| r.last().map(|last| last.number)).unwrap_or_default();
        self.dispatched.send_replace(reached.max(newest));
    }
}

/// Tells watchers of what is published. Never ends.
pub(crate) async fn dispatch(hub: Arc<Hub>) {
    loop {
        hub.dispatch();
        hub.published.notified().await;
        // Those who were marked get their turn before there is more, and before them whoever waits for the answer to what
        // was just applied: their wake-ups stand in the queue by now.
        tokio::task::yield_now().await;
    }
}
