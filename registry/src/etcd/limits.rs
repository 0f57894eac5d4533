//! What a request may be: etcd's limits and checks (etcd: `server/etcdserver/api/v3rpc/key.go`).

use std::collections::HashSet;

use prost::Message;
use watchkeep_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    request_op::Request,
};

use super::errors::BadRequest;
use crate::mvcc;

/// Largest request: 1.5 MiB.
pub(super) const REQUEST_BYTES_MAX: usize = 3 << 19;
/// Most operations in one list of a transaction.
const TXN_OPS_MAX: usize = 128;
/// Longest key. etcd has no such limit. The storage engine takes keys of 64 KiB, and the one under which a version is
/// kept can be twice as long as the user's (`mvcc/keys.rs`), and ten bytes.
pub(super) const KEY_BYTES_MAX: usize = 32_752;
/// Deepest transaction in a transaction. etcd has no such limit; protobuf has one, and a command in the log stands
/// deeper than the request that it was.
pub(super) const NESTING_MAX: usize = 16;

fn check_key(key: &[u8]) -> Result<(), BadRequest> {
    if key.is_empty() {
        return Err(BadRequest::EmptyKey);
    }
    check_end(key)
}

fn check_end(end: &[u8]) -> Result<(), BadRequest> {
    if end.len() > KEY_BYTES_MAX { Err(BadRequest::KeyTooLong) } else { Ok(()) }
}

pub(super) fn check_size(request: &impl Message) -> Result<(), BadRequest> {
    if request.encoded_len() > REQUEST_BYTES_MAX { Err(BadRequest::TooLarge) } else { Ok(()) }
}

pub(super) fn check_range(request: &RangeRequest) -> Result<(), BadRequest> {
    check_key(&request.key)?;
    check_end(&request.range_end)?;
    if !(0..=2).contains(&request.sort_order) || !(0..=4).contains(&request.sort_target) {
        return Err(BadRequest::InvalidSortOption);
    }
    Ok(())
}

pub(super) fn check_put(request: &PutRequest) -> Result<(), BadRequest> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(BadRequest::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(BadRequest::LeaseProvided);
    }
    Ok(())
}

pub(super) fn check_delete(request: &DeleteRangeRequest) -> Result<(), BadRequest> {
    check_key(&request.key)?;
    check_end(&request.range_end)
}

/// Checks a transaction and everything in it.
pub(super) fn check_txn(request: &TxnRequest) -> Result<(), BadRequest> {
    check_ops(request, TXN_OPS_MAX, NESTING_MAX)?;
    written_keys(&request.success)?;
    written_keys(&request.failure).map(drop)
}

/// A transaction in another may have as many operations as the other left.
fn check_ops(request: &TxnRequest, ops_max: usize, deeper: usize) -> Result<(), BadRequest> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = ops_max.checked_sub(longest).ok_or(BadRequest::TooManyOps)?;
    request.compare.iter().try_for_each(|compare: &Compare| {
        check_key(&compare.key)?;
        check_end(&compare.range_end)
    })?;
    request.success.iter().chain(&request.failure).try_for_each(|op| match &op.request {
        Some(Request::RequestRange(r)) => check_range(r),
        Some(Request::RequestPut(r)) => check_put(r),
        Some(Request::RequestDeleteRange(r)) => check_delete(r),
        Some(Request::RequestTxn(_)) if deeper == 0 => Err(BadRequest::TooDeep),
        Some(Request::RequestTxn(r)) => check_ops(r, left, deeper - 1),
        None => Err(BadRequest::NoRequest),
    })
}

/// Keys put and ranges deleted by a list of operations.
#[derive(Default)]
struct Written<'r> {
    puts: HashSet<&'r [u8]>,
    deletes: Vec<(&'r [u8], &'r [u8])>,
}

impl<'r> Written<'r> {
    fn delete(&mut self, request: &'r DeleteRangeRequest) {
        // etcd looks for such a range's end before its start: it excludes nothing, and clients clear all and put in
        // one transaction.
        if &request.range_end[..] != b"\0" {
            self.deletes.push((&request.key, &request.range_end));
        }
    }

    fn has(&self, key: &[u8]) -> bool {
        self.puts.contains(key)
            || self.deletes.iter().any(|(from, to)| mvcc::Bounds::new(from, to).contains(key))
    }

    fn put(&mut self, key: &'r [u8]) -> Result<(), BadRequest> {
        if self.has(key) {
            return Err(BadRequest::DuplicateKey);
        }
        self.puts.insert(key);
        Ok(())
    }
}

/// No key may be put twice, or put and deleted, by the operations of one branch. As etcd has it (`checkIntervals`):
/// deletions first, then inner transactions in their order, then the branch's own puts. So what an inner transaction
/// deletes does not exclude what one before it put. Of its two branches only one runs: they do not exclude each
/// other's keys.
fn written_keys(ops: &[RequestOp]) -> Result<Written<'_>, BadRequest> {
    let requests = || ops.iter().filter_map(|op| op.request.as_ref());
    let mut written = Written::default();
    for request in requests() {
        if let Request::RequestDeleteRange(delete) = request {
            written.delete(delete);
        }
    }
    for request in requests() {
        if let Request::RequestTxn(txn) = request {
            let (success, failure) = (written_keys(&txn.success)?, written_keys(&txn.failure)?);
            if success.puts.iter().chain(&failure.puts).any(|key| written.has(key)) {
                return Err(BadRequest::DuplicateKey);
            }
            for branch in [success, failure] {
                written.puts.extend(branch.puts);
                written.deletes.extend(branch.deletes);
            }
        }
    }
    for request in requests() {
        if let Request::RequestPut(put) = request {
            written.put(&put.key)?;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
