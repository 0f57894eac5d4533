//! Events for watchers: the latest revisions in memory, a signal when there are more. Watchers pull at their own
//! pace, so a slow one costs no memory; one that falls behind what is kept here reads from the `events` table.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    mvcc::{Table, View, ViewError, decode, event_key, event_revision},
    schema::Event,
};

/// Bytes of events kept in memory.
const RECENT_BYTES_MAX: usize = 16 << 20;
/// Events read from the table in one go, and their bytes; a revision is never split.
const CATCH_UP_EVENTS: usize = 1_000;
const CATCH_UP_BYTES: usize = 4 << 20;

/// All events of one revision, in order.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) number: i64,
    pub(crate) events: Vec<Event>,
}

struct Recent {
    /// Every revision above this one is here.
    floor: i64,
    revisions: VecDeque<Arc<Revision>>,
    bytes: usize,
}

/// The newest revisions.
pub(crate) struct Hub {
    recent: Mutex<Recent>,
    newest: watch::Sender<i64>,
}

impl Hub {
    /// A hub for a store that stands at `revision`.
    pub(crate) fn new(revision: i64) -> Self {
        let recent = Recent { floor: revision, revisions: VecDeque::new(), bytes: 0 };
        Self { recent: Mutex::new(recent), newest: watch::Sender::new(revision) }
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a revision and wakes the watchers.
    pub(crate) fn publish(&self, number: i64, events: Vec<Event>) {
        let mut recent = self.lock();
        recent.bytes += size(&events);
        recent.revisions.push_back(Arc::new(Revision { number, events }));
        while recent.bytes > RECENT_BYTES_MAX
            && let Some(oldest) = recent.revisions.pop_front()
        {
            recent.bytes -= size(&oldest.events);
            recent.floor = oldest.number;
        }
        drop(recent);
        self.newest.send_replace(number);
    }

    /// Starts anew at `revision`: the state was replaced.
    pub(crate) fn reset(&self, revision: i64) {
        *self.lock() = Recent { floor: revision, revisions: VecDeque::new(), bytes: 0 };
        self.newest.send_replace(revision);
    }

    /// The newest revision, and a signal when it changes.
    pub(crate) fn newest(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    /// The revisions from `from` on; none when they are not all in memory.
    pub(crate) fn since(&self, from: i64) -> Option<Vec<Arc<Revision>>> {
        let recent = self.lock();
        if from <= recent.floor {
            return None;
        }
        let start = recent.revisions.partition_point(|revision| revision.number < from);
        Some(recent.revisions.range(start..).cloned().collect())
    }
}

fn size(events: &[Event]) -> usize {
    events.iter().map(|event| 128 + event.kv.key.len() + event.kv.value.len()).sum()
}

/// Whole revisions from `from` on, read from the table: at least one if there is any, up to a thousand events
/// or a few MiB.
pub(crate) fn catch_up(view: &impl View, from: i64) -> Result<Vec<Arc<Revision>>, ViewError> {
    let mut revisions: Vec<Revision> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for row in view.scan(Table::Events, &event_key(from, 0), None) {
        let (key, value) = row?;
        let number = event_revision(&key)
            .ok_or_else(|| ViewError::new(Table::Events, "a key is too short"))?;
        let event: Event = decode(Table::Events, value)?;
        let full = count >= CATCH_UP_EVENTS || bytes >= CATCH_UP_BYTES;
        count += 1;
        bytes += event.kv.key.len() + event.kv.value.len();
        match revisions.last_mut() {
            Some(last) if last.number == number => last.events.push(event),
            _ if full => break,
            _ => revisions.push(Revision { number, events: vec![event] }),
        }
    }
    Ok(revisions.into_iter().map(Arc::new).collect())
}
