//! The store: memory and disk together.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    Appended, Labels, Matcher, SeriesError,
    disk::{self, Disk},
    head::{Head, Sealed},
    memory::Memory,
};

mod upkeep;

pub use upkeep::Expired;

/// Samples that may wait for a flush: beyond it, an append flushes by itself.
const UNLOGGED_MAX: usize = 200_000;

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// Any `f64`; a NaN keeps its bits.
    pub value: f64,
}

/// One series of an answer; its samples rise in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples in the range, at least one.
    pub samples: Vec<Sample>,
}

/// The store's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Samples older than this are refused, and deleted by [`SeriesStore::expire`].
    pub retention_ms: i64,
    /// Most series at a time. One takes about 2.5 kB of memory while it is written to.
    pub series_max: usize,
    /// Most samples that one query may read.
    pub samples_max: usize,
}

impl Default for Options {
    /// 25 h (24 h and a margin), a million series, ten million samples.
    fn default() -> Self {
        Self { retention_ms: 25 * 3_600_000, series_max: 1_000_000, samples_max: 10_000_000 }
    }
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series, with or without samples in memory.
    pub series: usize,
    /// Samples in open chunks.
    pub head_samples: usize,
    /// Samples that a crash now would lose.
    pub unlogged_samples: usize,
    /// What became of all samples since the store was opened.
    pub total: Appended,
    /// Bytes in log rows: samples of open chunks, for recovery.
    pub log_bytes: usize,
    /// Bytes on disk, fjall's journals included.
    pub disk_bytes: u64,
}

/// The log rows on disk.
#[derive(Debug, Default)]
struct Log {
    rows: VecDeque<(u64, usize)>,
    bytes: usize,
}

/// Samples of labelled series, for about a day.
///
/// All methods may be called from any thread. [`Self::append`] and [`Self::select`] wait for the disk only
/// where they say so; [`Self::flush`] and [`Self::expire`] always may.
pub struct SeriesStore {
    options: Options,
    disk: Disk,
    memory: RwLock<Memory>,
    /// Held while the disk is written: one writer at a time, and never `memory` with it for long.
    log: Mutex<Log>,
}

