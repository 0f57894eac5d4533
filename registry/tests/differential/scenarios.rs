//! What chance does not meet: a new store, sizes at their limits, leases that run out, a long past, a restart.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use watchkeep_api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseTimeToLiveRequest,
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, compare::TargetUnion,
    request_op::Request,
};

use crate::{
    op::{Answer, BEFORE, Op},
    pair::Pair,
    side::Side,
};

/// How long a lease may take to run out.
const DEADLINE: Duration = Duration::from_secs(20);
/// etcd's limit of a request, in bytes.
const REQUEST_BYTES_MAX: usize = 3 << 19;

pub(crate) fn put(key: &str, value: impl Into<Bytes>) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.into(), ..PutRequest::default() }
}

pub(crate) fn all() -> RangeRequest {
    RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() }
}

pub(crate) fn watch_all(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision,
        prev_kv: true,
        ..WatchCreateRequest::default()
    }
}

pub(crate) fn of(success: Vec<Request>) -> TxnRequest {
    let success = success.into_iter().map(|request| RequestOp { request: Some(request) });
    TxnRequest { success: success.collect(), ..TxnRequest::default() }
}

fn grant(id: i64, ttl: i64) -> Op {
    Op::Grant(LeaseGrantRequest { id, ttl })
}

#[tokio::test]
async fn new_stores_begin_alike() {
    let mut pair = Pair::start().await;
    let delete = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    let at = |revision| Op::Range(RangeRequest { revision, ..all() });
    let ops = [
        at(0),
        at(1),
        at(2),
        Op::Delete(delete),
        Op::Txn(of(vec![])),
        Op::Compact(CompactionRequest { revision: 2, physical: true }),
        Op::Leases,
        Op::Put(put("a", "1")),
        at(2),
        Op::Compact(CompactionRequest { revision: 1, physical: true }),
        Op::Compact(CompactionRequest { revision: 1, physical: true }),
        at(1),
    ];
    // From here on revisions are what they are.
    assert_eq!(pair.run_from(BEFORE, &ops).await, None);
    pair.stop().await;
}

#[tokio::test]
async fn sizes_are_limited_alike() {
    let mut pair = Pair::start().await;
    let value = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
    let compare = |bytes| Compare {
        key: "a".into(),
        target: 3,
        target_union: Some(TargetUnion::Value(value(bytes))),
        ..Compare::default()
    };
    let txn = |bytes, request| TxnRequest { compare: vec![compare(bytes)], ..of(vec![request]) };
    let ops = [
        Op::Put(put("a", value(REQUEST_BYTES_MAX - 100))),
        Op::Put(put("a", value(REQUEST_BYTES_MAX + 100))),
        Op::Put(put("", value(REQUEST_BYTES_MAX + 100))),
        Op::Put(put("a", value((2 << 20) + 100))),
        Op::Txn(txn(REQUEST_BYTES_MAX + 100, Request::RequestPut(put("a", "")))),
        // What only reads is not put into the log.
        Op::Txn(txn(REQUEST_BYTES_MAX + 100, Request::RequestRange(all()))),
        Op::Range(all()),
    ];
    assert_eq!(pair.run(&ops).await, None);
    pair.stop().await;
}

#[tokio::test]
async fn short_leases_are_granted_and_run_out_alike() {
    let mut pair = Pair::start().await;
    for ttl in [i64::MIN, -5, 0, 1] {
        assert_eq!(pair.run(&[grant(7, ttl), Op::Revoke(7)]).await, None, "{ttl}");
    }
    assert_eq!(pair.run(&[Op::Watch(watch_all(0))]).await, None);
    let leased = |key| Request::RequestPut(PutRequest { lease: 7, ..put(key, "x") });
    for op in [grant(7, 3), Op::Txn(of(vec![leased("c"), leased("a"), leased("b")]))] {
        let (ours, theirs) = (pair.watchkeep.perform(&op).await, pair.etcd.perform(&op).await);
        assert!(ours.is_ok() && ours == theirs, "{ours:?} {theirs:?}");
    }
    for side in [&mut pair.watchkeep, &mut pair.etcd] {
        until_gone(side).await;
        side.end().await.expect("all events");
    }
    assert_eq!(pair.watchkeep.seen(), pair.etcd.seen());
    pair.stop().await;
}

/// Waits until there is nothing between `a` and `d`.
async fn until_gone(side: &mut Side) {
    let begin = Instant::now();
    let leased = RangeRequest { key: "a".into(), range_end: "d".into(), ..RangeRequest::default() };
    loop {
        match side.perform(&Op::Range(leased.clone())).await {
            Ok(Answer::Range(found)) if found.count == 0 => return,
            _ => assert!(begin.elapsed() < DEADLINE, "the lease does not run out"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn revisions_larger_than_a_message_are_watched_alike() {
    let mut pair = Pair::start().await;
    let large = |fill: u8| {
        let put = |n: u8| put(&format!("{n}"), vec![fill; 140_000]);
        Op::Txn(of((0..10).map(put).map(Request::RequestPut).collect()))
    };
    let watch = |fragment, start| Op::Watch(WatchCreateRequest { fragment, ..watch_all(start) });
    // With what was there before, one revision is 2.8 MB: more than one response may be.
    let ops = [
        watch(true, 0),
        watch(false, 0),
        large(b'x'),
        large(b'y'),
        watch(true, BEFORE + 1),
        watch(false, BEFORE + 1),
    ];
    assert!(pair.run(&ops).await.is_none(), "the events differ");
    pair.stop().await;
}

#[tokio::test]
async fn a_long_past_is_told_alike_before_and_after_a_restart() {
    let mut pair = Pair::start().await;
    let write = |round: usize| {
        let put = |n: usize| Request::RequestPut(put(&format!("k{n:03}"), format!("{round}")));
        Op::Txn(of((0..120).map(put).collect()))
    };
    let mut ops = vec![grant(7, 600), Op::Put(PutRequest { lease: 7, ..put("leased", "x") })];
    ops.extend((0..25).map(write));
    let reads = [
        Op::Watch(watch_all(BEFORE + 1)),
        Op::Watch(WatchCreateRequest { range_end: "k05".into(), ..watch_all(BEFORE + 9) }),
        Op::Range(RangeRequest { revision: BEFORE + 12, ..all() }),
        Op::Range(RangeRequest { limit: 100, keys_only: true, ..all() }),
        Op::TimeToLive(LeaseTimeToLiveRequest { id: 7, keys: true }),
        Op::Leases,
    ];
    ops.extend(reads.clone());
    assert_eq!(pair.run(&ops).await, None);
    let base = pair.etcd.base;

    let mut pair = pair.restart().await;
    // A leader that begins gives every lease its whole time, so what is left of it is not asked for.
    ops = reads.into_iter().filter(|op| !matches!(op, Op::TimeToLive(_))).collect();
    ops.extend([Op::Revoke(7), Op::Range(RangeRequest { keys_only: true, ..all() })]);
    assert_eq!(pair.run_from(base, &ops).await, None);
    pair.stop().await;
}
