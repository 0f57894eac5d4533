//! Transactions.

use std::cmp::Ordering;

use super::{
    apply::Writer,
    keys::Bounds,
    range::{latest, range},
    refusal::Refusal,
    view::{View, ViewError},
};
use crate::schema::{
    Compare, KeyValue, Op, OpKind, OpOutcome, OpOutcomeKind, Target, Txn, TxnOutcome,
};

/// Whether no branch writes.
pub(crate) fn is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.kind {
        Some(OpKind::Range(_)) | None => true,
        Some(OpKind::Txn(txn)) => is_read_only(txn),
        Some(OpKind::Put(_) | OpKind::Delete(_)) => false,
    })
}

/// Runs a transaction that only reads, without the log.
pub(crate) fn read_only(
    view: &impl View,
    txn: &Txn,
    current: i64,
    compacted: i64,
) -> Result<Result<TxnOutcome, Refusal>, ViewError> {
    let (succeeded, ops) = choose(view, txn)?;
    let mut outcomes = Vec::with_capacity(ops.len());
    for op in ops {
        let kind = match &op.kind {
            Some(OpKind::Range(request)) => match range(view, request, current, compacted)? {
                Ok(outcome) => OpOutcomeKind::Range(outcome),
                Err(refusal) => return Ok(Err(refusal)),
            },
            Some(OpKind::Txn(inner)) => match read_only(view, inner, current, compacted)? {
                Ok(outcome) => OpOutcomeKind::Txn(outcome),
                Err(refusal) => return Ok(Err(refusal)),
            },
            Some(OpKind::Put(_) | OpKind::Delete(_)) | None => continue,
        };
        outcomes.push(OpOutcome { kind: Some(kind) });
    }
    Ok(Ok(TxnOutcome { succeeded, ops: outcomes, revision: current }))
}

/// Runs a transaction; everything it writes has one revision.
pub(super) fn run<V: View>(
    writer: &mut Writer<'_, V>,
    txn: &Txn,
) -> Result<Result<TxnOutcome, Refusal>, ViewError> {
    let (succeeded, ops) = choose(writer.view(), txn)?;
    let mut outcomes = Vec::with_capacity(ops.len());
    for op in ops {
        let kind = match &op.kind {
            Some(OpKind::Range(request)) => {
                match range(writer.view(), request, writer.seen_revision(), writer.compacted())? {
                    Ok(outcome) => OpOutcomeKind::Range(outcome),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
            Some(OpKind::Put(request)) => match writer.put(request)? {
                Ok(outcome) => OpOutcomeKind::Put(outcome),
                Err(refusal) => return Ok(Err(refusal)),
            },
            Some(OpKind::Delete(request)) => OpOutcomeKind::Delete(writer.delete(request)?),
            Some(OpKind::Txn(inner)) => match run(writer, inner)? {
                Ok(outcome) => OpOutcomeKind::Txn(outcome),
                Err(refusal) => return Ok(Err(refusal)),
            },
            None => continue,
        };
        outcomes.push(OpOutcome { kind: Some(kind) });
    }
    Ok(Ok(TxnOutcome { succeeded, ops: outcomes, revision: writer.seen_revision() }))
}

fn choose<'t>(view: &impl View, txn: &'t Txn) -> Result<(bool, &'t [Op]), ViewError> {
    for compare in &txn.compare {
        if !holds(view, compare)? {
            return Ok((false, &txn.failure));
        }
    }
    Ok((true, &txn.success))
}

/// Whether a condition holds: for every key of its range; for a key that does not exist all numbers are 0.
fn holds(view: &impl View, compare: &Compare) -> Result<bool, ViewError> {
    let mut any = false;
    for kv in latest(view, Bounds::new(&compare.key, &compare.range_end)) {
        any = true;
        if !holds_for(compare, &kv?) {
            return Ok(false);
        }
    }
    if any {
        return Ok(true);
    }
    // etcd: a value cannot be compared with that of a key that does not exist.
    Ok(!matches!(compare.target, Some(Target::Value(_)))
        && holds_for(compare, &KeyValue::default()))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        Some(Target::Version(version)) => kv.version.cmp(version),
        Some(Target::Create(revision)) => kv.create_revision.cmp(revision),
        Some(Target::Mod(revision)) => kv.mod_revision.cmp(revision),
        Some(Target::Value(value)) => kv.value.cmp(value),
        Some(Target::Lease(lease)) => kv.lease.cmp(lease),
        None => kv.version.cmp(&0),
    };
    match compare.result {
        0 => order == Ordering::Equal,
        1 => order == Ordering::Greater,
        2 => order == Ordering::Less,
        _ => order != Ordering::Equal,
    }
}
