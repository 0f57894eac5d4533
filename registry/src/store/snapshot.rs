//! A snapshot that is received: first written whole to a file and checked. Installing renames it to `installing`; whoever
//! opens the store and finds that name installs it again from the start. What is in it: `frames.rs`.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

use super::{
    Engine, StoreError,
    frames::{FrameError, FrameReader},
    row_key,
};
use crate::{
    mvcc::{APPLIED, Table, ViewError, Write, decode},
    schema::Applied,
};

/// Rows of a snapshot are brought to disk in segments of about this size.
const CHUNK_BYTES: usize = 16 << 20;
/// The number of each row that comes from a snapshot: there is one version of it only.
const TURN: u64 = 1;
const OUT_OF_ORDER: &str = "the rows are not in order";
const INSTALLING: &str = "installing";
/// Prefix of files that are being received; what a crash leaves of them is removed at the next start.
const RECEIVING: &str = "receiving-";

/// What is wrong with a snapshot.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
    #[error("snapshot {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("snapshot {path}: bad bytes at offset {offset}: {what}; take a new one")]
    Corrupt { path: PathBuf, offset: u64, what: &'static str },
    #[error("snapshot: {0}")]
    View(#[from] ViewError),
}

/// Receives frames into a file.
pub(crate) struct SnapshotWriter {
    found: SnapshotFile,
    file: BufWriter<File>,
}

/// A whole snapshot in a file, checked from end to end. The file goes with it.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    applied: Applied,
}

impl SnapshotFile {
    /// How far the state in it is.
    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        // Gone already when it was installed; else the next start removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl SnapshotWriter {
    /// A file of its own for each stream: two leaders may send at once.
    pub(crate) fn create(dir: &Path) -> Result<Self, SnapshotError> {
        static STREAM: AtomicU64 = AtomicU64::new(0);
        let path = dir.join(format!("{RECEIVING}{}", STREAM.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&path)
            .map_err(|source| SnapshotError::Io { path: path.clone(), source })?;
        let found = SnapshotFile { path, applied: Applied::default() };
        Ok(Self { found, file: BufWriter::new(file) })
    }

    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        let fail = |source| SnapshotError::Io { path: self.found.path.clone(), source };
        self.file.write_all(chunk).map_err(fail)
    }

    /// Brings the file onto the disk and checks it whole, so that whoever sends a bad one hears of it.
    pub(crate) fn finish(self) -> Result<SnapshotFile, SnapshotError> {
        let Self { mut found, file } = self;
        let fail = |source| SnapshotError::Io { path: found.path.clone(), source };
        let file = file.into_inner().map_err(|e| fail(e.into_error()))?;
        file.sync_all().map_err(fail)?;
        let mut last = None;
        read_rows(&found.path, |rows| {
            last = rows.into_iter().find(is_applied).or(last.take());
            Ok(())
        })?;
        let applied = last.and_then(|row| row.value).map(|value| decode(Table::Meta, value));
        found.applied = applied.transpose()?.unwrap_or_default();
        Ok(found)
    }
}

/// Whether the row says how far the state is.
fn is_applied(row: &Write) -> bool {
    row.table == Table::Meta && row.key == APPLIED
}

/// Replaces the engine's content by the file's.
pub(super) fn install(engine: &Engine, file: SnapshotFile) -> Result<Applied, StoreError> {
    let fail = |e: SnapshotError| StoreError::Engine {
        path: engine.dir().to_owned(),
        message: e.to_string(),
    };
    let installing = engine.dir().join(INSTALLING);
    std::fs::rename(&file.path, &installing)
        .and_then(|()| File::open(engine.dir())?.sync_all())
        .map_err(|source| fail(SnapshotError::Io { path: installing.clone(), source }))?;
    load(engine, &installing)
}

/// Finishes an installation that a crash interrupted, and removes what one left of a stream.
pub(super) fn finish_install(dir: &Path, engine: &Engine) -> Result<(), StoreError> {
    let fail = |source| StoreError::Engine { path: dir.to_owned(), message: format!("{source}") };
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_name().to_string_lossy().starts_with(RECEIVING) {
            std::fs::remove_file(entry.path()).map_err(fail)?;
        }
    }
    let installing = dir.join(INSTALLING);
    if installing.exists() {
        load(engine, &installing)?;
    }
    Ok(())
}

