//! Segment files: name, header, and making one whose every byte is on the disk before it is used, so that writing
//! to it later changes no metadata and `fdatasync` has only the data to wait for.
//!
//! ```text
//! header  magic 8 | format version 4 | crc of the other bytes 4 | salt 8 | segment 8 | size 8
//!         | sequence of the first frame 8 | checksum of the frame before it 4 | zeros 12
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    WalError,
    frame::{checksum, u32_at, u64_at},
    schema::{FORMAT_VERSION, SEGMENT_MAGIC},
};

/// Bytes of a segment's header; the first frame follows.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
/// Zeros are written and synced in steps, so that the log's own fsyncs do not queue behind a whole segment.
const PREWRITE_STEP_BYTES: usize = 1 << 20;
/// A segment in the making. One that a crash left behind is made anew.
const UNFINISHED: &str = "unfinished";
/// A purged segment, kept to be used again.
pub(super) const SPARE: &str = "spare";

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes of the file.
    pub(super) size: u64,
}

/// What a segment in use says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: u64,
    pub(super) size: u64,
    pub(super) first_sequence: u64,
    pub(super) previous: u32,
}

/// What the beginning of a segment file shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Zeros: prepared, not in use.
    Blank,
    /// A header with the right checksum, of this or of an earlier life of the file.
    Header(SegmentHeader),
    /// Of another format version.
    Version(u32),
    /// Anything else.
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self, salt: u64) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.segment.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.previous.to_le_bytes());
        let crc = checksum(salt, &bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(salt: u64, bytes: &[u8]) -> Beginning {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return match bytes.iter().all(|byte| *byte == 0) {
                true => Beginning::Blank,
                false => Beginning::Damaged,
            };
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return Beginning::Blank;
        }
        let mut unsealed = *bytes;
        unsealed[12..16].fill(0);
        let whole = checksum(salt, &unsealed) == u32_at(bytes, 12);
        match (bytes[0..8] == SEGMENT_MAGIC && whole, u32_at(bytes, 8)) {
            (false, _) => Beginning::Damaged,
            (true, FORMAT_VERSION) => Beginning::Header(SegmentHeader {
                segment: u64_at(bytes, 24),
                size: u64_at(bytes, 32),
                first_sequence: u64_at(bytes, 40),
                previous: u32_at(bytes, 48),
            }),
            (true, version) => Beginning::Version(version),
        }
    }
}

/// The file of segment `number`.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}.wal"))
}

/// The segments in the folder, by number.
pub(super) fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, WalError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).map_err(WalError::io("list", folder))? {
        let path = entry.map_err(WalError::io("list", folder))?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".wal"))
            .filter(|name| name.len() == 16)
            .and_then(|name| u64::from_str_radix(name, 16).ok());
        segments.extend(number.map(|number| (number, path)));
    }
    segments.sort();
    Ok(segments)
}

/// Makes segment `number`, all zeros, synced with its name.
pub(super) fn create(folder: &Path, number: u64, size: u64) -> Result<Segment, WalError> {
    create_with_rests(folder, number, size, |_| {})
}

/// The same; after each step of it it may `rest`, and hears how long the step took.
pub(super) fn create_with_rests(
    folder: &Path,
    number: u64,
    size: u64,
    rest: impl FnMut(Duration),
) -> Result<Segment, WalError> {
    let unfinished = folder.join(UNFINISHED);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&unfinished)
        .map_err(WalError::io("create", &unfinished))?;
    write_zeros(&file, 0, size, rest).map_err(WalError::io("write zeros to", &unfinished))?;
    rename(folder, &unfinished, number).map(|path| Segment { number, path, file, size })
}

/// Gives an unused file the name of segment `number` and syncs the folder.
pub(super) fn rename(folder: &Path, from: &Path, number: u64) -> Result<PathBuf, WalError> {
    let path = path(folder, number);
    fs::rename(from, &path).map_err(WalError::io("rename", from))?;
    sync_folder(folder)?;
    Ok(path)
}

/// Opens a segment that exists. A file that a crash left shorter than `size` is filled up.
pub(super) fn open(number: u64, path: PathBuf, size: u64) -> Result<Segment, WalError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(WalError::io("open", &path))?;
    let length = file.metadata().map_err(WalError::io("inspect", &path))?.len();
    prewrite(&file, length, size).map_err(WalError::io("write zeros to", &path))?;
    Ok(Segment { number, path, file, size: size.max(length) })
}

/// Writes zeros from `from` to `to` and syncs the file.
pub(super) fn prewrite(file: &File, from: u64, to: u64) -> io::Result<()> {
    write_zeros(file, from, to, |_| {})
}

fn write_zeros(file: &File, from: u64, to: u64, mut rest: impl FnMut(Duration)) -> io::Result<()> {
    let zeros = vec![0; PREWRITE_STEP_BYTES.min(to.saturating_sub(from) as usize)];
    let mut at = from;
    while at < to {
        let (step, began) = (zeros.len().min((to - at) as usize), Instant::now());
        file.write_all_at(&zeros[..step], at)?;
        file.sync_data()?;
        at += step as u64;
        rest(began.elapsed());
    }
    match from < to {
        true => file.sync_all(),
        false => Ok(()),
    }
}

/// Makes what was created, renamed or removed in the folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), WalError> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(WalError::io("sync the folder", folder))
}
