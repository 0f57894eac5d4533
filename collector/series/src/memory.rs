//! The store's state and its changes, without disk and clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    HistogramSample, Labels, Options, Sample, SeriesError,
    head::Order,
    index::Index,
    postings::Id,
    schema::{self, GROUP_SIZE, LogRow, Meta},
};

mod cardinality;
mod flush;
mod hints;
mod recovery;

use hints::Hints;

pub use cardinality::{Cardinality, Count};

/// A sample further ahead of the clock than this comes from a broken one, and would shut its series.
const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;
/// What takes most room is looked for once in so long, however many samples are refused meanwhile: it looks at all series.
const CULPRITS_MS: i64 = 60_000;

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
        // New series join the newest group while the rows of the others are deleted.
        let newest = Id::try_from(self.meta.next_id / u64::from(GROUP_SIZE)).unwrap_or(Id::MAX);
        groups.retain(|group| {
            if *group == newest {
                return false;
            }
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
