//! The only place that names fjall: one keyspace of rows as `schema` describes them.
//!
//! One keyspace for all kinds of rows, because an idle one would pin fjall's journals. A commit reaches the
//! operating system's buffers and so survives a killed process; [`Disk::sync`] makes it survive a power cut.

use std::{fmt::Display, path::Path};

use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use crate::{Labels, Sample, SeriesError, chunk, schema, varint::Malformed};

/// Blocks of chunks kept in memory for queries.
const CACHE_BYTES: u64 = 32 << 20;
/// Small: what opening costs follows the journal's size.
const MEMTABLE_BYTES: u64 = 8 << 20;
const JOURNAL_BYTES: u64 = 64 << 20;
/// Rows removed in one commit.
pub(crate) const REMOVE_MAX: usize = 10_000;

pub(crate) struct Disk {
    database: Database,
    rows: Keyspace,
}

/// A set of changes that happens whole.
pub(crate) struct Batch<'a> {
    disk: &'a Disk,
    batch: OwnedWriteBatch,
}

impl Batch<'_> {
    pub(crate) fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.batch.insert(&self.disk.rows, key, value);
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.batch.remove(&self.disk.rows, key);
    }

    pub(crate) fn commit(self) -> Result<(), SeriesError> {
        self.batch.commit().map_err(storage("write"))
    }
}

impl Disk {
    pub(crate) fn open(path: &Path) -> Result<Self, SeriesError> {
        let failed = |e: fjall::Error| SeriesError::Open {
            path: path.display().to_string(),
            message: e.to_string(),
        };
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = database.keyspace("series", options).map_err(failed)?;
        Ok(Self { database, rows })
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { disk: self, batch: self.database.batch() }
    }

    pub(crate) fn sync(&self) -> Result<(), SeriesError> {
        self.database.persist(PersistMode::SyncData).map_err(storage("sync"))
    }

    /// Journals and tables.
    pub(crate) fn bytes(&self) -> Result<u64, SeriesError> {
        self.database.disk_space().map_err(storage("measure"))
    }

    /// The next series id; none in a new store.
    pub(crate) fn next_id(&self) -> Result<Option<u64>, SeriesError> {
        let row = self.rows.get(schema::META_KEY).map_err(storage("read"))?;
        row.map(|value| schema::read_meta(&value).map_err(corrupt("meta row"))).transpose()
    }

    pub(crate) fn series(
        &self,
    ) -> impl Iterator<Item = Result<(u64, Labels), SeriesError>> + use<> {
        self.rows.prefix(schema::SERIES_PREFIX).map(|row| {
            let (id, value) = numbered(row)?;
            Ok((id, schema::read_series(&value).map_err(corrupt(format!("series row {id}")))?))
        })
    }

    /// Log rows in order: number, size in bytes, samples.
    #[expect(clippy::type_complexity, reason = "used once")]
    pub(crate) fn log(
        &self,
    ) -> impl Iterator<Item = Result<(u64, usize, Vec<(u64, Sample)>), SeriesError>> + use<> {
        self.rows.prefix(schema::LOG_PREFIX).map(|row| {
            let (number, value) = numbered(row)?;
            let what = format!("log row {number}");
            Ok((number, value.len(), schema::read_log(&value).map_err(corrupt(what))?))
        })
    }

    /// When the last chunk of a series ends.
    pub(crate) fn last_chunk(&self, id: u64) -> Result<Option<i64>, SeriesError> {
        self.rows.prefix(schema::chunk_prefix(id)).next_back().map(chunk_end).transpose()
    }

    /// When the first chunk of a series that ends at `from_ms` or later does.
    pub(crate) fn first_chunk(&self, id: u64, from_ms: i64) -> Result<Option<i64>, SeriesError> {
        let keys = schema::chunk_key(id, from_ms)..=schema::chunk_key(id, i64::MAX);
        self.rows.range(keys).next().map(chunk_end).transpose()
    }

    /// When the chunks of a series end that end before `cutoff_ms`.
    pub(crate) fn chunks_before(
        &self,
        id: u64,
        cutoff_ms: i64,
    ) -> impl Iterator<Item = Result<i64, SeriesError>> + use<> {
        let keys = schema::chunk_key(id, i64::MIN)..schema::chunk_key(id, cutoff_ms);
        self.rows.range(keys).map(chunk_end)
    }

    /// The chunks of a series from the one that holds `from_ms` on.
    pub(crate) fn chunks(
        &self,
        id: u64,
        from_ms: i64,
    ) -> impl Iterator<Item = Result<Vec<Sample>, SeriesError>> + use<> {
        let keys = schema::chunk_key(id, from_ms)..=schema::chunk_key(id, i64::MAX);
        self.rows.range(keys).map(move |row| {
            let value = row.value().map_err(storage("read"))?;
            chunk::decode(&value).map_err(corrupt(format!("chunk of series {id}")))
        })
    }
}

fn chunk_end(row: Guard) -> Result<i64, SeriesError> {
    let key = row.key().map_err(storage("read"))?;
    schema::chunk_end_ms(&key).map_err(corrupt("chunk key"))
}

fn numbered(row: Guard) -> Result<(u64, fjall::UserValue), SeriesError> {
    let (key, value) = row.into_inner().map_err(storage("read"))?;
    Ok((schema::number(&key).map_err(corrupt("row key"))?, value))
}

fn storage(what: &'static str) -> impl Fn(fjall::Error) -> SeriesError {
    move |e| SeriesError::Storage { what, message: e.to_string() }
}

pub(crate) fn corrupt(row: impl Display) -> impl FnOnce(Malformed) -> SeriesError {
    move |message| SeriesError::Corrupt { row: row.to_string(), message }
}
