//! Between the wire's messages and the core's types.

use watchkeep_api::{etcdserverpb as pb, mvccpb};

use super::header;
use crate::{
    cluster::Cluster,
    schema::{
        Compare, Delete, DeleteOutcome, Event, KeyValue, Op, OpKind, OpOutcome, OpOutcomeKind, Put,
        PutOutcome, Range, RangeOutcome, Target, Txn, TxnOutcome,
    },
};

pub(super) fn range(r: pb::RangeRequest) -> Range {
    // etcd: with a target but no order, everything except keys sorts ascending.
    Range {
        key: r.key,
        range_end: r.range_end,
        limit: r.limit,
        revision: r.revision,
        sort_order: r.sort_order,
        sort_target: r.sort_target,
        keys_only: r.keys_only,
        count_only: r.count_only,
        min_mod_revision: r.min_mod_revision,
        max_mod_revision: r.max_mod_revision,
        min_create_revision: r.min_create_revision,
        max_create_revision: r.max_create_revision,
    }
}

pub(super) fn put(r: pb::PutRequest) -> Put {
    Put {
        key: r.key,
        value: r.value,
        lease: r.lease,
        prev_kv: r.prev_kv,
        ignore_value: r.ignore_value,
        ignore_lease: r.ignore_lease,
    }
}

pub(super) fn delete(r: pb::DeleteRangeRequest) -> Delete {
    Delete { key: r.key, range_end: r.range_end, prev_kv: r.prev_kv }
}

pub(super) fn txn(r: pb::TxnRequest) -> Txn {
    Txn {
        compare: r.compare.into_iter().map(compare).collect(),
        success: r.success.into_iter().map(op).collect(),
        failure: r.failure.into_iter().map(op).collect(),
    }
}

fn compare(c: pb::Compare) -> Compare {
    use pb::compare::{CompareTarget, TargetUnion};
    // An operand that was left out is the target's zero; a target that is not known is none.
    let target =
        CompareTarget::try_from(c.target).ok().map(|target| match (target, c.target_union) {
            (CompareTarget::Version, Some(TargetUnion::Version(v))) => Target::Version(v),
            (CompareTarget::Create, Some(TargetUnion::CreateRevision(v))) => Target::Create(v),
            (CompareTarget::Mod, Some(TargetUnion::ModRevision(v))) => Target::Mod(v),
            (CompareTarget::Value, Some(TargetUnion::Value(v))) => Target::Value(v),
            (CompareTarget::Lease, Some(TargetUnion::Lease(v))) => Target::Lease(v),
            (CompareTarget::Version, _) => Target::Version(0),
            (CompareTarget::Create, _) => Target::Create(0),
            (CompareTarget::Mod, _) => Target::Mod(0),
            (CompareTarget::Value, _) => Target::Value(bytes::Bytes::new()),
            (CompareTarget::Lease, _) => Target::Lease(0),
        });
    Compare { result: c.result, key: c.key, range_end: c.range_end, target }
}

fn op(op: pb::RequestOp) -> Op {
    use pb::request_op::Request;
    let kind = op.request.map(|request| match request {
        Request::RequestRange(r) => OpKind::Range(range(r)),
        Request::RequestPut(r) => OpKind::Put(put(r)),
        Request::RequestDeleteRange(r) => OpKind::Delete(delete(r)),
        Request::RequestTxn(r) => OpKind::Txn(txn(r)),
    });
    Op { kind }
}

pub(super) fn kv(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

pub(super) fn event(event: &Event, prev: Option<KeyValue>) -> mvccpb::Event {
    let kind = if event.deleted {
        mvccpb::event::EventType::Delete
    } else {
        mvccpb::event::EventType::Put
    };
    mvccpb::Event { r#type: kind.into(), kv: Some(kv(event.kv.clone())), prev_kv: prev.map(kv) }
}

pub(super) fn range_response(outcome: RangeOutcome) -> pb::RangeResponse {
    pb::RangeResponse {
        header: inner_header(outcome.revision),
        kvs: outcome.kvs.into_iter().map(kv).collect(),
        more: outcome.more,
        count: outcome.count,
    }
}

pub(super) fn put_response(outcome: PutOutcome) -> pb::PutResponse {
    pb::PutResponse { header: inner_header(outcome.revision), prev_kv: outcome.prev.map(kv) }
}

pub(super) fn delete_response(outcome: DeleteOutcome) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header: inner_header(outcome.revision),
        deleted: outcome.deleted,
        prev_kvs: outcome.prev.into_iter().map(kv).collect(),
    }
}

/// An answer inside a transaction carries only the revision.
fn inner_header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..pb::ResponseHeader::default() })
}

pub(super) fn txn_response(
    cluster: &Cluster,
    outcome: TxnOutcome,
    revision: i64,
) -> pb::TxnResponse {
    pb::TxnResponse { header: header(cluster, revision), ..inner_txn_response(outcome) }
}

pub(super) fn inner_txn_response(outcome: TxnOutcome) -> pb::TxnResponse {
    pb::TxnResponse {
        header: Some(pb::ResponseHeader::default()),
        succeeded: outcome.succeeded,
        responses: outcome.ops.into_iter().map(op_response).collect(),
    }
}

fn op_response(op: OpOutcome) -> pb::ResponseOp {
    use pb::response_op::Response;
    let response = op.kind.map(|kind| match kind {
        OpOutcomeKind::Range(outcome) => Response::ResponseRange(range_response(outcome)),
        OpOutcomeKind::Put(outcome) => Response::ResponsePut(put_response(outcome)),
        OpOutcomeKind::Delete(outcome) => Response::ResponseDeleteRange(delete_response(outcome)),
        OpOutcomeKind::Txn(outcome) => Response::ResponseTxn(inner_txn_response(outcome)),
    });
    pb::ResponseOp { response }
}
