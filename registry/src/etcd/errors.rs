//! Errors with etcd's codes and texts, since clients match on them (etcd: `api/v3rpc/rpctypes/error.go`).

use tonic::{Code, Status};

use super::limits::{KEY_BYTES_MAX, NESTING_MAX};
use crate::{cluster::ClusterError, members, mvcc::Refusal};

/// A request that is wrong in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRequest {
    EmptyKey,
    KeyTooLong,
    /// Transactions in transactions in transactions.
    TooDeep,
    /// An operation of a transaction that is none.
    NoRequest,
    ValueProvided,
    LeaseProvided,
    TooManyOps,
    DuplicateKey,
    TooLarge,
    InvalidSortOption,
    LeaseTtlTooLarge,
}

impl From<BadRequest> for Status {
    fn from(bad: BadRequest) -> Self {
        let text = match bad {
            BadRequest::EmptyKey => "etcdserver: key is not provided",
            // etcd's own choice of words.
            BadRequest::NoRequest => "etcdserver: key not found",
            BadRequest::ValueProvided => "etcdserver: value is provided",
            BadRequest::LeaseProvided => "etcdserver: lease is provided",
            BadRequest::TooManyOps => "etcdserver: too many operations in txn request",
            BadRequest::DuplicateKey => "etcdserver: duplicate key given in txn request",
            BadRequest::TooLarge => "etcdserver: request is too large",
            BadRequest::InvalidSortOption => "etcdserver: invalid sort option",
            BadRequest::KeyTooLong => {
                let text = format!("watchkeep: a key is longer than {KEY_BYTES_MAX} bytes");
                return Self::invalid_argument(text);
            }
            BadRequest::TooDeep => {
                let text = format!("watchkeep: transactions are nested deeper than {NESTING_MAX}");
                return Self::invalid_argument(text);
            }
            BadRequest::LeaseTtlTooLarge => {
                return Self::out_of_range("etcdserver: too large lease TTL");
            }
        };
        Self::invalid_argument(text)
    }
}

/// A refusal by the state machine.
pub(super) fn refused(refusal: Refusal) -> Status {
    let (code, text) = match refusal {
        Refusal::Compacted => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
        }
        Refusal::FutureRevision => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        Refusal::FormerTerm => (Code::Unavailable, "etcdserver: leader changed"),
        Refusal::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
        Refusal::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
        Refusal::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
        Refusal::NoSpace => (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        Refusal::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
    };
    Status::new(code, text)
}

impl From<members::Refusal> for Status {
    fn from(refusal: members::Refusal) -> Self {
        let code = match refusal {
            members::Refusal::NotFound => Code::NotFound,
            members::Refusal::Unhealthy => Code::Unavailable,
            _ => Code::FailedPrecondition,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<ClusterError> for Status {
    fn from(error: ClusterError) -> Self {
        let code = match &error {
            // Members take this code for "safe to try elsewhere".
            ClusterError::NotLeader => Code::FailedPrecondition,
            ClusterError::NoLeader
            | ClusterError::LeaderChanged
            | ClusterError::Timeout
            | ClusterError::Replaced
            | ClusterError::Stopped => Code::Unavailable,
            ClusterError::TooManyRequests => Code::ResourceExhausted,
            ClusterError::Corrupt | ClusterError::View(_) => Code::DataLoss,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests;
