//! One watcher as the hub sees it, and the list of a stream's watchers that have something to send.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{mvcc::Bounds, schema::Event};

/// What a watcher wants to see.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    pub(crate) key: Bytes,
    /// As in a range request.
    pub(crate) range_end: Bytes,
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
}

impl Interest {
    pub(crate) fn bounds(&self) -> Bounds<'_> {
        Bounds::new(&self.key, &self.range_end)
    }

    /// Whether its filters let the event pass, wherever its key is.
    pub(super) fn passes(&self, event: &Event) -> bool {
        !(if event.deleted { self.no_delete } else { self.no_put })
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.passes(event) && self.bounds().contains(&event.kv.key)
    }
}

/// A watcher.
pub(crate) struct Target {
    /// Its id on its stream.
    pub(crate) id: i64,
    pub(crate) interest: Interest,
    pub(super) number: u64,
    outbox: Arc<Outbox>,
    /// First revision with something for it that its stream has not taken up; 0: none. A watcher with another
    /// number here is on its stream's list.
    due: AtomicI64,
    /// The revision it goes on at when it has fallen behind; 0: it has not.
    behind: AtomicI64,
}

impl Target {
    pub(super) fn new(number: u64, id: i64, interest: Interest, outbox: Arc<Outbox>) -> Self {
        let (due, behind) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { id, interest, number, outbox, due, behind }
    }

    /// There is something for it from `revision` on: it goes to the end of its stream's list, unless it is there.
    pub(crate) fn mark(self: &Arc<Self>, revision: i64) {
        if self.due.compare_exchange(0, revision, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.outbox.push(Arc::clone(self));
        }
    }

    /// Its stream takes it up: the revision it was marked with.
    pub(crate) fn take(&self) -> i64 {
        self.due.swap(0, Ordering::AcqRel)
    }

    /// Notes that it goes on at `revision` only, for its lag; 0: it has everything up to its mark.
    pub(crate) fn set_behind(&self, revision: i64) {
        self.behind.store(revision, Ordering::Relaxed);
    }

    /// Revisions up to `newest` that it has not been shown or spared.
    fn lag(&self, newest: i64) -> i64 {
        let (behind, due) = (self.behind.load(Ordering::Relaxed), self.due.load(Ordering::Relaxed));
        let next = if behind > 0 { behind } else { due };
        if next == 0 { 0 } else { (newest + 1 - next).max(0) }
    }
}

/// A watcher that is behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lag {
    pub(crate) revisions: i64,
    pub(crate) stream: u64,
    pub(crate) watcher: i64,
}

/// The watchers of one stream that have something to send. None when the stream has ended: it takes no more.
pub(crate) struct Outbox {
    /// The stream's number on this member.
    pub(crate) stream: u64,
    due: Mutex<Option<VecDeque<Arc<Target>>>>,
    ready: Notify,
}

impl Outbox {
    pub(super) fn new(stream: u64) -> Self {
        Self { stream, due: Mutex::new(Some(VecDeque::new())), ready: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Arc<Target>>>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, target: Arc<Target>) {
        let mut due = self.lock();
        let Some(list) = due.as_mut() else { return };
        list.push_back(target);
        let first = list.len() == 1;
        drop(due);
        if first {
            self.ready.notify_one();
        }
    }

    /// The next watcher that has something to send.
    pub(crate) fn pop(&self) -> Option<Arc<Target>> {
        self.lock().as_mut().and_then(VecDeque::pop_front)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().as_ref().is_none_or(VecDeque::is_empty)
    }

    /// Resolves when the list has become longer than nothing.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    pub(super) fn close(&self) {
        let taken = self.lock().take();
        drop(taken);
    }

    /// Adds this stream's watchers that are behind.
    pub(super) fn lags(&self, newest: i64, lags: &mut Vec<Lag>) {
        let due = self.lock();
        for target in due.iter().flatten() {
            let revisions = target.lag(newest);
            if revisions > 0 {
                lags.push(Lag { revisions, stream: self.stream, watcher: target.id });
            }
        }
    }
}
