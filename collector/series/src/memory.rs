//! The store's state and its changes, without disk and clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    HistogramSample, Labels, Options, Sample, SeriesError,
    head::{Head, Order, Sealed},
    index::Index,
    postings::Id,
    schema::{self, GROUP_SIZE, LogRow, Logged, Meta},
    varint::Malformed,
};

mod cardinality;
mod hints;

use hints::Hints;

pub use cardinality::{Cardinality, Count};

/// A sample further ahead of the clock than this comes from a broken one, and would shut its series.
const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;
/// What takes most room is looked for once in so long, however many samples are refused meanwhile: it looks at all series.
const CULPRITS_MS: i64 = 60_000;
/// Log rows beyond this, and beyond what all open chunks have, are in head rows.
const LOG_BYTES_MAX: usize = 32 << 20;

/// What became of a batch, or of all batches since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples taken.
    pub appended: u64,
    /// Left out: earlier than the last sample of their series, by more than the out-of-order window.
    pub out_of_order: u64,
    /// Left out: at the same time as a sample of their series.
    pub duplicate: u64,
    /// Left out: past their retention already.
    pub too_old: u64,
    /// Left out: more than ten minutes ahead of `now_ms`.
    pub too_new: u64,
    /// Left out: of a new series beyond `series_max` or `memory_bytes_max`.
    pub series_max: u64,
}

/// A sample that is offered.
enum Taken<'a> {
    Float(Sample),
    Histogram(&'a HistogramSample),
}

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

/// All series, and what of them is not on disk.
#[derive(Debug)]
pub(crate) struct Memory {
    options: Options,
    pub(crate) index: Index,
    hints: Hints,
    pub(crate) total: Appended,
    pub(crate) meta: Meta,
    /// The latest time of all samples.
    newest_ms: i64,
    /// The log row that is being filled, and its number.
    row: LogRow,
    next_row: u64,
    /// Rows that could not be written.
    failed: Vec<(u64, Vec<u8>)>,
    failed_samples: usize,
    series: Vec<(Id, Vec<u8>)>,
    /// Series with sealed chunks.
    dirty: Vec<Id>,
    /// For each group of series the first log row that is not in its head row.
    groups: BTreeMap<u32, u64>,
    /// Groups whose heads are to be written with the next flush.
    due: BTreeSet<u32>,
    /// The group whose head row was written last, and the bytes of log rows since.
    cursor: u32,
    credit: usize,
    /// Bytes in open chunks, and of all samples in memory, when they were last looked at.
    open_bytes: usize,
    head_bytes: usize,
    /// What took most room when a series was too many, and when that was.
    culprits: Option<(i64, String)>,
}

impl Memory {
    pub(crate) fn new(options: Options, meta: Meta) -> Self {
        Self {
            options,
            index: Index::default(),
            hints: Hints::default(),
            total: Appended::default(),
            meta,
            newest_ms: i64::MIN,
            row: LogRow::default(),
            next_row: 0,
            failed: Vec::new(),
            failed_samples: 0,
            series: Vec::new(),
            dirty: Vec::new(),
            groups: BTreeMap::new(),
            due: BTreeSet::new(),
            cursor: 0,
            credit: 0,
            open_bytes: 0,
            head_bytes: 0,
            culprits: None,
        }
    }

