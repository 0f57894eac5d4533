//! Errors with etcd's codes and texts, since clients match on them (etcd: `api/v3rpc/rpctypes/error.go`).

use tonic::{Code, Status};

use super::limits::{KEY_BYTES_MAX, NESTING_MAX};
use crate::{
    auth::Denied,
    cluster::{ClusterError, NotMoved},
    members,
    mvcc::{Refusal, ViewError},
};

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
        Refusal::RootUserMissing => {
            (Code::FailedPrecondition, "etcdserver: root user does not exist")
        }
        Refusal::RootRoleMissing => {
            (Code::FailedPrecondition, "etcdserver: root user does not have root role")
        }
        Refusal::UserExists => (Code::FailedPrecondition, "etcdserver: user name already exists"),
        Refusal::UserEmpty => (Code::InvalidArgument, "etcdserver: user name is empty"),
        Refusal::UserNotFound => (Code::FailedPrecondition, "etcdserver: user name not found"),
        Refusal::RoleExists => (Code::FailedPrecondition, "etcdserver: role name already exists"),
        Refusal::RoleNotFound => (Code::FailedPrecondition, "etcdserver: role name not found"),
        Refusal::RoleEmpty => (Code::InvalidArgument, "etcdserver: role name is empty"),
        Refusal::AuthFailed => (
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
        ),
        Refusal::PermissionDenied => (Code::PermissionDenied, "etcdserver: permission denied"),
        Refusal::RoleNotGranted => {
            (Code::FailedPrecondition, "etcdserver: role is not granted to the user")
        }
        Refusal::PermissionNotGranted => {
            (Code::FailedPrecondition, "etcdserver: permission is not granted to the role")
        }
        Refusal::AuthNotEnabled => {
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled")
        }
        Refusal::InvalidAuthManagement => {
            (Code::InvalidArgument, "etcdserver: invalid auth management")
        }
        Refusal::AuthOldRevision => {
            (Code::InvalidArgument, "etcdserver: revision of auth store is old")
        }
        Refusal::PermissionNotGiven => (Code::InvalidArgument, "etcdserver: permission not given"),
        Refusal::ReservedKeys => (
            Code::InvalidArgument,
            "watchkeep: among the keys under /watchkeep/ a role can be given registrations to write, below \
             /watchkeep/services/ or /watchkeep/instances/; for the others grant the user the role watchkeep",
        ),
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

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Refused(refusal) => refused(refusal),
            Denied::InvalidToken => Self::unauthenticated("etcdserver: invalid auth token"),
            Denied::Replaced => ClusterError::Replaced.into(),
        }
    }
}

impl From<ViewError> for Status {
    fn from(error: ViewError) -> Self {
        ClusterError::from(error).into()
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
            ClusterError::Denied(denied) => return (*denied).into(),
        };
        Self::new(code, error.to_string())
    }
}

impl From<NotMoved> for Status {
    fn from(error: NotMoved) -> Self {
        let code = match error {
            NotMoved::NotLeader | NotMoved::BadTransferee => Code::FailedPrecondition,
            // etcd has no code of its own for it.
            NotMoved::TookTooLong => Code::Unknown,
            NotMoved::Cluster(error) => return error.into(),
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests;
