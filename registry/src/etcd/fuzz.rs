//! For the fuzzer: requests as clients may send them, through the checks, into the log's form and back, and applied to a
//! small state.

use bytes::Buf;
use prost::Message;
use watchkeep_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest, TxnRequest, WatchCreateRequest,
};

use super::{convert, limits};
use crate::{
    mvcc::{self, Place, fuzz::Memory},
    schema::{Applied, Body, Command, Compact, Grant, Op, OpKind, Revoke, Txn},
};

/// Messages one after the other, each a byte for its kind, its length, and itself. Where they end no more is read.
pub(crate) fn requests(data: &[u8]) {
    let mut rest = data;
    let (mut state, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    while rest.has_remaining() {
        let kind = rest.get_u8() % 8;
        let Some(body) = body(kind, &mut rest, &state, &applied) else { return };
        let command = Command { time_ms: 1, body: Some(body), ..Command::default() };
        let bytes = command.encode_to_vec();
        let read = Command::decode(&bytes[..]).expect("what was written to the log is read again");
        assert_eq!(read, command);
        apply(&mut state, &mut applied, &command);
    }
}

/// None: it is no message, or refused.
fn body(kind: u8, rest: &mut &[u8], state: &Memory, applied: &Applied) -> Option<Body> {
    let one = |kind| Body::Txn(Txn { success: vec![Op { kind: Some(kind) }], ..Txn::default() });
    match kind {
        0 => {
            let request = PutRequest::decode_length_delimited(rest).ok()?;
            limits::check_put(&request).ok()?;
            Some(one(OpKind::Put(convert::put(request))))
        }
        1 => {
            let request = DeleteRangeRequest::decode_length_delimited(rest).ok()?;
            limits::check_delete(&request).ok()?;
            Some(one(OpKind::Delete(convert::delete(request))))
        }
        2 => {
            let request = TxnRequest::decode_length_delimited(rest).ok()?;
            limits::check_txn(&request).ok()?;
            Some(Body::Txn(convert::txn(request)))
        }
        3 => {
            let request = RangeRequest::decode_length_delimited(rest).ok()?;
            limits::check_range(&request).ok()?;
            let request = convert::range(request);
            let (now, compacted) = (applied.revision, applied.compact_revision);
            let found = mvcc::range(state, &request, now, compacted).expect("the state is whole");
            drop(found.map(convert::range_response));
            Some(one(OpKind::Range(request)))
        }
        4 => {
            let request = CompactionRequest::decode_length_delimited(rest).ok()?;
            Some(Body::Compact(Compact { revision: request.revision }))
        }
        5 => {
            let request = LeaseGrantRequest::decode_length_delimited(rest).ok()?;
            Some(Body::Grant(Grant { id: request.id, ttl_seconds: request.ttl }))
        }
        6 => {
            let request = LeaseRevokeRequest::decode_length_delimited(rest).ok()?;
            Some(Body::Revoke(Revoke { id: request.id, term: 0 }))
        }
        _ => {
            let request = WatchCreateRequest::decode_length_delimited(rest).ok()?;
            let bounds = mvcc::Bounds::new(&request.key, &request.range_end);
            let _ = bounds.contains(&request.key);
            None
        }
    }
}

/// Twice from the same state: with the same effects, and none from what is refused.
fn apply(state: &mut Memory, applied: &mut Applied, command: &Command) {
    let (mut once, mut again) = (applied.clone(), applied.clone());
    let place = Place { term: 1 };
    let effects = mvcc::apply(&*state, &mut once, command, place).expect("the state is whole");
    let other = mvcc::apply(&*state, &mut again, command, place).expect("the state is whole");
    assert_eq!((&once, &effects.outcome, &effects.events), (&again, &other.outcome, &other.events));
    assert!(once.revision >= applied.revision, "the revision went back");
    if effects.outcome.refusal != 0 {
        assert!(
            effects.writes.is_empty() && effects.events.is_empty(),
            "refused, and did something"
        );
        assert_eq!(once, *applied);
    }
    if let Some(txn) = effects.outcome.txn.clone() {
        drop(convert::inner_txn_response(txn));
    }
    state.write(effects.writes);
    *applied = once;
}

/// Requests made of a few numbers and a key each, as [`requests`] reads them.
#[cfg(test)]
pub(crate) fn encode(parts: &[(u8, [i8; 6], String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, numbers, key) in parts {
        let [a, b, c, d, e, f] = numbers.map(i64::from);
        let key = bytes::Bytes::copy_from_slice(key.as_bytes());
        let range = RangeRequest {
            key: key.clone(),
            range_end: bytes::Bytes::from(vec![0; usize::from(a > 0)]),
            limit: b,
            revision: c,
            sort_order: i32::from(numbers[3]) % 3,
            sort_target: i32::from(numbers[4]) % 5,
            min_mod_revision: f,
            ..RangeRequest::default()
        };
        let put = PutRequest {
            key: key.clone(),
            lease: a % 3,
            prev_kv: b > 0,
            ignore_value: c > 99,
            ..PutRequest::default()
        };
        out.push(*kind);
        let message = match kind % 8 {
            0 => put.encode_length_delimited_to_vec(),
            1 => DeleteRangeRequest { key, range_end: range.range_end, prev_kv: d > 0 }
                .encode_length_delimited_to_vec(),
            2 => {
                use watchkeep_api::etcdserverpb::{RequestOp, request_op::Request};
                let op = |request| RequestOp { request: Some(request) };
                let inner = TxnRequest {
                    success: vec![op(Request::RequestPut(put))],
                    ..TxnRequest::default()
                };
                let ops = vec![op(Request::RequestRange(range)), op(Request::RequestTxn(inner))];
                TxnRequest { success: ops, ..TxnRequest::default() }
                    .encode_length_delimited_to_vec()
            }
            3 => range.encode_length_delimited_to_vec(),
            4 => {
                CompactionRequest { revision: e, physical: false }.encode_length_delimited_to_vec()
            }
            5 => LeaseGrantRequest { id: a % 3, ttl: b }.encode_length_delimited_to_vec(),
            _ => LeaseRevokeRequest { id: a % 3 }.encode_length_delimited_to_vec(),
        };
        out.extend(message);
    }
    out
}
