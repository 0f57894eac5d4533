//! What a request may be: etcd's limits and checks (etcd: `server/etcdserver/api/v3rpc/key.go`).

use std::collections::HashSet;

use prost::Message;
use watchkeep_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    request_op::Request,
};

use super::errors::BadRequest;

/// Largest request: 1.5 MiB.
pub(super) const REQUEST_BYTES_MAX: usize = 3 << 19;
/// Most operations in one list of a transaction.
const TXN_OPS_MAX: usize = 128;

pub(super) fn check_size(request: &impl Message) -> Result<(), BadRequest> {
    if request.encoded_len() > REQUEST_BYTES_MAX { Err(BadRequest::TooLarge) } else { Ok(()) }
}

pub(super) fn check_range(request: &RangeRequest) -> Result<(), BadRequest> {
    if request.key.is_empty() {
        return Err(BadRequest::EmptyKey);
    }
    if !(0..=2).contains(&request.sort_order) || !(0..=4).contains(&request.sort_target) {
        return Err(BadRequest::InvalidSortOption);
    }
    Ok(())
}

pub(super) fn check_put(request: &PutRequest) -> Result<(), BadRequest> {
    if request.key.is_empty() {
        return Err(BadRequest::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(BadRequest::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(BadRequest::LeaseProvided);
    }
    Ok(())
}

pub(super) fn check_delete(request: &DeleteRangeRequest) -> Result<(), BadRequest> {
    if request.key.is_empty() { Err(BadRequest::EmptyKey) } else { Ok(()) }
}

/// Checks a transaction and everything in it; no key may be written twice by the operations of one branch.
pub(super) fn check_txn(request: &TxnRequest) -> Result<(), BadRequest> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    if longest > TXN_OPS_MAX {
        return Err(BadRequest::TooManyOps);
    }
    if request.compare.iter().any(|compare: &Compare| compare.key.is_empty()) {
        return Err(BadRequest::EmptyKey);
    }
    for branch in [&request.success, &request.failure] {
        branch.iter().try_for_each(check_op)?;
        written_keys(branch)?;
    }
    Ok(())
}

fn check_op(op: &RequestOp) -> Result<(), BadRequest> {
    match &op.request {
        Some(Request::RequestRange(r)) => check_range(r),
        Some(Request::RequestPut(r)) => check_put(r),
        Some(Request::RequestDeleteRange(r)) => check_delete(r),
        Some(Request::RequestTxn(r)) => check_txn(r),
        None => Err(BadRequest::EmptyKey),
    }
}

/// Keys put and ranges deleted by a list of operations.
#[derive(Default)]
struct Written<'r> {
    puts: HashSet<&'r [u8]>,
    deletes: Vec<(&'r [u8], &'r [u8])>,
}

impl Written<'_> {
    fn deletes_put(&self, key: &[u8]) -> bool {
        self.deletes.iter().any(|(from, to)| crate::mvcc::Bounds::new(from, to).contains(key))
    }
}

/// Either branch of an inner transaction may run, so its two branches do not exclude each other's keys.
fn written_keys(ops: &[RequestOp]) -> Result<Written<'_>, BadRequest> {
    let mut written = Written::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(r)) = &op.request {
            written.deletes.push((&r.key, &r.range_end));
        }
    }
    for op in ops {
        let inner = match &op.request {
            Some(Request::RequestPut(r)) => {
                Written { puts: HashSet::from([&r.key[..]]), deletes: Vec::new() }
            }
            Some(Request::RequestTxn(r)) => {
                let mut both = written_keys(&r.success)?;
                let failure = written_keys(&r.failure)?;
                both.puts.extend(failure.puts);
                both.deletes.extend(failure.deletes);
                both
            }
            _ => continue,
        };
        let twice =
            inner.puts.iter().any(|key| written.puts.contains(key) || written.deletes_put(key))
                || written.puts.iter().any(|key| inner.deletes_put(key));
        if twice {
            return Err(BadRequest::DuplicateKey);
        }
        written.puts.extend(inner.puts);
        written.deletes.extend(inner.deletes);
    }
    Ok(written)
}
