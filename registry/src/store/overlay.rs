//! Rows that are applied but not in the engine yet: a persistent map, so that a view of it costs O(1).

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use imbl::OrdMap;

use super::overlay_key;
use crate::{mvcc::Write, schema::Applied};

/// (table, key) → (batch, value); no value: deleted.
pub(super) type Rows = OrdMap<Bytes, (u64, Option<Bytes>)>;

/// Bookkeeping per row, for the overlay's size.
const ROW_BYTES: usize = 96;

/// One entry's writes.
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) writes: Vec<Write>,
    pub(super) applied: Arc<Applied>,
    bytes: usize,
}

pub(super) struct Overlay {
    rows: Rows,
    queue: VecDeque<Batch>,
    waiting_bytes: usize,
    last: u64,
    applied: Arc<Applied>,
    /// Compact up to this revision as soon as this batch is in the engine.
    compact: Option<(i64, u64)>,
    /// Last batch that is in the engine.
    flushed: u64,
}

impl Overlay {
    pub(super) fn new(applied: Applied) -> Self {
        let compact = (applied.compact_revision > 0).then_some((applied.compact_revision, 0));
        Self {
            rows: Rows::new(),
            queue: VecDeque::new(),
            waiting_bytes: 0,
            last: 0,
            applied: Arc::new(applied),
            compact,
            flushed: 0,
        }
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(super) fn applied(&self) -> Arc<Applied> {
        Arc::clone(&self.applied)
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn last_batch(&self) -> u64 {
        self.last
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.rows.get(key).map(|(_, value)| value.clone())
    }

    pub(super) fn push(&mut self, writes: Vec<Write>, applied: Applied) {
        self.last += 1;
        let number = self.last;
        let mut bytes = ROW_BYTES;
        for write in &writes {
            bytes += ROW_BYTES + 2 * write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
            self.rows.insert(overlay_key(write.table, &write.key), (number, write.value.clone()));
        }
        if applied.compact_revision > self.applied.compact_revision {
            self.compact = Some((applied.compact_revision, number));
        }
        self.applied = Arc::new(applied);
        self.waiting_bytes += bytes;
        let applied = Arc::clone(&self.applied);
        self.queue.push_back(Batch { number, writes, applied, bytes });
    }

    /// The next batches for the writer, up to `bytes_max` together but at least one.
    pub(super) fn take(&mut self, bytes_max: usize) -> Vec<Batch> {
        let mut taken = 0;
        let mut batches = Vec::new();
        while let Some(batch) = self.queue.front() {
            if !batches.is_empty() && taken + batch.bytes > bytes_max {
                break;
            }
            taken += batch.bytes;
            batches.extend(self.queue.pop_front());
        }
        batches
    }

    /// Forgets rows that are in the engine now, unless a later batch has changed them again.
    pub(super) fn written(&mut self, batches: &[Batch]) {
        for batch in batches {
            self.flushed = batch.number;
            self.waiting_bytes = self.waiting_bytes.saturating_sub(batch.bytes);
            for write in &batch.writes {
                let key = overlay_key(write.table, &write.key);
                if self.rows.get(&key).is_some_and(|(number, _)| *number <= batch.number) {
                    self.rows.remove(&key);
                }
            }
        }
    }

    pub(super) fn take_compaction(&mut self) -> Option<i64> {
        let flushed = self.flushed;
        self.compact.take_if(|(_, batch)| *batch <= flushed).map(|(revision, _)| revision)
    }

    /// The engine was replaced whole.
    pub(super) fn reset(&mut self, applied: Applied) {
        self.rows = Rows::new();
        self.queue.clear();
        self.waiting_bytes = 0;
        self.flushed = self.last;
        self.compact = (applied.compact_revision > 0).then_some((applied.compact_revision, 0));
        self.applied = Arc::new(applied);
    }
}
