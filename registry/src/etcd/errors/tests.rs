//! What is said in etcd's name is said in etcd's words.

use super::*;
use crate::mvcc::{Table, ViewError};

/// etcd's errors that this server can meet, as etcd defines them (`api/v3rpc/rpctypes/error.go`).
const ETCD: [(Code, &str); 44] = [
    (Code::InvalidArgument, "etcdserver: key is not provided"),
    (Code::InvalidArgument, "etcdserver: key not found"),
    (Code::InvalidArgument, "etcdserver: value is provided"),
    (Code::InvalidArgument, "etcdserver: lease is provided"),
    (Code::InvalidArgument, "etcdserver: too many operations in txn request"),
    (Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
    (Code::InvalidArgument, "etcdserver: invalid sort option"),
    (Code::InvalidArgument, "etcdserver: request is too large"),
    (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
    (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
    (Code::OutOfRange, "etcdserver: too large lease TTL"),
    (Code::NotFound, "etcdserver: requested lease not found"),
    (Code::FailedPrecondition, "etcdserver: lease already exists"),
    (Code::FailedPrecondition, "etcdserver: not leader"),
    (Code::ResourceExhausted, "etcdserver: too many requests"),
    (Code::Unavailable, "etcdserver: no leader"),
    (Code::Unavailable, "etcdserver: leader changed"),
    (Code::Unavailable, "etcdserver: server stopped"),
    (Code::Unavailable, "etcdserver: request timed out"),
    (Code::NotFound, "etcdserver: member not found"),
    (Code::FailedPrecondition, "etcdserver: Peer URLs already exists"),
    (Code::FailedPrecondition, "etcdserver: can only promote a learner member"),
    (
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
    ),
    (Code::FailedPrecondition, "etcdserver: too many learner members in cluster"),
    (
        Code::FailedPrecondition,
        "etcdserver: re-configuration failed due to not enough started members",
    ),
    (Code::Unavailable, "etcdserver: unhealthy cluster"),
    (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
    (Code::DataLoss, "etcdserver: corrupt cluster"),
    (Code::FailedPrecondition, "etcdserver: root user does not exist"),
    (Code::FailedPrecondition, "etcdserver: root user does not have root role"),
    (Code::FailedPrecondition, "etcdserver: user name already exists"),
    (Code::InvalidArgument, "etcdserver: user name is empty"),
    (Code::FailedPrecondition, "etcdserver: user name not found"),
    (Code::FailedPrecondition, "etcdserver: role name already exists"),
    (Code::FailedPrecondition, "etcdserver: role name not found"),
    (Code::InvalidArgument, "etcdserver: role name is empty"),
    (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
    (Code::PermissionDenied, "etcdserver: permission denied"),
    (Code::FailedPrecondition, "etcdserver: role is not granted to the user"),
    (Code::FailedPrecondition, "etcdserver: permission is not granted to the role"),
    (Code::FailedPrecondition, "etcdserver: authentication is not enabled"),
    (Code::InvalidArgument, "etcdserver: invalid auth management"),
    (Code::InvalidArgument, "etcdserver: revision of auth store is old"),
    (Code::InvalidArgument, "etcdserver: permission not given"),
];

/// No refusal has a higher number.
const NUMBER_MAX: u32 = 1_000;

fn all() -> Vec<Status> {
    let bad = [
        BadRequest::EmptyKey,
        BadRequest::KeyTooLong,
        BadRequest::TooDeep,
        BadRequest::NoRequest,
        BadRequest::ValueProvided,
        BadRequest::LeaseProvided,
        BadRequest::TooManyOps,
        BadRequest::DuplicateKey,
        BadRequest::TooLarge,
        BadRequest::InvalidSortOption,
        BadRequest::LeaseTtlTooLarge,
    ];
    // Their numbers have gaps.
    let refusals = (1..=NUMBER_MAX).filter_map(Refusal::from_number).map(refused);
    let cluster = [
        ClusterError::NotLeader,
        ClusterError::NoLeader,
        ClusterError::LeaderChanged,
        ClusterError::Timeout,
        ClusterError::TooManyRequests,
        ClusterError::Stopped,
        ClusterError::Replaced,
        ClusterError::View(ViewError::new(Table::Latest, "bad bytes")),
    ];
    let members = (1..=NUMBER_MAX).filter_map(members::Refusal::from_number).map(Status::from);
    let refusals = refusals.chain(members);
    bad.into_iter().map(Status::from).chain(refusals).chain(cluster.map(Status::from)).collect()
}

#[test]
fn clients_that_match_on_etcds_errors_find_them() {
    let said: Vec<(Code, String)> =
        all().iter().map(|status| (status.code(), status.message().to_owned())).collect();
    for (code, text) in ETCD {
        assert!(said.contains(&(code, text.to_owned())), "{code:?} {text}");
    }
    // What etcd has no word for is ours, and says so.
    for (code, text) in said {
        let is_etcds = ETCD.contains(&(code, &text[..]));
        assert_eq!(text.starts_with("etcdserver: "), is_etcds, "{code:?} {text}");
    }
}
