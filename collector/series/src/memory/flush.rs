//! What of the memory is not on disk, and goes there with the next flush.

use super::Memory;
use crate::{
    head::Sealed,
    postings::Id,
    schema::{self, GROUP_SIZE, Meta},
};

/// Log rows beyond this, and beyond what all open chunks have, are in head rows.
const LOG_BYTES_MAX: usize = 32 << 20;

/// What the next flush writes.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    /// Log rows, by number.
    pub(crate) rows: Vec<(u64, Vec<u8>)>,
    pub(crate) samples: usize,
    /// Series rows.
    pub(crate) series: Vec<(Id, Vec<u8>)>,
    pub(crate) chunks: Vec<(Id, Sealed, Option<u64>)>,
    /// How many of the chunks are whose: in order, and late ones.
    counts: Vec<(Id, usize, usize)>,
    /// Head rows by group; they hold all log rows before `next_row`.
    pub(crate) heads: Vec<(u32, Vec<u8>)>,
    next_row: u64,
    pub(crate) meta: Option<Meta>,
}

impl Unsaved {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.series.is_empty()
            && self.chunks.is_empty()
            && self.heads.is_empty()
    }
}

impl Memory {
    /// Takes what is not on disk. [`Self::saved`] or [`Self::restore`] must follow.
    pub(crate) fn take(&mut self) -> Unsaved {
        self.index.rank();
        let row = std::mem::take(&mut self.row);
        let mut unsaved = Unsaved {
            rows: std::mem::take(&mut self.failed),
            samples: std::mem::take(&mut self.failed_samples) + row.samples,
            series: std::mem::take(&mut self.series),
            ..Unsaved::default()
        };
        if row.samples > 0 {
            self.credit += row.bytes.len();
            unsaved.rows.push((self.next_row, row.bytes));
            self.next_row += 1;
        }
        unsaved.next_row = self.next_row;
        self.take_chunks(&mut unsaved);
        self.take_heads(&mut unsaved);
        if !unsaved.series.is_empty() || !unsaved.chunks.is_empty() {
            unsaved.meta = Some(self.meta.clone());
        }
        unsaved
    }

    fn take_chunks(&mut self, unsaved: &mut Unsaved) {
        self.dirty.sort_unstable();
        self.dirty.dedup();
        for id in self.dirty.drain(..) {
            let Some(series) = self.index.get(id) else { continue };
            let (in_order, late) = series.head.unsaved();
            unsaved.counts.push((id, in_order.len(), late.len()));
            unsaved.chunks.extend(in_order.iter().map(|chunk| (id, chunk.clone(), None)));
            for chunk in late {
                unsaved.chunks.push((id, chunk.clone(), Some(self.meta.next_suffix)));
                self.meta.next_suffix += 1;
            }
        }
        for (_, chunk, _) in &unsaved.chunks {
            let bucket = crate::chunk::bucket(chunk.end_ms);
            *self.meta.buckets.entry(bucket).or_default() += chunk.bytes.len() as u64;
        }
    }

    /// All groups have their turn while the log fills once: so it needs no more than that at recovery.
    fn take_heads(&mut self, unsaved: &mut Unsaved) {
        let share = usize::try_from(self.options.retention_bytes / 4).unwrap_or(usize::MAX);
        let log_bytes_max = LOG_BYTES_MAX.max(self.open_bytes).min(share);
        let price = (log_bytes_max / 2 / self.groups.len().max(1)).max(1);
        let turns = self.credit / price;
        self.credit %= price;
        let after = self.groups.range(self.cursor + 1..).chain(self.groups.range(..=self.cursor));
        let turns: Vec<_> = after.map(|(group, _)| *group).take(turns).collect();
        self.cursor = turns.last().copied().unwrap_or(self.cursor).min(u32::MAX - 1);
        self.due.extend(turns);
        for group in std::mem::take(&mut self.due) {
            let mut row = schema::heads(self.next_row);
            for place in 0..GROUP_SIZE {
                let series = self.index.get(group.wrapping_mul(GROUP_SIZE).wrapping_add(place));
                if let Some(series) = series.filter(|s| s.head.last_ms().is_some()) {
                    row.push(place as u8);
                    series.head.write(&mut row);
                }
            }
            unsaved.heads.push((group, row));
        }
    }

    /// `unsaved` is on disk.
    pub(crate) fn saved(&mut self, unsaved: &Unsaved) {
        for (id, in_order, late) in &unsaved.counts {
            if let Some(head) = self.index.head(*id) {
                head.saved(*in_order, *late);
            }
        }
        for (group, _) in &unsaved.heads {
            if let Some(row) = self.groups.get_mut(group) {
                *row = unsaved.next_row;
            }
        }
    }

    /// `unsaved` could not be written: the next flush has it again.
    pub(crate) fn restore(&mut self, unsaved: Unsaved) {
        self.dirty.extend(unsaved.counts.iter().map(|(id, ..)| id));
        self.due.extend(unsaved.heads.iter().map(|(group, _)| group));
        for (_, chunk, _) in &unsaved.chunks {
            if let Some(bytes) = self.meta.buckets.get_mut(&crate::chunk::bucket(chunk.end_ms)) {
                *bytes = bytes.saturating_sub(chunk.bytes.len() as u64);
            }
        }
        let later = std::mem::replace(&mut self.failed, unsaved.rows);
        self.failed.extend(later);
        self.failed_samples += unsaved.samples;
        let later = std::mem::replace(&mut self.series, unsaved.series);
        self.series.extend(later);
    }
}
