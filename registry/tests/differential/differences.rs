//! The intended differences, each shown: when one of these tests fails, `docs/etcd-differences.md` is out of date.

use tonic::Code;
use watchkeep_api::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, WatchCreateRequest,
        WatchResponse, request_op::Request,
    },
};

use crate::{
    op::{Answer, Op},
    pair::Pair,
    scenarios::{all, of, put, watch_all},
    side::Side,
    user_op::{Tokens, UserOp, Who},
};

const LIST: &str = include_str!("../../../docs/etcd-differences.md");

fn is_listed(heading: &str) {
    assert!(LIST.contains(&format!("\n### {heading}\n")), "docs/etcd-differences.md: {heading}");
}

fn error(code: Code, message: &str) -> Result<Answer, String> {
    Ok(Answer::Error { code, message: message.to_owned() })
}

/// The control responses that a watch request brings.
async fn watched(side: &mut Side, request: WatchCreateRequest) -> Vec<WatchResponse> {
    match side.perform(&Op::Watch(request)).await {
        Ok(Answer::Watch(responses)) => responses,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_fault_of_a_transaction() {
    is_listed("The first fault of a transaction");
    let mut pair = Pair::start().await;
    let absent = put("absent", "");
    let needs_key = PutRequest { ignore_value: true, ..absent.clone() };
    let needs_both = PutRequest { lease: 9, ..needs_key.clone() };
    let future = RangeRequest { revision: 1_000_000, ..all() };
    let cases = [
        (
            of(vec![Request::RequestPut(needs_both)]),
            error(Code::NotFound, "etcdserver: requested lease not found"),
            error(Code::InvalidArgument, "etcdserver: key not found"),
        ),
        (
            of(vec![Request::RequestRange(future), Request::RequestPut(needs_key)]),
            error(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
            error(Code::InvalidArgument, "etcdserver: key not found"),
        ),
    ];
    for (txn, ours, theirs) in cases {
        let op = Op::Txn(txn);
        assert_eq!(pair.watchkeep.perform(&op).await, ours);
        assert_eq!(pair.etcd.perform(&op).await, theirs);
    }
    pair.stop().await;
}

#[tokio::test]
async fn what_takes_etcd_down() {
    is_listed("A put that relies on a key deleted in the same transaction");
    is_listed("A sort order or target that there is not");
    let mut pair = Pair::start().await;
    let clear = DeleteRangeRequest { key: "\0".into(), range_end: "\0".into(), prev_kv: false };
    let relies = PutRequest { ignore_value: true, ..put("a", "") };
    let txn = of(vec![Request::RequestDeleteRange(clear), Request::RequestPut(relies)]);
    assert!(pair.watchkeep.perform(&Op::Put(put("a", "1"))).await.is_ok());
    let refused = error(Code::InvalidArgument, "etcdserver: key not found");
    assert_eq!(pair.watchkeep.perform(&Op::Txn(txn)).await, refused);
    for request in
        [RangeRequest { sort_order: 9, ..all() }, RangeRequest { sort_target: 9, ..all() }]
    {
        let refused = error(Code::InvalidArgument, "etcdserver: invalid sort option");
        assert_eq!(pair.watchkeep.perform(&Op::Range(request)).await, refused);
    }
    pair.stop().await;
}

#[tokio::test]
async fn progress_without_watchers() {
    is_listed("A progress request on a stream without watchers");
    let mut pair = Pair::start().await;
    // The stream's own watcher over everything is taken away first: it is there for the test only.
    assert_eq!(pair.run(&[Op::Progress]).await, None);
    for side in [&mut pair.watchkeep, &mut pair.etcd] {
        side.cancel_everything().await.expect("canceled");
        assert!(matches!(side.ask_progress().await, Ok(Answer::Watch(told)) if told.len() == 1));
    }
    pair.stop().await;
}

#[tokio::test]
async fn a_store_never_compacted() {
    is_listed("A store that was never compacted");
    let mut pair = Pair::start().await;
    let op = Op::Compact(CompactionRequest { revision: 0, physical: false });
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(pair.watchkeep.perform(&op).await, error(Code::OutOfRange, compacted));
    assert!(matches!(pair.etcd.perform(&op).await, Ok(Answer::Compact(_))));
    pair.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored() {
    is_listed("The length of a key");
    is_listed("Transactions in transactions");
    let mut pair = Pair::start().await;
    let long = |bytes| Op::Put(put(&"k".repeat(bytes), ""));
    for bytes in [32_752, 32_753] {
        let theirs = pair.etcd.perform(&long(bytes)).await;
        assert!(matches!(theirs, Ok(Answer::Put(_))), "{theirs:?}");
    }
    assert!(matches!(pair.watchkeep.perform(&long(32_752)).await, Ok(Answer::Put(_))));
    let refused = "watchkeep: a key is longer than 32752 bytes";
    let ours = pair.watchkeep.perform(&long(32_753)).await;
    assert_eq!(ours, error(Code::InvalidArgument, refused));

    let nested = |depth| {
        let inner = of(vec![Request::RequestPut(put("a", ""))]);
        Op::Txn((0..depth).fold(inner, |inner, _| of(vec![Request::RequestTxn(inner)])))
    };
    assert!(matches!(pair.watchkeep.perform(&nested(16)).await, Ok(Answer::Txn(_))));
    let refused = "watchkeep: transactions are nested deeper than 16";
    let ours = pair.watchkeep.perform(&nested(17)).await;
    assert_eq!(ours, error(Code::InvalidArgument, refused));
    assert!(matches!(pair.etcd.perform(&nested(17)).await, Ok(Answer::Txn(_))));
    pair.stop().await;
}

#[tokio::test]
async fn watches_from_below_zero_and_from_a_tombstone() {
    is_listed("A watch from a negative revision");
    is_listed("A tombstone at the compacted revision");
    is_listed("The id of a watcher that a compaction ended");
    let mut pair = Pair::start().await;
    let delete = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    let ops = [
        Op::Put(put("a", "1")),
        Op::Delete(delete),
        Op::Compact(CompactionRequest { revision: 8, physical: true }),
        Op::Watch(WatchCreateRequest { watch_id: 5, ..watch_all(8) }),
        Op::Watch(WatchCreateRequest { watch_id: 6, ..watch_all(7) }),
    ];
    assert_eq!(pair.run(&ops).await, None);
    let tombstones = |side: &Side| side.everything(5).iter().filter(|e| e.r#type == 1).count();
    assert_eq!((tombstones(&pair.watchkeep), tombstones(&pair.etcd)), (1, 0));

    let below_zero = WatchCreateRequest { watch_id: 7, ..watch_all(-3) };
    let ours = watched(&mut pair.watchkeep, below_zero.clone()).await.remove(0);
    let theirs = watched(&mut pair.etcd, below_zero).await.remove(0);
    let reason = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!((ours.watch_id, ours.canceled, &ours.cancel_reason[..]), (-1, true, reason));
    assert_eq!((theirs.watch_id, theirs.canceled), (7, false));

    let again = WatchCreateRequest { watch_id: 6, ..watch_all(0) };
    for side in [&mut pair.watchkeep, &mut pair.etcd] {
        side.forget_the_dead();
    }
    assert!(!watched(&mut pair.watchkeep, again.clone()).await.remove(0).canceled);
    assert!(watched(&mut pair.etcd, again).await.remove(0).canceled);
    pair.stop().await;
}

#[tokio::test]
async fn a_permission_that_is_granted_again() {
    is_listed("A permission that is granted again");
    let mut pair = Pair::start().await;
    let grant = |kind: Type, end: &'static str| UserOp::Grant {
        role: "app",
        permission: Permission { perm_type: kind.into(), key: "a".into(), range_end: end.into() },
    };
    let steps = [
        UserOp::RoleAdd("app"),
        grant(Type::Readwrite, ""),
        grant(Type::Write, "c"),
        grant(Type::Read, "c"),
    ];
    let mut tokens = Tokens::default();
    for (side, permissions) in [(&mut pair.watchkeep, 2), (&mut pair.etcd, 3)] {
        for step in &steps {
            step.ask(Who::Nobody, side, &mut tokens).await.expect("done");
        }
        let role = UserOp::RoleGet("app").ask(Who::Nobody, side, &mut tokens).await.expect("it is");
        assert_eq!(role.matches("Permission {").count(), permissions, "{role}");
    }
    pair.stop().await;
}
