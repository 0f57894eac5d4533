//! Where the two may differ: `docs/etcd-differences.md`, which has a heading for each name here.

use watchkeep_api::etcdserverpb::{TxnRequest, request_op::Request};

use crate::{
    op::{Answer, Op},
    user_op::{Said, UserOp},
};

/// Seconds by which what is left of a lease may differ: the two were asked one after the other.
pub(crate) const LEFT_SECONDS: i64 = 2;

/// "The first fault of a transaction": those that 3.4 finds in another order than 3.7.
pub(crate) const TRANSACTION_FAULTS: [&str; 4] = [
    "etcdserver: requested lease not found",
    "etcdserver: key not found",
    "etcdserver: mvcc: required revision has been compacted",
    "etcdserver: mvcc: required revision is a future revision",
];

/// Whether two answers that are not equal differ as they are meant to.
pub(crate) fn difference(op: &Op, ours: &Answer, theirs: &Answer) -> bool {
    match (op, ours, theirs) {
        (_, Answer::TimeToLive(ours), Answer::TimeToLive(theirs)) => {
            // Measured, not decided.
            let mut theirs = theirs.clone();
            if ours.ttl.abs_diff(theirs.ttl) <= LEFT_SECONDS.unsigned_abs() {
                theirs.ttl = ours.ttl;
            }
            *ours == theirs
        }
        (Op::Txn(_), Answer::Error { .. }, Answer::Error { .. }) => {
            order_of_checks(ours) && order_of_checks(theirs)
        }
        _ => false,
    }
}

/// "The first fault of a transaction".
fn order_of_checks(answer: &Answer) -> bool {
    matches!(answer, Answer::Error { message, .. } if TRANSACTION_FAULTS.contains(&message.as_str()))
}

/// Whether two answers to a request by a user that are not equal differ as they are meant to.
pub(crate) fn of_users(op: &UserOp, ours: &Said, theirs: &Said) -> bool {
    let refused = |said: &Said, why: &[&str]| {
        said.as_ref().is_err_and(|said| why.iter().any(|why| said.ends_with(why)))
    };
    let (denied, nobody) = ("permission denied", "user name is empty");
    let by_user = [denied, nobody, "invalid auth token"];
    let told = |said: &Said, what: &str| said.as_ref().is_ok_and(|told| told.contains(what));
    let no_keys = |key: &[u8], end: &[u8]| !end.is_empty() && end != b"\0" && key >= end;
    match op {
        // "Users and roles": a request is not looked at before its user.
        _ if refused(ours, &[nobody]) && theirs.is_err() => true,
        _ if refused(ours, &by_user) && refused(theirs, &["key is not provided"]) => true,
        // "What 3.4 lets everybody do".
        UserOp::LeaseKeys(_) | UserOp::LeaseRevoke(_) => refused(ours, &by_user) && theirs.is_ok(),
        // "A watch to the end of all keys".
        UserOp::Watch(watch) if &watch.range_end[..] == b"\0" => told(ours, denied),
        // "A range without keys".
        UserOp::Watch(r) => {
            no_keys(&r.key, &r.range_end) && told(ours, "range is empty") && told(theirs, denied)
        }
        UserOp::Range(r) if no_keys(&r.key, &r.range_end) => {
            ours.is_ok() && refused(theirs, &[denied])
        }
        UserOp::Delete(r) if no_keys(&r.key, &r.range_end) => {
            ours.is_ok() && refused(theirs, &[denied])
        }
        UserOp::Txn(txn) if has_range_without_keys(txn) => {
            ours.is_ok() && refused(theirs, &[denied])
        }
        // "The permissions of role root".
        UserOp::RoleGet("root") => ours.is_ok() && theirs.is_ok(),
        _ => false,
    }
}

fn has_range_without_keys(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestRange(r)) => !r.range_end.is_empty() && r.key >= r.range_end,
        Some(Request::RequestDeleteRange(r)) => !r.range_end.is_empty() && r.key >= r.range_end,
        _ => false,
    })
}
