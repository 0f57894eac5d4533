//! What can go wrong in the store.

use thiserror::Error;

use crate::{Appended, Labels};

/// Why an operation failed.
#[derive(Debug, Error)]
pub enum SeriesError {
    /// The directory cannot be opened.
    #[error(
        "series store at {path}: cannot be opened: {message}; another process may have it open, or it \
         is damaged: move it away to start with an empty one"
    )]
    Open {
        /// The directory.
        path: String,
        /// What fjall says.
        message: String,
    },
    /// The directory was written by another version.
    #[error(
        "series store at {path}: it has format {found}, this version reads {}: start once with the version that \
         wrote it, or move the directory away to start with an empty store",
        crate::schema::FORMAT
    )]
    Format {
        /// The directory.
        path: String,
        /// Its format.
        found: u8,
    },
    /// The disk does not do what it should. Afterwards nothing is persisted until the store is reopened.
    #[error("series store: {what}: {message}")]
    Storage {
        /// What was tried.
        what: &'static str,
        /// What fjall says.
        message: String,
    },
    /// A row does not decode.
    #[error("series store: {row}: {message}; the file is damaged or of a newer version")]
    Corrupt {
        /// Which row.
        row: String,
        /// What is wrong with it.
        message: &'static str,
    },
    /// A new series would be one too many. Samples of known series in the same batch were appended.
    #[error(
        "series {offender} is one more than series_max = {series_max}: {culprits}; raise the limit or have \
         that label dropped"
    )]
    SeriesMax {
        /// The first series that was refused.
        offender: Labels,
        /// Which metric has most series and which label most values.
        culprits: String,
        /// The limit.
        series_max: usize,
        /// What became of the batch.
        appended: Appended,
    },
    /// A new series would be one too many for the memory that the store may take. Samples of known series in the same
    /// batch were appended.
    #[error(
        "series {offender} is one too many for memory_bytes_max = {bytes_max}: {culprits}; raise the limit or have \
         that label dropped"
    )]
    MemoryMax {
        /// The first series that was refused.
        offender: Labels,
        /// Which metric has most series and which label most values.
        culprits: String,
        /// The limit.
        bytes_max: usize,
        /// What became of the batch.
        appended: Appended,
    },
    /// Samples wait for a flush that does not happen or keeps failing.
    #[error("{0} samples wait to be persisted: the disk is full, broken or too slow")]
    Backlog(usize),
    /// The reader of a query asked to stop; it knows why.
    #[error("the reader stopped")]
    Stopped,
    /// A query reads too much.
    #[error("the query reads more than {0} samples: shorten its range or select fewer series")]
    SamplesMax(usize),
    /// A regular expression is wrong.
    #[error("label {label:?}: {message}")]
    Regex {
        /// The matcher's label.
        label: String,
        /// What the compiler says.
        message: String,
    },
}
