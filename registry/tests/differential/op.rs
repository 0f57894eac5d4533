//! What a sequence does, and what comes back.
//!
//! A sequence is made before the store's revision is known, so a revision in it that is above zero counts from
//! [`BEFORE`] revisions before the one at which the sequence begins: 1 is long compacted, [`BEFORE`] the start itself,
//! and what is larger lies in the sequence or in the future. [`Op::rebased`] makes it real.

use tonic::{Code, Status};
use watchkeep_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchResponse, compare::TargetUnion, request_op::Request,
};

/// Relative revision at which a sequence begins.
pub(crate) const BEFORE: i64 = 6;

/// One request. A lease id below [`CHOSEN`] stands for the first, second, … lease whose id the server chose.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(i64),
    TimeToLive(LeaseTimeToLiveRequest),
    KeepAlive(i64),
    Leases,
    Watch(WatchCreateRequest),
    Cancel(i64),
    Progress,
}

/// See [`Op`].
pub(crate) const CHOSEN: i64 = -1_000;

/// The answer to one request, without what may differ: cluster, member, term, and lease ids the server chose.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Error {
        code: Code,
        message: String,
    },
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
    Grant(LeaseGrantResponse),
    Revoke(LeaseRevokeResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    KeepAlive(LeaseKeepAliveResponse),
    Leases(LeaseLeasesResponse),
    /// The control responses that a watch request brought.
    Watch(Vec<WatchResponse>),
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self::Error { code: status.code(), message: status.message().to_owned() }
    }
}

impl Answer {
    /// The store's revision that it tells.
    pub(crate) fn revision(&self) -> Option<i64> {
        let header = match self {
            Self::Error { .. } => None,
            Self::Range(r) => r.header,
            Self::Put(r) => r.header,
            Self::Delete(r) => r.header,
            Self::Txn(r) => r.header,
            Self::Compact(r) => r.header,
            Self::Grant(r) => r.header,
            Self::Revoke(r) => r.header,
            Self::TimeToLive(r) => r.header,
            Self::KeepAlive(r) => r.header,
            Self::Leases(r) => r.header,
            Self::Watch(r) => r.first().and_then(|r| r.header),
        };
        header.map(|header| header.revision)
    }
}

/// A header without cluster, member and term.
pub(crate) fn bare(header: Option<ResponseHeader>) -> Option<ResponseHeader> {
    header.map(|header| ResponseHeader { revision: header.revision, ..ResponseHeader::default() })
}

fn real(relative: i64, base: i64) -> i64 {
    if relative > 0 && relative < i64::MAX { base + relative - BEFORE } else { relative }
}

impl Op {
    /// The request as it is sent when the sequence begins at revision `base`.
    pub(crate) fn rebased(&self, base: i64) -> Self {
        match self.clone() {
            Self::Range(r) => Self::Range(range(r, base)),
            Self::Txn(r) => Self::Txn(txn(r, base)),
            Self::Compact(r) => {
                Self::Compact(CompactionRequest { revision: real(r.revision, base), ..r })
            }
            Self::Watch(r) => {
                let start_revision = real(r.start_revision, base);
                Self::Watch(WatchCreateRequest { start_revision, ..r })
            }
            other => other,
        }
    }
}

fn range(r: RangeRequest, base: i64) -> RangeRequest {
    RangeRequest {
        revision: real(r.revision, base),
        min_mod_revision: real(r.min_mod_revision, base),
        max_mod_revision: real(r.max_mod_revision, base),
        min_create_revision: real(r.min_create_revision, base),
        max_create_revision: real(r.max_create_revision, base),
        ..r
    }
}

fn txn(r: TxnRequest, base: i64) -> TxnRequest {
    let ops = |ops: Vec<RequestOp>| {
        let one = |op: RequestOp| RequestOp {
            request: op.request.map(|request| match request {
                Request::RequestRange(r) => Request::RequestRange(range(r, base)),
                Request::RequestTxn(r) => Request::RequestTxn(txn(r, base)),
                other => other,
            }),
        };
        ops.into_iter().map(one).collect()
    };
    let compare = |compare: Compare| Compare {
        target_union: compare.target_union.map(|target| match target {
            TargetUnion::CreateRevision(r) => TargetUnion::CreateRevision(real(r, base)),
            TargetUnion::ModRevision(r) => TargetUnion::ModRevision(real(r, base)),
            other => other,
        }),
        ..compare
    };
    TxnRequest {
        compare: r.compare.into_iter().map(compare).collect(),
        success: ops(r.success),
        failure: ops(r.failure),
    }
}
