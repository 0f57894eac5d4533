//! Backups: the whole state in a file of our own format, taken online, checked from end to end, restored offline.
//!
//! ```text
//! head      512 bytes: magic 8 | format u32 | crc32c u32 of what follows | cluster u64 | member u64 | revision i64 |
//!           compact revision i64 | log index u64 | log term u64 | taken at i64 (ms since 1970) | zeros
//! frames    as between members (`store/frames.rs`), trailer included
//! padding   zeros up to a multiple of 512
//! sha256    32 bytes, of everything before
//! ```
//!
//! Numbers are big-endian. The length modulo 512 is 32, by which etcd's clients know that there is a checksum.

use std::path::PathBuf;

use thiserror::Error;

use crate::store::StoreError;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod read;
mod restore;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Summary, verify};
pub use restore::{RestoreOptions, Restored, restore};
pub(crate) use write::{BackupWriter, Origin};

/// Everything is written in blocks of this size, but for the checksum.
const BLOCK_BYTES: usize = 512;

/// Why a backup cannot be used, or not be restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file cannot be read.
    #[error("backup {file}: {source}")]
    Read {
        /// Its name.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a whole backup.
    #[error("backup {file}: bad bytes at offset {offset}: {what}; use another backup")]
    Corrupt {
        /// Its name.
        file: String,
        /// Where it is wrong, in bytes from the beginning.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// There is data already.
    #[error("{path} is there already: restore into a new directory, or move that one away first")]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// The request contradicts itself.
    #[error("{0}")]
    Request(String),
    /// The new directory cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state or the log cannot be made.
    #[error("{0}")]
    State(String),
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::State(error.to_string())
    }
}
