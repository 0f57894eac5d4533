//! Why the state machine refuses a command. The same on every node, so it is part of the answer.

use thiserror::Error;

/// A refusal; its number goes over the wire between members: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[repr(u32)]
pub(crate) enum Refusal {
    /// The revision is compacted.
    #[error("mvcc: required revision has been compacted")]
    Compacted = 1,
    /// The revision is in the future.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision = 2,
    /// There is no such lease.
    #[error("requested lease not found")]
    LeaseNotFound = 3,
    /// There is such a lease already.
    #[error("lease already exists")]
    LeaseExists = 4,
    /// `ignore_value` or `ignore_lease` of a key that does not exist.
    #[error("key not found")]
    KeyNotFound = 5,
    /// A lease that a former leader saw run out.
    #[error("lease was judged by a former leader")]
    FormerTerm = 6,
    /// A member has raised [`super::NO_SPACE`].
    #[error("mvcc: database space exceeded")]
    NoSpace = 60,
    /// [`super::CORRUPT`] is raised.
    #[error("corrupt cluster")]
    Corrupt = 61,
}

impl Refusal {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [
            Self::Compacted,
            Self::FutureRevision,
            Self::LeaseNotFound,
            Self::LeaseExists,
            Self::KeyNotFound,
            Self::FormerTerm,
            Self::NoSpace,
            Self::Corrupt,
        ]
        .into_iter()
        .find(|refusal| *refusal as u32 == number)
    }
}
