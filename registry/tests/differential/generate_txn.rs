//! Random transactions.

use bytes::Bytes;
use rand::{Rng, seq::SliceRandom};
use watchkeep_api::etcdserverpb::{
    Compare, RangeRequest, RequestOp, TxnRequest, compare::TargetUnion, request_op::Request,
};

use crate::generate::{Dice, delete, end, key, pick, put, range, revision};

/// A transaction, sometimes with others in it.
pub(crate) fn txn(random: &mut Dice) -> TxnRequest {
    let mut unwritten = random.keys.clone();
    unwritten.shuffle(random);
    let mut request = nested(random, &mut unwritten, 0);
    if deletes_to_the_end(&request) {
        // Intended difference "A put that relies on a deleted key": it would take etcd down.
        rely_on_nothing(&mut request);
    }
    request
}

fn nested(random: &mut Dice, unwritten: &mut Vec<&'static [u8]>, depth: u32) -> TxnRequest {
    let compares = random.random_range(0..3);
    let compare = (0..compares).map(|_| compare(random)).collect();
    TxnRequest {
        compare,
        success: ops(random, unwritten, depth),
        failure: ops(random, unwritten, depth),
    }
}

fn ops(random: &mut Dice, unwritten: &mut Vec<&'static [u8]>, depth: u32) -> Vec<RequestOp> {
    let count = match random.random_range(0..40) {
        // Around the limit, which operations outside use up for those inside.
        0 => pick(random, &[64, 65, 127, 128, 129]),
        1..6 => 0,
        _ => random.random_range(1..4),
    };
    if count >= 64 {
        let cheap = RangeRequest { key: "a".into(), ..RangeRequest::default() };
        let mut ops = vec![RequestOp { request: Some(Request::RequestRange(cheap)) }; count];
        ops[0] = op(random, unwritten, depth);
        return ops;
    }
    (0..count).map(|_| op(random, unwritten, depth)).collect()
}

fn op(random: &mut Dice, unwritten: &mut Vec<&'static [u8]>, depth: u32) -> RequestOp {
    let request = match random.random_range(0..50) {
        0 => None,
        1..18 => {
            let mut put = put(random);
            // Mostly a key of its own: to write one twice is refused.
            if !put.key.is_empty() && random.random_bool(0.9) {
                put.key = Bytes::from_static(unwritten.pop().unwrap_or(b"a"));
            }
            Some(Request::RequestPut(put))
        }
        18..28 => {
            let mut delete = delete(random);
            if random.random_bool(0.5) {
                delete.key = Bytes::from_static(unwritten.pop().unwrap_or(b"a"));
                delete.range_end = Bytes::new();
            }
            Some(Request::RequestDeleteRange(delete))
        }
        28..40 if depth < 2 => Some(Request::RequestTxn(nested(random, unwritten, depth + 1))),
        _ => {
            let mut range = range(random);
            if random.random_bool(0.6) {
                range.revision = 0;
            }
            Some(Request::RequestRange(range))
        }
    };
    RequestOp { request }
}

fn compare(random: &mut Dice) -> Compare {
    let key = key(random);
    let target = random.random_range(0..5);
    // Mostly the operand that the target asks for.
    let operand = if random.random_bool(0.9) { target } else { random.random_range(0..6) };
    let target_union = match operand {
        0 => Some(TargetUnion::Version(random.random_range(-1..4))),
        1 => Some(TargetUnion::CreateRevision(revision(random))),
        2 => Some(TargetUnion::ModRevision(revision(random))),
        3 => Some(TargetUnion::Value(pick(random, &["", "x", "y", "z"]).into())),
        4 => Some(TargetUnion::Lease(random.random_range(0..4))),
        _ => None,
    };
    // Beyond the last there is no such result or target: etcd takes that for true, or equal.
    let results = if random.random_bool(0.05) { 6 } else { 4 };
    Compare {
        result: random.random_range(0..results),
        target: if random.random_bool(0.02) { 9 } else { target },
        range_end: if random.random_bool(0.75) { Bytes::new() } else { end(random, &key) },
        key,
        target_union,
    }
}

fn each_op<'t>(request: &'t TxnRequest) -> Box<dyn Iterator<Item = &'t Request> + 't> {
    let own = request.success.iter().chain(&request.failure).filter_map(|op| op.request.as_ref());
    Box::new(own.flat_map(|op| {
        let inner: Box<dyn Iterator<Item = &Request>> = match op {
            Request::RequestTxn(txn) => each_op(txn),
            _ => Box::new(std::iter::empty()),
        };
        std::iter::once(op).chain(inner)
    }))
}

fn deletes_to_the_end(request: &TxnRequest) -> bool {
    each_op(request).any(
        |op| matches!(op, Request::RequestDeleteRange(delete) if &delete.range_end[..] == b"\0"),
    )
}

fn rely_on_nothing(request: &mut TxnRequest) {
    for op in request.success.iter_mut().chain(&mut request.failure) {
        match &mut op.request {
            Some(Request::RequestPut(put)) => {
                (put.ignore_value, put.ignore_lease) = (false, false);
            }
            Some(Request::RequestTxn(txn)) => rely_on_nothing(txn),
            _ => {}
        }
    }
}
