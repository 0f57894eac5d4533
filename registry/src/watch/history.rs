//! Events as watchers are shown them, and those of the past, read from the `events` table.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::target::Interest;
use crate::{
    mvcc::{self, View, ViewError},
    schema::{Event, KeyValue},
};

/// Rows looked at in one go, events found, and their bytes; a revision is never split.
const ROWS_MAX: usize = 20_000;
const FOUND_MAX: usize = 1_000;
const FOUND_BYTES_MAX: usize = 1 << 20;

/// One change. What goes over the wire is made once, whoever sends it first, and shared by all watchers.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) event: Event,
    /// Without and with what was there before.
    wire: [OnceLock<Bytes>; 2],
}

impl Change {
    fn new(event: Event) -> Self {
        Self { event, wire: [OnceLock::new(), OnceLock::new()] }
    }

    /// The event as it goes over the wire, made by `encode` if nobody has needed it yet.
    pub(crate) fn wire<E>(
        &self,
        with_previous: bool,
        encode: impl FnOnce(&Event) -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let cell = &self.wire[usize::from(with_previous)];
        match cell.get() {
            Some(bytes) => Ok(bytes.clone()),
            None => encode(&self.event).map(|bytes| cell.get_or_init(|| bytes).clone()),
        }
    }
}

/// All changes of one revision, in order.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) number: i64,
    pub(crate) changes: Vec<Change>,
}

impl Revision {
    pub(super) fn new(number: i64, events: Vec<Event>) -> Self {
        Self { number, changes: events.into_iter().map(Change::new).collect() }
    }

    /// Roughly what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.changes.iter().map(|change| size(&change.event)).sum()
    }
}

fn size(event: &Event) -> usize {
    // The value is there twice as soon as the event has been sent.
    256 + 2 * (event.kv.key.len() + event.kv.value.len())
}

/// What a look into the past found.
pub(crate) struct Past {
    /// The revisions that have something for the watcher.
    pub(crate) revisions: Vec<Arc<Revision>>,
    /// Everything before this revision has been looked at.
    pub(crate) next: i64,
}

/// What `interest` wants from revision `from` on, up to the bounds above, in a view that stands at `newest`. Blocks: it
/// reads the disk.
pub(crate) fn past(
    view: &impl View,
    newest: i64,
    from: i64,
    interest: &Interest,
) -> Result<Past, ViewError> {
    let mut revisions: Vec<Arc<Revision>> = Vec::new();
    let mut current = (0, Vec::new());
    let (mut rows, mut found, mut bytes) = (0, 0, 0);
    let mut next = (newest + 1).max(from);
    for change in mvcc::changes(view, from) {
        let (number, change) = change?;
        if number != current.0 {
            let (before, events) = std::mem::replace(&mut current, (number, Vec::new()));
            if !events.is_empty() {
                revisions.push(Arc::new(Revision::new(before, events)));
            }
            if rows >= ROWS_MAX || found >= FOUND_MAX || bytes >= FOUND_BYTES_MAX {
                next = number;
                break;
            }
        }
        rows += 1;
        // Its value is looked up only for those who want it.
        let kv = KeyValue { key: change.key.clone(), ..KeyValue::default() };
        if interest.wants(&Event { deleted: change.deleted, kv }) {
            let event = mvcc::event(view, number, change)?;
            (found, bytes) = (found + 1, bytes + size(&event));
            current.1.push(event);
        }
    }
    if !current.1.is_empty() {
        revisions.push(Arc::new(Revision::new(current.0, current.1)));
    }
    Ok(Past { revisions, next })
}
