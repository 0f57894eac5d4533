//! Transactions: compare, then one list of operations or the other.

use bytes::Bytes;
use serde::Serialize;
use watchkeep_api::etcdserverpb as pb;

use super::{ClientError, KeyValue, encode};

/// One condition.
#[derive(Debug, Clone)]
pub struct Compare(pb::Compare);

impl Compare {
    /// The key was created at `revision`; 0: there is no such key.
    #[must_use]
    pub fn create_revision(key: &str, revision: i64) -> Self {
        use pb::compare::{CompareTarget, TargetUnion};
        Self::equal(key, CompareTarget::Create, TargetUnion::CreateRevision(revision))
    }

    /// The key was last changed at `revision`; 0: there is no such key.
    #[must_use]
    pub fn mod_revision(key: &str, revision: i64) -> Self {
        use pb::compare::{CompareTarget, TargetUnion};
        Self::equal(key, CompareTarget::Mod, TargetUnion::ModRevision(revision))
    }

    /// The key has this value.
    #[must_use]
    pub fn value(key: &str, value: impl Into<Bytes>) -> Self {
        use pb::compare::{CompareTarget, TargetUnion};
        Self::equal(key, CompareTarget::Value, TargetUnion::Value(value.into()))
    }

    fn equal(
        key: &str,
        target: pb::compare::CompareTarget,
        union: pb::compare::TargetUnion,
    ) -> Self {
        Self(pb::Compare {
            result: pb::compare::CompareResult::Equal.into(),
            target: target.into(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            range_end: Bytes::new(),
            target_union: Some(union),
        })
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Op(pb::request_op::Request);

impl Op {
    /// Write under `lease` (0: none).
    #[must_use]
    pub fn put(key: &str, value: impl Into<Bytes>, lease: i64) -> Self {
        Self(pb::request_op::Request::RequestPut(pb::PutRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: value.into(),
            lease,
            ..Default::default()
        }))
    }

    /// Write a record as JSON, without a lease.
    ///
    /// # Errors
    /// When the record has no JSON form.
    pub fn put_json<T: Serialize>(key: &str, record: &T) -> Result<Self, ClientError> {
        Ok(Self::put(key, encode(key, record)?, 0))
    }

    /// Delete one key.
    #[must_use]
    pub fn delete(key: &str) -> Self {
        Self(pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        }))
    }

    /// Read one key.
    #[must_use]
    pub fn get(key: &str) -> Self {
        Self(pb::request_op::Request::RequestRange(pb::RangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        }))
    }
}

/// A transaction: when every condition holds, the one list runs, else the other; all at one revision.
#[derive(Debug, Clone, Default)]
pub struct Txn {
    compare: Vec<Compare>,
    then: Vec<Op>,
    otherwise: Vec<Op>,
}

impl Txn {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compare.push(compare);
        self
    }

    /// Adds an operation for when all conditions hold.
    #[must_use]
    pub fn then(mut self, op: Op) -> Self {
        self.then.push(op);
        self
    }

    /// Adds an operation for when one does not.
    #[must_use]
    pub fn otherwise(mut self, op: Op) -> Self {
        self.otherwise.push(op);
        self
    }

    pub(super) fn into_request(self) -> pb::TxnRequest {
        let ops = |ops: Vec<Op>| {
            ops.into_iter().map(|Op(request)| pb::RequestOp { request: Some(request) }).collect()
        };
        pb::TxnRequest {
            compare: self.compare.into_iter().map(|c| c.0).collect(),
            success: ops(self.then),
            failure: ops(self.otherwise),
        }
    }
}

/// What one operation answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpOutcome {
    /// The keys read.
    Get(Vec<KeyValue>),
    /// Written.
    Put,
    /// Keys deleted.
    Delete(i64),
}

/// What a transaction answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The revision afterwards.
    pub revision: i64,
    /// One per operation that ran.
    pub responses: Vec<OpOutcome>,
}

impl From<pb::TxnResponse> for TxnOutcome {
    fn from(answer: pb::TxnResponse) -> Self {
        use pb::response_op::Response;
        let responses = answer.responses.into_iter().filter_map(|op| match op.response? {
            Response::ResponseRange(r) => {
                Some(OpOutcome::Get(r.kvs.into_iter().map(KeyValue::from).collect()))
            }
            Response::ResponsePut(_) => Some(OpOutcome::Put),
            Response::ResponseDeleteRange(r) => Some(OpOutcome::Delete(r.deleted)),
            Response::ResponseTxn(_) => None,
        });
        Self {
            succeeded: answer.succeeded,
            responses: responses.collect(),
            revision: answer.header.map_or(0, |h| h.revision),
        }
    }
}
