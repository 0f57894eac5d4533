//! The tail file: the log's salt, and how far the log is known to be durable.
//!
//! ```text
//! header  magic 8 | format version 4 | crc of the other bytes 4 | salt 8 | zeros 8
//! slot    crc of the rest 4 | checksum of the frame's header 4 | sequence 8 | segment 8 | end of the frame 8
//! ```
//!
//! The two slots lie in sectors of their own at bytes 512 and 1024 and are written in turn, after the frame's
//! `fdatasync` and before anybody is told, so a slot never claims what is not on the disk. The slot itself is not
//! synced on that path: it may be older than the log (then it proves less), never newer.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    WalError,
    frame::{checksum, u32_at, u64_at},
    schema::{FORMAT_VERSION, TAIL_MAGIC},
    segment::sync_folder,
};

const NAME: &str = "tail";
const UNFINISHED: &str = "tail.unfinished";
const HEADER_BYTES: usize = 32;
const SLOT_BYTES: usize = 32;
const SLOTS: [usize; 2] = [512, 1024];
const FILE_BYTES: usize = 1536;

/// The last frame that is known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sequence: u64,
    pub(super) segment: u64,
    /// Offset of the first byte after it.
    pub(super) end: u64,
    /// Checksum of its header.
    pub(super) crc: u32,
}

/// What the file said when it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) salt: u64,
    /// `None`: no frame was ever acknowledged.
    pub(super) mark: Option<Mark>,
}

/// The file, open for marking.
#[derive(Debug)]
pub(super) struct TailFile {
    salt: u64,
    file: File,
    path: PathBuf,
}

impl Mark {
    pub(super) fn encode(&self, salt: u64) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.end.to_le_bytes());
        let crc = checksum(salt, &bytes[4..]);
        bytes[0..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(salt: u64, bytes: &[u8]) -> Option<Mark> {
        (checksum(salt, &bytes[4..SLOT_BYTES]) == u32_at(bytes, 0)).then(|| Mark {
            crc: u32_at(bytes, 4),
            sequence: u64_at(bytes, 8),
            segment: u64_at(bytes, 16),
            end: u64_at(bytes, 24),
        })
    }
}

/// The bytes of a new file.
pub(super) fn header(salt: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(&TAIL_MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&salt.to_le_bytes());
    let crc = checksum(salt, &bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Makes the tail file of a new log, synced with its name.
pub(super) fn create(folder: &Path, salt: u64) -> Result<(), WalError> {
    let mut bytes = [0; FILE_BYTES];
    bytes[..HEADER_BYTES].copy_from_slice(&header(salt));
    let unfinished = folder.join(UNFINISHED);
    fs::write(&unfinished, bytes).map_err(WalError::io("write", &unfinished))?;
    File::open(&unfinished)
        .and_then(|file| file.sync_all())
        .map_err(WalError::io("sync", &unfinished))?;
    fs::rename(&unfinished, folder.join(NAME)).map_err(WalError::io("rename", &unfinished))?;
    sync_folder(folder)
}

/// Reads the file; `None` when there is none.
///
/// # Errors
/// A header that is damaged or of another version, and slots that are both damaged. One damaged slot is what a
/// power failure may leave; the other one holds then.
pub(super) fn read(folder: &Path) -> Result<Option<Tail>, WalError> {
    let path = folder.join(NAME);
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    match File::open(&path).and_then(|file| file.take(FILE_BYTES as u64).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(WalError::io("read", &path))?,
    };
    if bytes.len() < FILE_BYTES {
        return Err(WalError::corrupt(&path, bytes.len() as u64, "the tail file is cut short"));
    }
    let salt = u64_at(&bytes, 16);
    if bytes[..HEADER_BYTES] != header(salt) {
        let version = u32_at(&bytes, 8);
        let mut other = header(salt);
        other[8..12].copy_from_slice(&bytes[8..12]);
        other[12..16].fill(0);
        let other_version = bytes[..8] == TAIL_MAGIC
            && version != FORMAT_VERSION
            && checksum(salt, &other) == u32_at(&bytes, 12);
        return Err(match other_version {
            true => WalError::Version { path, found: version, supported: FORMAT_VERSION },
            false => WalError::corrupt(&path, 0, "the tail file's header is not what was written"),
        });
    }
    let slots = SLOTS.map(|at| (at, &bytes[at..at + SLOT_BYTES]));
    let marks = slots.map(|(_, slot)| Mark::decode(salt, slot));
    let damaged = |(i, (_, slot)): (usize, &(usize, &[u8]))| {
        marks[i].is_none() && slot.iter().any(|b| *b != 0)
    };
    if slots.iter().enumerate().all(damaged) {
        return Err(WalError::corrupt(&path, SLOTS[0] as u64, "both slots are damaged"));
    }
    let mark = marks.into_iter().flatten().max_by_key(|mark| mark.sequence);
    Ok(Some(Tail { salt, mark }))
}

impl TailFile {
    pub(super) fn open(folder: &Path, salt: u64) -> Result<TailFile, WalError> {
        let path = folder.join(NAME);
        let file =
            OpenOptions::new().write(true).open(&path).map_err(WalError::io("open", &path))?;
        Ok(TailFile { salt, file, path })
    }

    /// Notes that a frame is durable. Not synced.
    pub(super) fn mark(&self, mark: &Mark) -> Result<(), WalError> {
        let at = SLOTS[(mark.sequence % 2) as usize];
        self.file
            .write_all_at(&mark.encode(self.salt), at as u64)
            .map_err(WalError::io("write", &self.path))
    }

    pub(super) fn sync(&self) -> Result<(), WalError> {
        self.file.sync_data().map_err(WalError::io("sync", &self.path))
    }
}
