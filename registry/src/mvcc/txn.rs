//! Transactions.

use std::cmp::Ordering;

use super::{
    apply::Writer,
    keys::Bounds,
    lease::lease_exists,
    range::{latest, range},
    refusal::Refusal,
    view::{View, ViewError},
};
use crate::schema::{
    Compare, Delete, KeyValue, OpKind, OpOutcome, OpOutcomeKind, Put, Range, Target, Txn,
    TxnOutcome,
};

/// Whether no branch writes.
pub(crate) fn is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.kind {
        Some(OpKind::Range(_)) | None => true,
        Some(OpKind::Txn(txn)) => is_read_only(txn),
        Some(OpKind::Put(_) | OpKind::Delete(_)) => false,
    })
}

/// A transaction whose branches are chosen. All of them, also those of inner transactions, by the state before it:
/// no condition sees what the transaction itself writes (etcd: `compareToPath`).
struct Plan<'t> {
    succeeded: bool,
    steps: Vec<Step<'t>>,
}

enum Step<'t> {
    Range(&'t Range),
    Put(&'t Put),
    Delete(&'t Delete),
    Txn(Plan<'t>),
}

impl<'t> Plan<'t> {
    fn new(view: &impl View, txn: &'t Txn) -> Result<Self, ViewError> {
        let succeeded = all_hold(view, &txn.compare)?;
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let steps = ops.iter().filter_map(|op| op.kind.as_ref()).map(|kind| {
            Ok(match kind {
                OpKind::Range(request) => Step::Range(request),
                OpKind::Put(request) => Step::Put(request),
                OpKind::Delete(request) => Step::Delete(request),
                OpKind::Txn(inner) => Step::Txn(Plan::new(view, inner)?),
            })
        });
        Ok(Self { succeeded, steps: steps.collect::<Result<_, _>>()? })
    }

    /// The first step that the state before the transaction does not allow (etcd: `checkTxn`).
    fn check(
        &self,
        view: &impl View,
        current: i64,
        compacted: i64,
    ) -> Result<Result<(), Refusal>, ViewError> {
        for step in &self.steps {
            let checked = match step {
                Step::Range(request) => check_revision(request.revision, current, compacted),
                Step::Put(request) => check_put(view, request)?,
                Step::Delete(_) => Ok(()),
                Step::Txn(inner) => inner.check(view, current, compacted)?,
            };
            if checked.is_err() {
                return Ok(checked);
            }
        }
        Ok(Ok(()))
    }

    /// Whether it is one write: that checks itself.
    fn is_one_write(&self) -> bool {
        matches!(&self.steps[..], [Step::Put(_) | Step::Delete(_)])
    }
}

/// In a transaction a negative revision is one that is compacted; a range alone takes it for the newest.
fn check_revision(revision: i64, current: i64, compacted: i64) -> Result<(), Refusal> {
    match revision {
        0 => Ok(()),
        _ if revision > current => Err(Refusal::FutureRevision),
        _ if revision < compacted => Err(Refusal::Compacted),
        _ => Ok(()),
    }
}

fn check_put(view: &impl View, request: &Put) -> Result<Result<(), Refusal>, ViewError> {
    if !lease_exists(view, request.lease)? {
        return Ok(Err(Refusal::LeaseNotFound));
    }
    let needs_key = request.ignore_value || request.ignore_lease;
    if needs_key && latest(view, Bounds::new(&request.key, b"")).next().transpose()?.is_none() {
        return Ok(Err(Refusal::KeyNotFound));
    }
    Ok(Ok(()))
}

/// Runs a transaction that only reads, without the log.
pub(crate) fn read_only(
    view: &impl View,
    txn: &Txn,
    current: i64,
    compacted: i64,
) -> Result<Result<TxnOutcome, Refusal>, ViewError> {
    let plan = Plan::new(view, txn)?;
    if let Err(refusal) = plan.check(view, current, compacted)? {
        return Ok(Err(refusal));
    }
    read(view, &plan, current, compacted)
}

fn read(
    view: &impl View,
    plan: &Plan<'_>,
    current: i64,
    compacted: i64,
) -> Result<Result<TxnOutcome, Refusal>, ViewError> {
    let mut ops = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let done = match step {
            Step::Range(request) => {
                range(view, request, current, compacted)?.map(OpOutcomeKind::Range)
            }
            Step::Txn(inner) => read(view, inner, current, compacted)?.map(OpOutcomeKind::Txn),
            Step::Put(_) | Step::Delete(_) => continue,
        };
        match done {
            Ok(kind) => ops.push(OpOutcome { kind: Some(kind) }),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(TxnOutcome { succeeded: plan.succeeded, ops, revision: current }))
}

/// Runs a transaction; everything it writes has one revision.
pub(super) fn run<V: View>(
    writer: &mut Writer<'_, V>,
    txn: &Txn,
) -> Result<Result<TxnOutcome, Refusal>, ViewError> {
    let plan = Plan::new(writer.view(), txn)?;
    if !plan.is_one_write()
        && let Err(refusal) =
            plan.check(writer.view(), writer.seen_revision(), writer.compacted())?
    {
        return Ok(Err(refusal));
    }
    write(writer, &plan)
}

fn write<V: View>(
    writer: &mut Writer<'_, V>,
    plan: &Plan<'_>,
) -> Result<Result<TxnOutcome, Refusal>, ViewError> {
    let mut ops = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let done = match step {
            Step::Range(request) => {
                range(writer.view(), request, writer.seen_revision(), writer.compacted())?
                    .map(OpOutcomeKind::Range)
            }
            Step::Put(request) => writer.put(request)?.map(OpOutcomeKind::Put),
            Step::Delete(request) => Ok(OpOutcomeKind::Delete(writer.delete(request)?)),
            Step::Txn(inner) => write(writer, inner)?.map(OpOutcomeKind::Txn),
        };
        match done {
            Ok(kind) => ops.push(OpOutcome { kind: Some(kind) }),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(TxnOutcome { succeeded: plan.succeeded, ops, revision: writer.seen_revision() }))
}

fn all_hold(view: &impl View, compares: &[Compare]) -> Result<bool, ViewError> {
    for compare in compares {
        if !holds(view, compare)? {
            return Ok(false);
        }
    }
    Ok(true)
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
        // etcd: what is not known is equal, ...
        None => Ordering::Equal,
    };
    match compare.result {
        0 => order == Ordering::Equal,
        1 => order == Ordering::Greater,
        2 => order == Ordering::Less,
        3 => order != Ordering::Equal,
        // ... and a result that is not known holds.
        _ => true,
    }
}
