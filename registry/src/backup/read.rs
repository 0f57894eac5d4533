//! Reads a backup from any reader, checking every byte: a bad one is refused with the place.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::{BLOCK_BYTES, BackupError, head::Head, write::padding};
use crate::{
    mvcc::{APPLIED, Table, Write, decode},
    schema::Applied,
    store::{FrameError, FrameReader},
};

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The store's revision.
    pub revision: i64,
    /// Revisions up to here are compacted.
    pub compact_revision: i64,
    /// Keys that exist.
    pub keys: u64,
    /// Leases.
    pub leases: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of everything before it, as hexadecimal: the last 32 bytes of the file.
    pub sha256: String,
    /// Where it was taken.
    pub cluster_id: u64,
    /// By which member.
    pub member_id: u64,
    /// When, in milliseconds since 1970.
    pub taken_ms: i64,
}

/// Counts and hashes what is read through it.
struct Hashed<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// A backup being read.
pub(super) struct Reader<'n, R> {
    file: &'n str,
    head: Head,
    frames: FrameReader<Hashed<R>>,
    applied: Option<Applied>,
    keys: u64,
    leases: u64,
    rows: u64,
}

impl<'n, R: Read> Reader<'n, R> {
    /// `file` is its name in errors.
    pub(super) fn open(file: &'n str, input: R) -> Result<Self, BackupError> {
        let mut input = Hashed { input, hash: Sha256::new() };
        let mut block = [0; BLOCK_BYTES];
        fill(file, &mut input, &mut block, 0)?;
        let head = Head::decode(&block).map_err(|(offset, what)| corrupt(file, offset, what))?;
        let frames = FrameReader::new(input, BLOCK_BYTES as u64);
        Ok(Self { file, head, frames, applied: None, keys: 0, leases: 0, rows: 0 })
    }

    /// The next rows; none behind the last.
    pub(super) fn next_rows(&mut self) -> Result<Option<Vec<Write>>, BackupError> {
        let offset = self.frames.offset();
        let rows = self.frames.next_rows().map_err(|error| match error {
            FrameError::Io(source) => BackupError::Read { file: self.file.to_owned(), source },
            FrameError::Corrupt { offset, what } => corrupt(self.file, offset, what),
        })?;
        for row in rows.iter().flatten() {
            self.rows += 1;
            self.keys += u64::from(row.table == Table::Latest);
            self.leases += u64::from(row.table == Table::Leases);
            if (row.table, &row.key[..]) == (Table::Meta, APPLIED) {
                let record = decode(Table::Meta, row.value.clone().unwrap_or_default());
                let record = record
                    .map_err(|_| corrupt(self.file, offset, "its revision cannot be read"))?;
                self.applied = Some(record);
            }
        }
        Ok(rows)
    }

    /// Reads what is left and the end.
    pub(super) fn finish(mut self) -> Result<(Summary, Applied), BackupError> {
        while self.next_rows()?.is_some() {}
        let (file, mut offset) = (self.file, self.frames.offset());
        let mut input = self.frames.into_inner();
        let mut zeros = vec![0; padding(offset)];
        fill(file, &mut input, &mut zeros, offset)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(corrupt(file, offset, "the padding is not zero"));
        }
        offset += zeros.len() as u64;
        let expected = input.hash.clone().finalize();
        let mut checksum = [0; 32];
        fill(file, &mut input, &mut checksum, offset)?;
        if checksum[..] != expected[..] {
            return Err(corrupt(file, offset, "the checksum of the whole does not fit"));
        }
        offset += checksum.len() as u64;
        let more = input.read(&mut [0]);
        match more.map_err(|source| BackupError::Read { file: file.to_owned(), source })? {
            0 => {}
            _ => return Err(corrupt(file, offset, "there is more behind its end")),
        }
        let applied = self.applied.unwrap_or_default();
        let says = (applied.revision, applied.compact_revision);
        if says != (self.head.revision, self.head.compact_revision) {
            return Err(corrupt(file, BLOCK_BYTES as u64, "its content is not what its head says"));
        }
        let summary = Summary {
            revision: self.head.revision,
            compact_revision: self.head.compact_revision,
            keys: self.keys,
            leases: self.leases,
            rows: self.rows,
            bytes: offset,
            sha256: checksum.iter().map(|byte| format!("{byte:02x}")).collect(),
            cluster_id: self.head.cluster,
            member_id: self.head.member,
            taken_ms: self.head.taken_ms,
        };
        Ok((summary, applied))
    }
}

/// Checks a backup from end to end. `file` is its name in errors.
///
/// # Errors
/// What is wrong with it, and at which byte.
pub fn verify(file: &str, input: impl Read) -> Result<Summary, BackupError> {
    Reader::open(file, input)?.finish().map(|(summary, _)| summary)
}

fn corrupt(file: &str, offset: u64, what: &'static str) -> BackupError {
    BackupError::Corrupt { file: file.to_owned(), offset, what }
}

fn fill(
    file: &str,
    input: &mut impl Read,
    buffer: &mut [u8],
    offset: u64,
) -> Result<(), BackupError> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(corrupt(file, offset, "it ends in the middle"))
        }
        Err(source) => Err(BackupError::Read { file: file.to_owned(), source }),
    }
}