    pub(crate) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// About what series and samples take, those as they were at the last [`Self::rest`].
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.hints.bytes() + self.head_bytes
    }

    pub(crate) fn unlogged(&self) -> usize {
        self.row.samples + self.failed_samples
    }

    /// Takes samples of series whose labels are sorted by name, each name once, no value empty; beside them the same as
    /// [`Labels`], where they are such, which may come again.
    pub(crate) fn append<'a, P>(
        &mut self,
        batch: impl Iterator<Item = (Option<&'a Labels>, P, &'a [Sample], &'a [HistogramSample])>,
        now_ms: i64,
    ) -> Result<Appended, SeriesError>
    where
        P: Iterator<Item = (&'a str, &'a str)> + Clone,
    {
        let oldest_ms = now_ms.saturating_sub(self.options.retention_ms);
        let newest_ms = now_ms.saturating_add(FUTURE_MS_MAX);
        let mut became = Appended::default();
        let mut offender = None;
        for (known, labels, floats, histograms) in batch {
            let mut id = None;
            let floats = floats.iter().map(|s| (s.timestamp_ms, Taken::Float(*s)));
            let histograms = histograms.iter().map(|s| (s.timestamp_ms, Taken::Histogram(s)));
            for (timestamp_ms, sample) in floats.chain(histograms) {
                if timestamp_ms < oldest_ms {
                    became.too_old += 1;
                    continue;
                }
                if timestamp_ms > newest_ms {
                    became.too_new += 1;
                    continue;
                }
                id = id.or_else(|| self.id_of(known, labels.clone()));
                match id {
                    Some(id) => self.push(id, timestamp_ms, sample, &mut became),
                    None => {
                        became.series_max += 1;
                        offender.get_or_insert_with(|| Labels::from_sorted(labels.clone()));
                    }
                }
            }
        }
        self.total.add(&became);
        match offender {
            None => Ok(became),
            Some(offender) if self.index.len() < self.options.series_max => {
                Err(SeriesError::MemoryMax {
                    culprits: self.culprits_at(now_ms),
                    offender,
                    bytes_max: self.options.memory_bytes_max,
                    appended: became,
                })
            }
            Some(offender) => Err(SeriesError::SeriesMax {
                culprits: self.culprits_at(now_ms),
                offender,
                series_max: self.options.series_max,
                appended: became,
            }),
        }
    }

    /// As [`Self::id`], without a look at labels that were here before.
    fn id_of<'a>(
        &mut self,
        known: Option<&Labels>,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Option<Id> {
        let Some(known) = known else { return self.id(labels) };
        let hint = self.hints.get(known);
        // The series may be gone, and one with these labels has another id then.
        if let Some(id) = hint.filter(|id| self.index.get(*id).is_some()) {
            return Some(id);
        }
        let id = self.id(labels)?;
        self.hints.put(known, id);
        Some(id)
    }

    /// The series' id, a new one if need be; none when there are too many.
    fn id<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Option<Id> {
        let hash = self.index.hash(labels.clone());
        if let Some(id) = self.index.find(hash, labels.clone()) {
            return Some(id);
        }
        // Ids never come again: a store whose series change for ever is full after four thousand million.
        let id = Id::try_from(self.meta.next_id).ok()?;
        if self.index.len() >= self.options.series_max
            || self.bytes() >= self.options.memory_bytes_max
        {
            return None;
        }
        self.meta.next_id += 1;
        self.series.push((id, schema::series(labels.clone())));
        self.index.insert(id, hash, labels);
        self.groups.entry(id / GROUP_SIZE).or_insert(self.next_row);
        Some(id)
    }

    fn push(&mut self, id: Id, timestamp_ms: i64, sample: Taken<'_>, became: &mut Appended) {
        let window_ms = self.options.out_of_order_window_ms;
        let in_window = window_ms > 0 && timestamp_ms >= self.newest_ms.saturating_sub(window_ms);
        let Some(head) = self.index.head(id) else { return };
        let sealed = match (head.order(timestamp_ms), &sample) {
            (Order::Duplicate, _) => return became.duplicate += 1,
            (Order::Next, Taken::Float(sample)) => head.push(*sample),
            (Order::Next, Taken::Histogram(sample)) => head.push_histogram((*sample).clone()),
            (Order::Past, Taken::Float(sample)) if in_window => {
                if !head.push_late(*sample) {
                    return became.duplicate += 1;
                }
                !head.unsaved().1.is_empty()
            }
            (Order::Past, _) => return became.out_of_order += 1,
        };
        if sealed {
            self.dirty.push(id);
        }
        became.appended += 1;
        self.newest_ms = self.newest_ms.max(timestamp_ms);
        match sample {
            Taken::Float(sample) => self.row.push(id, sample),
            Taken::Histogram(sample) => self.row.push_histogram(id, sample),
        }
    }

    /// A series row, at recovery.
    pub(crate) fn known(&mut self, id: u64, row: &[u8]) -> Result<(), Malformed> {
        let id = Id::try_from(id).map_err(|_| "a series id is too large")?;
        let mut pairs = Vec::new();
        schema::read_series(row, &mut pairs)?;
        let hash = self.index.hash(pairs.iter().copied());
        self.index.insert(id, hash, pairs.into_iter());
        Ok(())
    }

    /// A head row, at recovery; heads of series that are gone are passed over.
    pub(crate) fn recover(&mut self, group: u64, row: &[u8]) -> Result<(), Malformed> {
        let group = u32::try_from(group).map_err(|_| "a group is too large")?;
        let (first_row, mut heads) = schema::read_heads(row)?;
        while !heads.0.is_empty() {
            let place = u32::from(heads.byte()?);
            let head = Head::read(&mut heads)?;
            self.newest_ms = self.newest_ms.max(head.last_ms().unwrap_or(i64::MIN));
            if let Some(known) = self.index.head(group.wrapping_mul(GROUP_SIZE).wrapping_add(place))
            {
                *known = head;
            }
        }
        self.groups.insert(group, first_row);
        self.next_row = self.next_row.max(first_row);
        Ok(())
    }

    /// A sample of log row `row`, at recovery: what the heads have already, and series that are gone, are passed
    /// over.
    pub(crate) fn replay(&mut self, row: u64, id: Id, sample: Logged) {
        self.next_row = self.next_row.max(row + 1);
        let Some(head) = self.index.head(id) else { return };
        if *self.groups.entry(id / GROUP_SIZE).or_insert(row) > row {
            return;
        }
        let timestamp_ms = match &sample {
            Logged::Float(sample) => sample.timestamp_ms,
            Logged::Histogram(sample) => sample.timestamp_ms,
        };
        let sealed = match (head.order(timestamp_ms), sample) {
            (Order::Next, Logged::Float(sample)) => head.push(sample),
            (Order::Next, Logged::Histogram(sample)) => head.push_histogram(sample),
            (Order::Past, Logged::Float(sample)) => {
                head.push_late(sample) && !head.unsaved().1.is_empty()
            }
            (Order::Duplicate, _) | (Order::Past, Logged::Histogram(_)) => false,
        };
        if sealed {
            self.dirty.push(id);
        }
        self.newest_ms = self.newest_ms.max(timestamp_ms);
    }

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

    /// Seals what ended before `cutoff_ms`; the heads concerned are written with the next flush, so that a
    /// recovery does not begin the same chunk again.
    pub(crate) fn rest(&mut self, cutoff_ms: i64) {
        self.hints.forget();
        (self.open_bytes, self.head_bytes) = (0, 0);
        for (id, head) in self.index.heads() {
            if head.rest(cutoff_ms) {
                self.dirty.push(id);
                self.due.insert(id / GROUP_SIZE);
            }
            self.open_bytes += head.open().bytes().len();
            self.head_bytes += head.bytes();
        }
    }

    /// The oldest log row that recovery needs: all before it may go.
    pub(crate) fn first_row(&self) -> u64 {
        self.groups.values().min().copied().unwrap_or(self.next_row)
    }

    /// Forgets the series that ended before `cutoff_ms`; answers with their ids and with groups that are empty now.
    pub(crate) fn bury(&mut self, cutoff_ms: i64) -> (Vec<Id>, Vec<u32>) {
        let dead = self.index.iter().filter(|(_, series)| series.head.is_dead(cutoff_ms));
        let dead: Vec<_> = dead.map(|(id, _)| id).collect();
        if dead.is_empty() {
            return Default::default();
        }
        self.index.remove(&dead);
        let mut groups: BTreeSet<_> = dead.iter().map(|id| id / GROUP_SIZE).collect();
        groups.retain(|group| {
            let first = group.wrapping_mul(GROUP_SIZE);
            (0..GROUP_SIZE).all(|place| self.index.get(first.wrapping_add(place)).is_none())
        });
        groups.iter().for_each(|group| {
            self.groups.remove(group);
            self.due.remove(group);
        });
        (dead, groups.into_iter().collect())
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
