//! The store's state and its changes, without disk and clock.

use std::sync::Arc;

use crate::{
    Labels, Options, Sample, SeriesError,
    head::{Head, Order, Sealed},
    index::Index,
};

/// A sample further ahead of the clock than this comes from a broken one, and would shut its series.
const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;

/// What became of a batch, or of all batches since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples taken.
    pub appended: u64,
    /// Left out: earlier than the last sample of their series.
    pub out_of_order: u64,
    /// Left out: at the same time as the last sample of their series.
    pub duplicate: u64,
    /// Left out: past their retention already.
    pub too_old: u64,
    /// Left out: more than ten minutes ahead of `now_ms`.
    pub too_new: u64,
    /// Left out: of a new series beyond `series_max`.
    pub series_max: u64,
}

/// What the next flush writes.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    /// Number of the log row that takes `samples`.
    pub(crate) row: u64,
    pub(crate) samples: Vec<(u64, Sample)>,
    pub(crate) series: Vec<(u64, Labels)>,
    pub(crate) chunks: Vec<(u64, Arc<Sealed>)>,
    pub(crate) next_id: u64,
}

impl Unsaved {
    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.series.is_empty() && self.chunks.is_empty()
    }
}

/// All series, and what of them is not on disk.
#[derive(Debug)]
pub(crate) struct Memory {
    options: Options,
    pub(crate) index: Index,
    pub(crate) total: Appended,
    next_id: u64,
    next_row: u64,
    samples: Vec<(u64, Sample)>,
    series: Vec<(u64, Labels)>,
    /// Series with sealed chunks.
    dirty: Vec<u64>,
}

impl Memory {
    pub(crate) fn new(options: Options, next_id: u64) -> Self {
        Self {
            options,
            index: Index::default(),
            total: Appended::default(),
            next_id,
            next_row: 0,
            samples: Vec::new(),
            series: Vec::new(),
            dirty: Vec::new(),
        }
    }

    pub(crate) fn unlogged(&self) -> usize {
        self.samples.len()
    }

    pub(crate) fn append(
        &mut self,
        batch: &[(Labels, Sample)],
        now_ms: i64,
    ) -> Result<Appended, SeriesError> {
        let oldest_ms = now_ms.saturating_sub(self.options.retention_ms);
        let newest_ms = now_ms.saturating_add(FUTURE_MS_MAX);
        let mut became = Appended::default();
        let mut offender = None;
        for (labels, sample) in batch {
            if sample.timestamp_ms < oldest_ms {
                became.too_old += 1;
            } else if sample.timestamp_ms > newest_ms {
                became.too_new += 1;
            } else if let Some(id) = self.id(labels) {
                self.push(id, *sample, &mut became);
            } else {
                became.series_max += 1;
                offender.get_or_insert(labels);
            }
        }
        self.total.add(&became);
        match offender {
            None => Ok(became),
            Some(offender) => Err(SeriesError::SeriesMax {
                offender: offender.clone(),
                series_max: self.options.series_max,
                appended: became,
            }),
        }
    }

    /// The series' id, a new one if need be; none when there are too many.
    fn id(&mut self, labels: &Labels) -> Option<u64> {
        if let Some(id) = self.index.id(labels) {
            return Some(id);
        }
        if self.index.len() >= self.options.series_max {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        let labels = self.index.insert(id, labels, Head::default());
        self.series.push((id, labels));
        Some(id)
    }

    fn push(&mut self, id: u64, sample: Sample, became: &mut Appended) {
        let Some(head) = self.index.head(id) else { return };
        match head.order(sample.timestamp_ms) {
            Order::Duplicate => became.duplicate += 1,
            Order::Past => became.out_of_order += 1,
            Order::Next => {
                became.appended += 1;
                self.samples.push((id, sample));
                if head.push(sample, self.next_row) {
                    self.dirty.push(id);
                }
            }
        }
    }

    /// A sample of log row `row`, at recovery: what chunks on disk have already, and series that are gone,
    /// are passed over.
    pub(crate) fn replay(&mut self, row: u64, id: u64, sample: Sample) {
        self.next_row = self.next_row.max(row + 1);
        let Some(head) = self.index.head(id) else { return };
        if head.order(sample.timestamp_ms) == Order::Next && head.push(sample, row) {
            self.dirty.push(id);
        }
    }

    /// Takes what is not on disk. [`Self::saved`] or [`Self::restore`] must follow.
    pub(crate) fn take(&mut self) -> Unsaved {
        let row = self.next_row;
        if !self.samples.is_empty() {
            self.next_row += 1;
        }
        let mut chunks = Vec::new();
        self.dirty.sort_unstable();
        self.dirty.dedup();
        for id in self.dirty.drain(..) {
            let sealed = self.index.get(id).map_or(&[][..], |entry| entry.head.sealed());
            chunks.extend(sealed.iter().map(|chunk| (id, chunk.clone())));
        }
        Unsaved {
            row,
            samples: std::mem::take(&mut self.samples),
            series: std::mem::take(&mut self.series),
            chunks,
            next_id: self.next_id,
        }
    }

    /// `unsaved` is on disk.
    pub(crate) fn saved(&mut self, unsaved: &Unsaved) {
        for (id, chunk) in &unsaved.chunks {
            if let Some(head) = self.index.head(*id) {
                head.saved(chunk.end_ms);
            }
        }
    }

    /// `unsaved` could not be written: the next flush has it again, in a later row, which is why a head's
    /// first row may be earlier than the row that has its first sample, but never later.
    pub(crate) fn restore(&mut self, mut unsaved: Unsaved) {
        self.dirty.extend(unsaved.chunks.iter().map(|(id, _)| id));
        unsaved.samples.append(&mut self.samples);
        unsaved.series.append(&mut self.series);
        (self.samples, self.series) = (unsaved.samples, unsaved.series);
    }

    /// Seals every open chunk that began before `cutoff_ms` or pins a log row before `cutoff_row`.
    pub(crate) fn seal(&mut self, cutoff_ms: i64, cutoff_row: u64) {
        for (id, head) in self.index.heads() {
            if head.is_due(cutoff_ms, cutoff_row) && head.seal() {
                self.dirty.push(id);
            }
        }
    }

    /// The oldest log row that recovery needs: all before it may go.
    pub(crate) fn first_row(&self) -> u64 {
        let rows = self.index.iter().filter_map(|(_, entry)| entry.head.first_row());
        rows.min().unwrap_or(self.next_row).min(self.next_row)
    }

    /// Forgets the series that ended before `cutoff_ms`; answers with their ids.
    pub(crate) fn bury(&mut self, cutoff_ms: i64) -> Vec<u64> {
        let dead = self.index.iter().filter(|(_, entry)| entry.head.is_dead(cutoff_ms));
        let dead: Vec<_> = dead.map(|(id, _)| id).collect();
        dead.iter().for_each(|id| self.index.remove(*id));
        if !dead.is_empty() {
            self.index.forget_strings();
        }
        dead
    }
}

impl Appended {
    fn add(&mut self, other: &Self) {
        self.appended += other.appended;
        self.out_of_order += other.out_of_order;
        self.duplicate += other.duplicate;
        self.too_old += other.too_old;
        self.too_new += other.too_new;
        self.series_max += other.series_max;
    }
}