impl std::fmt::Debug for SeriesStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeriesStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl SeriesStore {
    /// Opens the store in directory `path`, made if need be, with all that was flushed before.
    ///
    /// # Errors
    /// When the directory is in use by another process, unreadable or damaged.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, SeriesError> {
        let disk = Disk::open(path.as_ref())?;
        let mut memory = Memory::new(options, disk.next_id()?.unwrap_or(0));
        for row in disk.series() {
            let (id, labels) = row?;
            memory.index.insert(id, &labels, Head::recovered(disk.last_chunk(id)?));
        }
        let mut log = Log::default();
        for row in disk.log() {
            let (number, bytes, samples) = row?;
            log.push(number, bytes);
            samples.into_iter().for_each(|(id, sample)| memory.replay(number, id, sample));
        }
        Ok(Self { options, disk, memory: RwLock::new(memory), log: Mutex::new(log) })
    }

    /// Takes samples into memory; they are on disk after the next [`Self::flush`]. The samples of one series
    /// must come in the order of their times: others are left out and counted. `now_ms` decides what is too old.
    ///
    /// Flushes by itself, and so waits for the disk, only when 200,000 samples wait for one.
    ///
    /// # Errors
    /// [`SeriesError::SeriesMax`] when a series would be one too many: all other samples were taken. When
    /// samples pile up because they cannot be written, nothing is taken.
    pub fn append(&self, batch: &[(Labels, Sample)], now_ms: i64) -> Result<Appended, SeriesError> {
        let waiting = self.read().unlogged();
        if waiting > 0 && waiting + batch.len() > UNLOGGED_MAX {
            self.flush().map_err(|_| SeriesError::Backlog(waiting))?;
        }
        self.write().append(batch, now_ms)
    }

    /// All samples from `from_ms` to `to_ms`, both inclusive, of the series that every matcher means; sorted
    /// by labels. Reads from disk what is older than the series' open chunk.
    ///
    /// # Errors
    /// When the answer would be larger than [`Options::samples_max`], or a row cannot be read.
    pub fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Series>, SeriesError> {
        let mut left = self.options.samples_max;
        let mut answer = Vec::new();
        for found in self.in_memory(matchers, from_ms, to_ms, left)? {
            let mut samples = Vec::new();
            self.on_disk(&found, from_ms, to_ms, left, &mut samples)?;
            for chunk in &found.sealed {
                let row = || disk::corrupt(format!("sealed chunk of {}", found.labels));
                let chunk = crate::chunk::decode(&chunk.bytes).map_err(row())?;
                samples.extend(chunk.into_iter().filter(|s| within(s, from_ms, to_ms)));
            }
            samples.extend(found.open);
            left = left
                .checked_sub(samples.len())
                .ok_or(SeriesError::SamplesMax(self.options.samples_max))?;
            if !samples.is_empty() {
                answer.push(Series { labels: found.labels, samples });
            }
        }
        answer.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(answer)
    }

    fn in_memory(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
        mut left: usize,
    ) -> Result<Vec<Found>, SeriesError> {
        let memory = self.read();
        let mut all = Vec::new();
        for (id, entry) in memory.index.select(matchers) {
            let head = &entry.head;
            let open = head.open().iter().filter(|s| within(s, from_ms, to_ms));
            let found = Found {
                id,
                labels: entry.labels.clone(),
                start_ms: head.start_ms(),
                sealed: head.sealed().to_vec(),
                open: open.copied().collect(),
            };
            left = left
                .checked_sub(found.open.len())
                .ok_or(SeriesError::SamplesMax(self.options.samples_max))?;
            all.push(found);
        }
        Ok(all)
    }

    /// What chunks on disk hold of the range, up to where memory begins: a chunk that was saved since memory
    /// was read is in both.
    fn on_disk(
        &self,
        found: &Found,
        from_ms: i64,
        to_ms: i64,
        left: usize,
        samples: &mut Vec<Sample>,
    ) -> Result<(), SeriesError> {
        let known = |s: &Sample| found.start_ms.is_some_and(|start| s.timestamp_ms >= start);
        for chunk in self.disk.chunks(found.id, from_ms) {
            let chunk = chunk?;
            if chunk.first().is_none_or(|s| s.timestamp_ms > to_ms || known(s)) {
                break;
            }
            let wanted = chunk.into_iter().filter(|s| within(s, from_ms, to_ms) && !known(s));
            samples.extend(wanted);
            if samples.len() > left {
                return Err(SeriesError::SamplesMax(self.options.samples_max));
            }
        }
        Ok(())
    }

    /// What the store holds now.
    ///
    /// # Errors
    /// When the disk cannot be measured.
    pub fn stats(&self) -> Result<Stats, SeriesError> {
        let log_bytes = self.log().bytes;
        let disk_bytes = self.disk.bytes()?;
        let memory = self.read();
        Ok(Stats {
            series: memory.index.len(),
            head_samples: memory.index.iter().map(|(_, e)| e.head.open().len()).sum(),
            unlogged_samples: memory.unlogged(),
            total: memory.total,
            log_bytes,
            disk_bytes,
        })
    }

    // A thread that panicked with a lock held left at worst one sample half counted: nothing to refuse for.
    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn push(&mut self, number: u64, bytes: usize) {
        self.rows.push_back((number, bytes));
        self.bytes += bytes;
    }
}

/// A series as memory knew it at one moment.
struct Found {
    id: u64,
    labels: Labels,
    start_ms: Option<i64>,
    sealed: Vec<Arc<Sealed>>,
    open: Vec<Sample>,
}

fn within(sample: &Sample, from_ms: i64, to_ms: i64) -> bool {
    (from_ms..=to_ms).contains(&sample.timestamp_ms)
}
