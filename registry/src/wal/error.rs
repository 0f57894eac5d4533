//! What can go wrong with the log, each with the file, the place in it and what to do.

use std::{io, path::Path, path::PathBuf};

/// Why the log does not open, or does not work any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalError {
    /// The operating system refused.
    #[error("Raft log: cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Bytes that were acknowledged are not there, or are not what was written.
    #[error(
        "Raft log is damaged: {} at byte {offset}: {what}. Do not run this member on it: keep a copy of the folder, \
         check the disk, then restore the folder from a backup of this member, or remove the member from the \
         cluster, empty its data folder and add it again (the other members hold the log)",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was expected there and what is.
        what: String,
    },
    /// The files were written by a newer binary.
    #[error(
        "Raft log: {} has format version {found}, this binary reads {supported}: run the binary that wrote it",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The only version that this binary knows.
        supported: u32,
    },
    /// Another process (or another node of this one) has the log open.
    #[error("Raft log: {} is in use by another process: stop it, or give this node a data_dir of its own", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// An option is out of bounds.
    #[error("Raft log: {0}")]
    Options(String),
}

impl WalError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalError {
        move |source| WalError::Io { action, path: path.to_owned(), source }
    }

    pub(super) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> WalError {
        WalError::Corrupt { path: path.to_owned(), offset, what: what.into() }
    }
}

impl From<WalError> for io::Error {
    fn from(error: WalError) -> io::Error {
        let kind = match &error {
            WalError::Io { source, .. } => source.kind(),
            WalError::Corrupt { .. } | WalError::Version { .. } => io::ErrorKind::InvalidData,
            WalError::Locked { .. } => io::ErrorKind::ResourceBusy,
            WalError::Options(_) => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
