//! Rows in memory that are not in a segment yet: a skip list with every version of a row, so that one task writes while
//! any number read, each at its own moment.

use std::{
    cmp::Reverse,
    ops::Bound,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use crossbeam_skiplist::SkipMap;

use super::filter::Filter;
use crate::schema::Applied;

/// What a row takes beyond its key and value: the node, and two allocations.
const ROW_BYTES: usize = 160;

/// A row's version: versions of one row lie next to each other, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    pub(super) key: Bytes,
    turn: Reverse<u64>,
}

impl RowKey {
    /// Where to look for the newest version below `turn`.
    pub(super) fn below(key: Bytes, turn: u64) -> Self {
        Self { key, turn: Reverse(turn.saturating_sub(1)) }
    }
}

/// A row: its key, and its value or that it is deleted.
pub(super) type Row = (Bytes, Option<Bytes>);

pub(super) struct Memtable {
    pub(super) number: u64,
    rows: SkipMap<RowKey, Option<Bytes>>,
    filter: Filter,
    bytes: AtomicUsize,
    /// How far the state was when nothing more was added.
    sealed: OnceLock<Arc<Applied>>,
}

impl Memtable {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            rows: SkipMap::new(),
            filter: Filter::new(),
            bytes: AtomicUsize::new(0),
            sealed: OnceLock::new(),
        }
    }

    /// Adds a version of a row, newer than those it has.
    pub(super) fn insert(&self, key: Bytes, turn: u64, value: Option<Bytes>) {
        let bytes = ROW_BYTES + key.len() + value.as_ref().map_or(0, Bytes::len);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.filter.add(&key);
        self.rows.insert(RowKey { key, turn: Reverse(turn) }, value);
    }

    /// The row's newest version at `at`; none: it is not here.
    pub(super) fn get(&self, at: &RowKey) -> Option<Option<Bytes>> {
        if !self.filter.may_have(&at.key) {
            return None;
        }
        let found = self.rows.lower_bound(Bound::Included(at))?;
        (found.key().key == at.key).then(|| found.value().clone())
    }

    /// The newest version below `turn` of each row with `from <= key < to`.
    pub(super) fn range(
        &self,
        from: &Bytes,
        to: &Bytes,
        turn: u64,
    ) -> impl Iterator<Item = Row> + use<'_> {
        let from = RowKey { key: from.clone(), turn: Reverse(u64::MAX) };
        let to = RowKey { key: to.clone(), turn: Reverse(u64::MAX) };
        newest(self.rows.range(from..to), turn).map(|(key, _, value)| (key, value))
    }

    /// The newest version of each row, with its turn.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Bytes, u64, Option<Bytes>)> + use<'_> {
        newest(self.rows.iter(), u64::MAX)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Says that nothing more comes, and how far the state is with it.
    pub(super) fn seal(&self, applied: Arc<Applied>) {
        // Once only: whoever seals holds the lock for writing.
        let _ = self.sealed.set(applied);
    }

    pub(super) fn applied(&self) -> Option<&Arc<Applied>> {
        self.sealed.get()
    }
}

type Entry<'a> = crossbeam_skiplist::map::Entry<'a, RowKey, Option<Bytes>>;

fn newest<'a>(
    entries: impl Iterator<Item = Entry<'a>>,
    turn: u64,
) -> impl Iterator<Item = (Bytes, u64, Option<Bytes>)> {
    let mut last: Option<Bytes> = None;
    entries.filter_map(move |entry| {
        let RowKey { key, turn: Reverse(at) } = entry.key();
        if *at >= turn || last.as_ref() == Some(key) {
            return None;
        }
        last = Some(key.clone());
        Some((key.clone(), *at, entry.value().clone()))
    })
}
