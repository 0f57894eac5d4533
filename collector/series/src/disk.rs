//! The only place that names fjall: one keyspace of rows as `schema` describes them.
//!
//! One keyspace for all kinds of rows, because an idle one would pin fjall's journals. A commit reaches the
//! operating system's buffers and so survives a killed process; [`Disk::sync`] makes it survive a power cut.

use std::{fmt::Display, fs, io, path::Path};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use crate::{SeriesError, postings::Id, schema, varint::Malformed};

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
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
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
    /// Opens the database in `path`, a new one if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, SeriesError> {
        let failed =
            |message: String| SeriesError::Open { path: path.display().to_string(), message };
        if is_empty(path).map_err(|e| failed(e.to_string()))? {
            // fjall cannot open what a kill left half made: it is made aside, and is there whole or not at all.
            let mut aside = path.as_os_str().to_owned();
            aside.push(".new");
            let aside = Path::new(&aside);
            remove(aside)
                .and_then(|()| path.parent().map_or(Ok(()), fs::create_dir_all))
                .map_err(|e| failed(e.to_string()))?;
            drop(Self::create_or_open(aside).map_err(|e| failed(e.to_string()))?);
            fs::rename(aside, path)
                .and_then(|()| sync_parent(path))
                .map_err(|e| failed(e.to_string()))?;
        }
        Self::create_or_open(path).map_err(|e| failed(e.to_string()))
    }

    fn create_or_open(path: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = database.keyspace("series", options)?;
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

    /// The meta row; none in a new store.
    pub(crate) fn meta(&self) -> Result<Option<fjall::UserValue>, SeriesError> {
        self.rows.get(schema::META_KEY).map_err(storage("read"))
    }

    /// Rows of a kind in order: number and value.
    pub(crate) fn rows(
        &self,
        prefix: [u8; 1],
    ) -> impl Iterator<Item = Result<(u64, fjall::UserValue), SeriesError>> + use<> {
        self.rows.prefix(prefix).map(|row| {
            let (key, value) = row.into_inner().map_err(storage("read"))?;
            Ok((schema::number(&key).map_err(corrupt("row key"))?, value))
        })
    }

    /// The chunks of a series with a last sample between two times that lie in one bucket.
    pub(crate) fn chunks(
        &self,
        id: Id,
        from_ms: i64,
        to_ms: i64,
    ) -> impl Iterator<Item = Result<fjall::UserValue, SeriesError>> + use<> {
        let keys =
            schema::chunk_key(id, from_ms, None)..=schema::chunk_key(id, to_ms, Some(u64::MAX));
        self.rows.range(keys).map(|row| row.value().map_err(storage("read")))
    }

    /// Keys of at most `max` chunks of a bucket.
    pub(crate) fn chunk_keys(
        &self,
        bucket: i32,
        max: usize,
    ) -> Result<Vec<fjall::UserKey>, SeriesError> {
        let rows = self.rows.prefix(schema::bucket_prefix(bucket)).take(max);
        rows.map(|row| row.key().map_err(storage("read"))).collect()
    }
}

/// Whether there is nothing at `path`, or a folder with nothing in it.
fn is_empty(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// A name in a folder survives a power cut once the folder is on the disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn storage(what: &'static str) -> impl Fn(fjall::Error) -> SeriesError {
    move |e| SeriesError::Storage { what, message: e.to_string() }
}

pub(crate) fn corrupt(row: impl Display) -> impl FnOnce(Malformed) -> SeriesError {
    move |message| SeriesError::Corrupt { row: row.to_string(), message }
}