/// Makes a new state under `dir`, of rows that come in parts.
pub(crate) fn create<E: From<StoreError>>(
    dir: &Path,
    applied: &Applied,
    mut next: impl FnMut() -> Result<Option<Vec<Write>>, E>,
) -> Result<(), E> {
    let engine = Engine::open(dir)?;
    let mut chunk = Chunk::default();
    while let Some(rows) = next()? {
        for row in rows {
            if !is_applied(&row) && !chunk.add(row) {
                let (path, message) = (dir.to_owned(), OUT_OF_ORDER.to_owned());
                return Err(StoreError::Engine { path, message }.into());
            }
        }
        chunk.write_if_large(&engine)?;
    }
    chunk.write(&engine)?;
    Ok(finish(&engine, applied.encode_to_vec().into())?)
}

/// How far it is goes in last: until then the state is not valid.
fn finish(engine: &Engine, applied: Bytes) -> Result<(), StoreError> {
    engine.write(std::iter::once((row_key(Table::Meta, APPLIED), TURN, Some(applied))))
}

/// Rows for one segment.
#[derive(Default)]
struct Chunk {
    rows: Vec<(Bytes, u64, Option<Bytes>)>,
    /// The last row of all.
    last: Bytes,
    bytes: usize,
}

impl Chunk {
    /// False: the row does not follow the last.
    fn add(&mut self, row: Write) -> bool {
        let key = row_key(row.table, &row.key);
        let follows = key > self.last;
        self.bytes += key.len() + row.value.as_ref().map_or(0, Bytes::len);
        self.last = key.clone();
        self.rows.push((key, TURN, row.value));
        follows
    }

    fn write_if_large(&mut self, engine: &Engine) -> Result<(), StoreError> {
        if self.bytes >= CHUNK_BYTES { self.write(engine) } else { Ok(()) }
    }

    fn write(&mut self, engine: &Engine) -> Result<(), StoreError> {
        self.bytes = 0;
        engine.write(self.rows.drain(..))
    }
}

fn load(engine: &Engine, path: &Path) -> Result<Applied, StoreError> {
    let fail = |e: SnapshotError| StoreError::Engine {
        path: engine.dir().to_owned(),
        message: e.to_string(),
    };
    engine.clear()?;
    let mut chunk = Chunk::default();
    let mut applied = None;
    let mut failed = None;
    read_rows(path, |rows| {
        for row in rows {
            if is_applied(&row) {
                applied = row.value;
            } else if !chunk.add(row) {
                return Err(OUT_OF_ORDER);
            }
        }
        failed = chunk.write_if_large(engine).err();
        if failed.is_some() { Err("the state cannot be written") } else { Ok(()) }
    })
    .map_err(|e| failed.take().unwrap_or_else(|| fail(e)))?;
    chunk.write(engine)?;
    finish(engine, applied.unwrap_or_default())?;
    std::fs::remove_file(path)
        .map_err(|source| fail(SnapshotError::Io { path: path.to_owned(), source }))?;
    engine.applied()
}

/// Reads a snapshot file frame by frame, checking each.
fn read_rows(
    path: &Path,
    mut take: impl FnMut(Vec<Write>) -> Result<(), &'static str>,
) -> Result<(), SnapshotError> {
    let io = |source| SnapshotError::Io { path: path.to_owned(), source };
    let corrupt = |offset, what| SnapshotError::Corrupt { path: path.to_owned(), offset, what };
    let bad = |error| match error {
        FrameError::Io(source) => io(source),
        FrameError::Corrupt { offset, what } => corrupt(offset, what),
    };
    let mut frames = FrameReader::new(BufReader::new(File::open(path).map_err(io)?), 0);
    while let Some(rows) = frames.next_rows().map_err(bad)? {
        take(rows).map_err(|what| corrupt(frames.offset(), what))?;
    }
    let end = frames.offset();
    match frames.into_inner().read(&mut [0]).map_err(io)? {
        0 => Ok(()),
        _ => Err(corrupt(end, "there is more behind its end")),
    }
}
