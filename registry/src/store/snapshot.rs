//! A snapshot as it travels: rows in frames, each with its length and checksum, and a trailer that counts them.
//!
//! ```text
//! frame     length u32 | crc32c u32 | rows…        row   table u8 | key length u32 | key | value length u32 | value
//! trailer   length 0   | crc32c of  | rows u64     (12 more bytes: 8 for the count)
//! ```
//!
//! A received snapshot is first written whole to a file and checked. Installing renames it to `installing`; whoever opens
//! the store and finds that name installs it again from the start.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::{Engine, StoreError, StoreView};
use crate::{
    mvcc::{APPLIED, Table, View, ViewError, Write, decode},
    schema::Applied,
};

/// Rows are put into one frame until it has this size.
const FRAME_BYTES: usize = 256 << 10;
/// No frame is longer: one row (the largest request) and its neighbours.
const FRAME_BYTES_MAX: usize = 64 << 20;
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

/// Turns a view into frames.
pub(crate) struct SnapshotReader {
    view: StoreView,
    /// The table being read and the key to go on behind.
    at: Option<(usize, Bytes)>,
    rows: u64,
    done: bool,
}

impl SnapshotReader {
    pub(crate) fn new(view: StoreView) -> Self {
        Self { view, at: Some((0, Bytes::new())), rows: 0, done: false }
    }

    /// The next frame; none behind the trailer.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, ViewError> {
        if self.done {
            return Ok(None);
        }
        let mut body = BytesMut::new();
        while let Some((table, from)) = self.at.take() {
            let name = Table::ALL[table];
            self.at = (table + 1 < Table::ALL.len()).then(|| (table + 1, Bytes::new()));
            for row in self.view.scan(name, &from, None) {
                let (key, value) = row?;
                if body.len() >= FRAME_BYTES {
                    self.at = Some((table, key));
                    break;
                }
                self.rows += 1;
                put_row(&mut body, name, &key, &value);
            }
            if body.len() >= FRAME_BYTES {
                return Ok(Some(frame(&body)));
            }
        }
        if !body.is_empty() {
            return Ok(Some(frame(&body)));
        }
        self.done = true;
        let count = self.rows.to_be_bytes();
        let mut out = BytesMut::with_capacity(16);
        out.put_u32(0);
        out.put_u32(crc32c::crc32c(&count));
        out.put_slice(&count);
        Ok(Some(out.freeze()))
    }
}

fn put_row(out: &mut BytesMut, table: Table, key: &[u8], value: &[u8]) {
    out.put_u8(table as u8);
    for part in [key, value] {
        out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        out.put_slice(part);
    }
}

fn frame(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + body.len());
    out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put_u32(crc32c::crc32c(body));
    out.put_slice(body);
    out.freeze()
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

fn load(engine: &Engine, path: &Path) -> Result<Applied, StoreError> {
    let fail = |e: SnapshotError| StoreError::Engine {
        path: engine.dir().to_owned(),
        message: e.to_string(),
    };
    engine.clear()?;
    let mut applied_row = None;
    let mut failed = None;
    read_rows(path, |rows| {
        // How far it is goes in last: until then the state is not valid.
        let (last, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_applied);
        applied_row = last.into_iter().next().or(applied_row.take());
        failed = engine.write(rows.iter(), None).err();
        if failed.is_some() { Err("the state cannot be written") } else { Ok(()) }
    })
    .map_err(|e| failed.take().unwrap_or_else(|| fail(e)))?;
    engine.write(applied_row.iter(), None)?;
    engine.sync()?;
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
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let (mut offset, mut rows) = (0u64, 0u64);
    loop {
        let corrupt = |what| SnapshotError::Corrupt { path: path.to_owned(), offset, what };
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(|_| corrupt("it ends in the middle"))?;
        let mut head = &head[..];
        let (length, checksum) = (head.get_u32() as usize, head.get_u32());
        let trailer = length == 0;
        if length > FRAME_BYTES_MAX {
            return Err(corrupt("a frame is longer than any can be"));
        }
        let mut body = vec![0; if trailer { 8 } else { length }];
        file.read_exact(&mut body).map_err(|_| corrupt("it ends in the middle"))?;
        if crc32c::crc32c(&body) != checksum {
            return Err(corrupt("a checksum does not fit"));
        }
        if trailer {
            let counted = (&body[..]).get_u64();
            let end = file.read(&mut [0]).map_err(io)?;
            return match (counted == rows, end) {
                (true, 0) => Ok(()),
                (false, _) => Err(corrupt("rows are missing")),
                (true, _) => Err(corrupt("there is more behind its end")),
            };
        }
        let parsed = parse_rows(body.into()).ok_or_else(|| corrupt("a row is malformed"))?;
        rows += parsed.len() as u64;
        take(parsed).map_err(corrupt)?;
        offset += 8 + length as u64;
    }
}

fn parse_rows(mut body: Bytes) -> Option<Vec<Write>> {
    let mut rows = Vec::new();
    while body.has_remaining() {
        let table = Table::from_number(body.get_u8())?;
        let mut part = || {
            let length = body.try_get_u32().ok()? as usize;
            (body.remaining() >= length).then(|| body.split_to(length))
        };
        let (key, value) = (part()?, part()?);
        rows.push(Write { table, key, value: Some(value) });
    }
    Some(rows)
}
