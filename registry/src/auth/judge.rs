//! Whether a user may do what a command says: pure. As etcd (`apply_auth.go`), where every read and write of a
//! transaction counts, in both branches and at any depth.

use super::grants::Grants;
use crate::{
    mvcc::{self, Refusal, View, ViewError},
    schema::{Body, Op, OpKind, Put, Range, Txn},
};

type Verdict = Result<Result<(), Refusal>, ViewError>;

const ALLOWED: Verdict = Ok(Ok(()));
const DENIED: Verdict = Ok(Err(Refusal::PermissionDenied));

fn check(allowed: bool) -> Verdict {
    if allowed { ALLOWED } else { DENIED }
}

/// Whether `grants` allow a command. The tables of users judge changes of themselves.
pub(super) fn judge(grants: &Grants, body: &Body, view: &impl View) -> Verdict {
    match body {
        Body::Txn(txn) => judge_txn(grants, txn, view),
        Body::Grant(_) => ALLOWED,
        Body::Revoke(revoke) => judge_lease(grants, revoke.id, view),
        // What is not for everybody is for root.
        _ => check(grants.is_root),
    }
}

/// Whether `grants` allow a read alone.
pub(crate) fn judge_range(grants: &Grants, range: &Range) -> bool {
    grants.may_read(&range.key, &range.range_end)
}

/// Whether `grants` allow a transaction.
pub(crate) fn judge_txn(grants: &Grants, txn: &Txn, view: &impl View) -> Verdict {
    let reads = |c: &crate::schema::Compare| grants.may_read(&c.key, &c.range_end);
    if !txn.compare.iter().all(reads) {
        return DENIED;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        let verdict = judge_op(grants, op, view)?;
        if verdict.is_err() {
            return Ok(verdict);
        }
    }
    ALLOWED
}

fn judge_op(grants: &Grants, op: &Op, view: &impl View) -> Verdict {
    match &op.kind {
        Some(OpKind::Range(range)) => check(judge_range(grants, range)),
        Some(OpKind::Put(put)) => judge_put(grants, put, view),
        Some(OpKind::Delete(delete)) => {
            let (key, end) = (&delete.key, &delete.range_end);
            check(grants.may_write(key, end) && (!delete.prev_kv || grants.may_read(key, end)))
        }
        Some(OpKind::Txn(txn)) => judge_txn(grants, txn, view),
        None => ALLOWED,
    }
}

fn judge_put(grants: &Grants, put: &Put, view: &impl View) -> Verdict {
    let allowed =
        grants.may_write(&put.key, b"") && (!put.prev_kv || grants.may_read(&put.key, b""));
    if !allowed {
        return DENIED;
    }
    if put.lease == 0 { ALLOWED } else { judge_lease(grants, put.lease, view) }
}

/// A lease may be used or ended by who may write each of its keys: with it they all go.
pub(crate) fn judge_lease(grants: &Grants, lease: i64, view: &impl View) -> Verdict {
    let keys = mvcc::lease_keys(view, lease)?;
    check(keys.iter().all(|key| grants.may_write(key, b"")))
}

/// Whether each key of a lease may be read.
pub(crate) fn judge_lease_keys(grants: &Grants, lease: i64, view: &impl View) -> Verdict {
    let keys = mvcc::lease_keys(view, lease)?;
    check(keys.iter().all(|key| grants.may_read(key, b"")))
}
