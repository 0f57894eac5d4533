//! Transactions that etcd refuses, and those that it takes although one would not think so.

use bytes::Bytes;
use watchkeep_api::etcdserverpb::PutRequest;

use super::*;

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put(key: &'static str) -> RequestOp {
    op(Request::RequestPut(PutRequest { key: key.into(), ..PutRequest::default() }))
}

fn get(key: &'static str) -> RequestOp {
    op(Request::RequestRange(RangeRequest { key: key.into(), ..RangeRequest::default() }))
}

fn delete(key: &'static str, end: &'static [u8]) -> RequestOp {
    let range_end = Bytes::from_static(end);
    op(Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.into(),
        range_end,
        prev_kv: false,
    }))
}

fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare: Vec::new(), success, failure }
}

fn inner(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    op(Request::RequestTxn(txn(success, failure)))
}

#[test]
fn a_key_is_written_once_as_far_as_etcd_looks() {
    let twice = Err(BadRequest::DuplicateKey);
    let cases = [
        ("twice", vec![put("a"), put("a")], twice),
        ("put and deleted", vec![put("a"), delete("a", b"")], twice),
        ("deleted and put", vec![delete("a", b"c"), put("b")], twice),
        ("behind the range", vec![delete("a", b"b"), put("b")], Ok(())),
        ("deleted twice", vec![delete("a", b""), delete("a", b"c")], Ok(())),
        ("all cleared, then put", vec![delete("a", b"\0"), put("b")], Ok(())),
        ("either branch", vec![inner(vec![put("a")], vec![put("a")])], Ok(())),
        ("outside and inside", vec![put("a"), inner(vec![], vec![put("a")])], twice),
        (
            "put outside, deleted inside",
            vec![put("a"), inner(vec![delete("a", b"")], vec![])],
            twice,
        ),
        ("two inside", vec![inner(vec![put("a")], vec![]), inner(vec![], vec![put("a")])], twice),
        (
            "deleted inside, then put inside",
            vec![inner(vec![delete("a", b"")], vec![]), inner(vec![put("a")], vec![])],
            twice,
        ),
        (
            "put inside, then deleted inside",
            vec![inner(vec![put("a")], vec![]), inner(vec![delete("a", b"")], vec![])],
            Ok(()),
        ),
    ];
    for (name, ops, expected) in cases {
        assert_eq!(check_txn(&txn(ops.clone(), vec![])), expected, "{name}");
        assert_eq!(check_txn(&txn(vec![], ops)), expected, "{name}, otherwise");
    }
}

#[test]
fn operations_inside_count_with_those_outside() {
    let gets = |count| vec![get("a"); count];
    let nested = |outer: usize, within: usize| {
        let mut ops = gets(outer - 1);
        ops.push(inner(gets(within), vec![]));
        check_txn(&txn(ops, vec![]))
    };
    assert_eq!(check_txn(&txn(gets(128), gets(128))), Ok(()));
    assert_eq!(check_txn(&txn(gets(129), vec![])), Err(BadRequest::TooManyOps));
    assert_eq!(nested(100, 28), Ok(()));
    assert_eq!(nested(100, 29), Err(BadRequest::TooManyOps));
}

#[test]
fn the_first_fault_is_told_in_etcds_order() {
    let cases = [
        ("an operation that is none", vec![RequestOp { request: None }], BadRequest::NoRequest),
        // Faults of single operations come before keys written twice, wherever they are.
        ("twice, then no key", vec![put("a"), put("a"), get("")], BadRequest::EmptyKey),
        (
            "twice inside, then no key",
            vec![inner(vec![put("a"), put("a")], vec![]), put("")],
            BadRequest::EmptyKey,
        ),
    ];
    for (name, ops, expected) in cases {
        assert_eq!(check_txn(&txn(ops, vec![])), Err(expected), "{name}");
    }
}
