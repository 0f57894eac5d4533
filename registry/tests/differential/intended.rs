//! Where the two may differ: `docs/etcd-differences.md`, which has a heading for each name here.

use crate::op::{Answer, Op};

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
