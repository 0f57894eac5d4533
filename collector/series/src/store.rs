//! The store: memory and disk together.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    Appended, Cardinality, HistogramSample, Labels, SeriesError,
    disk::{self, Disk},
    memory::Memory,
    schema::{self, Meta},
};

mod listing;
mod select;
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
    /// Most bytes of chunks and log on disk: beyond it [`SeriesStore::expire`] deletes the oldest chunks, two
    /// hours of all series at a time. The disk may hold more until it is compacted.
    pub retention_bytes: u64,
    /// How much earlier than the newest sample of all series one may be that comes after a later one of its own.
    pub out_of_order_window_ms: i64,
    /// Most series at a time. One takes about 1 kB of memory while it is written to.
    pub series_max: usize,
    /// About how much memory series and samples that are not on disk only may take: beyond it new series are refused.
    pub memory_bytes_max: usize,
    /// Most samples that one query may read.
    pub samples_max: usize,
}

impl Default for Options {
    /// 25 h (24 h and a margin) whatever its size, in order, a million series, ten million samples.
    fn default() -> Self {
        Self {
            retention_ms: 25 * 3_600_000,
            retention_bytes: u64::MAX,
            out_of_order_window_ms: 0,
            series_max: 1_000_000,
            memory_bytes_max: usize::MAX,
            samples_max: 10_000_000,
        }
    }
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series, with or without samples in memory.
    pub series: usize,
    /// Samples that a crash now would lose.
    pub unlogged_samples: usize,
    /// What became of all samples since the store was opened.
    pub total: Appended,
    /// Bytes of samples in memory, at the last [`SeriesStore::expire`].
    pub head_bytes: usize,
    /// Bytes in log rows: samples of open chunks, for recovery.
    pub log_bytes: usize,
    /// Bytes in chunks on disk.
    pub chunk_bytes: u64,
    /// Bytes on disk, fjall's journals included.
    pub disk_bytes: u64,
}

/// The log rows on disk.
#[derive(Debug, Default)]
struct Log {
    rows: VecDeque<(u64, usize)>,
    bytes: usize,
}

/// One series of a batch, borrowed from wherever it was read.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Sorted by name, each name once, no value empty.
    pub labels: &'a [(&'a str, &'a str)],
    /// In the order of their times.
    pub samples: &'a [Sample],
    /// Native histograms, in the order of their times. A series has mostly either.
    pub histograms: &'a [HistogramSample],
}

impl Incoming<'_> {
    /// The times of its samples.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        let histograms = self.histograms.iter().map(|s| s.timestamp_ms);
        self.samples.iter().map(|s| s.timestamp_ms).chain(histograms)
    }
}

/// Samples of labelled series, for about a day.
///
/// All methods may be called from any thread. [`Self::append`] and the reading ones wait for the disk only
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
    /// When the directory is in use by another process, unreadable, damaged or of another format.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, SeriesError> {
        let disk = Disk::open(path.as_ref())?;
        let meta = match disk.meta()? {
            None => Meta::default(),
            Some(row) => match row.first() {
                Some(found) if *found != schema::FORMAT => {
                    let path = path.as_ref().display().to_string();
                    return Err(SeriesError::Format { path, found: *found });
                }
                _ => schema::read_meta(&row).map_err(disk::corrupt("meta row"))?,
            },
        };
        let mut memory = Memory::new(options, meta);
        for row in disk.rows(schema::SERIES_PREFIX) {
            let (id, row) = row?;
            let what = || format!("series row {id}");
            memory.known(id, &row).map_err(|e| disk::corrupt(what())(e))?;
        }
        for row in disk.rows(schema::HEAD_PREFIX) {
            let (group, row) = row?;
            let what = || format!("head row {group}");
            memory.recover(group, &row).map_err(|e| disk::corrupt(what())(e))?;
        }
        let mut log = Log::default();
        for row in disk.rows(schema::LOG_PREFIX) {
            let (number, row) = row?;
            log.push(number, row.len());
            schema::read_log(&row, |id, sample| memory.replay(number, id, sample))
                .map_err(|e| disk::corrupt(format!("log row {number}"))(e))?;
        }
        memory.index.rank();
        Ok(Self { options, disk, memory: RwLock::new(memory), log: Mutex::new(log) })
    }

    /// Takes samples into memory; they are on disk after the next [`Self::flush`]. The samples of one series
    /// must come in the order of their times, but for [`Options::out_of_order_window_ms`]: others are left out and
    /// counted. `now_ms` decides what is too old.
    ///
    /// Flushes by itself, and so waits for the disk, only when 200,000 samples wait for one.
    ///
    /// # Errors
    /// [`SeriesError::SeriesMax`] and [`SeriesError::MemoryMax`] when a series would be one too many: all other samples
    /// were taken. When
    /// samples pile up because they cannot be written, nothing is taken.
    pub fn append(&self, batch: &[(Labels, Sample)], now_ms: i64) -> Result<Appended, SeriesError> {
        self.make_room(batch.len())?;
        let series = batch
            .iter()
            .map(|(l, sample)| (Some(l), l.iter(), std::slice::from_ref(sample), &[][..]));
        self.write().append(series, now_ms)
    }

    /// The same without [`Labels`]: nothing is allocated for series that are known.
    ///
    /// # Errors
    /// Those of [`Self::append`].
    pub fn append_series<'a>(
        &self,
        batch: impl Iterator<Item = Incoming<'a>> + Clone,
        now_ms: i64,
    ) -> Result<Appended, SeriesError> {
        self.make_room(batch.clone().map(|series| series.times().count()).sum())?;
        let series = batch.map(|s| (None, s.labels.iter().copied(), s.samples, s.histograms));
        self.write().append(series, now_ms)
    }

    fn make_room(&self, samples: usize) -> Result<(), SeriesError> {
        let waiting = self.read().unlogged();
        if waiting > 0 && waiting + samples > UNLOGGED_MAX {
            self.flush().map_err(|_| SeriesError::Backlog(waiting))?;
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
            head_bytes: memory.head_bytes(),
            unlogged_samples: memory.unlogged(),
            total: memory.total,
            log_bytes,
            chunk_bytes: memory.meta.buckets.values().sum(),
            disk_bytes,
        })
    }

    /// The `limit` metrics and labels of each kind that make most series.
    #[must_use]
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        self.read().cardinality(limit)
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
