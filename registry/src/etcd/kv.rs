//! `etcdserverpb.KV`.

use tonic::{Request, Response, Status};
use tracing::debug_span;
use watchkeep_api::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse, kv_server, request_op,
};

use super::{convert, errors::refused, header, limits, range_stream};
use crate::{
    auth::Caller,
    cluster::{Cluster, ClusterError},
    mvcc::{self, Refusal},
    schema::{Body, Compact, Op, OpKind, OpOutcomeKind, Outcome, Txn, TxnOutcome},
    spans::within,
    store::StoreView,
};

pub(super) struct Kv(pub(super) Cluster);

type Answer<T> = Result<Response<T>, Status>;

impl Kv {
    /// Proposes one writing operation and returns its answer.
    async fn write(&self, caller: &Caller, kind: OpKind) -> Result<(OpOutcomeKind, i64), Status> {
        let txn = Txn { success: vec![Op { kind: Some(kind) }], ..Txn::default() };
        let (mut outcome, revision) = self.propose(caller, txn).await?;
        let op = outcome.ops.pop().and_then(|op| op.kind);
        Ok((op.ok_or_else(|| Status::internal("the state machine gave no answer"))?, revision))
    }

    async fn propose(&self, caller: &Caller, txn: Txn) -> Result<(TxnOutcome, i64), Status> {
        let outcome = accepted(self.0.propose_for(caller, Body::Txn(txn)).await?)?;
        let revision = outcome.revision;
        let txn =
            outcome.txn.ok_or_else(|| Status::internal("the state machine gave no answer"))?;
        // The revision of this transaction, not of what came after it.
        Ok((txn, revision))
    }

    /// A view, and the life of the state it is of.
    async fn view(&self, serializable: bool) -> Result<(StoreView, u64), ClusterError> {
        if !serializable {
            // A member that catches up by a snapshot gets there, and then has what is asked for.
            self.0.catch_up().await?;
        }
        let life = self.0.store().life().ok_or(ClusterError::Replaced)?;
        let view = self.0.store().view();
        Ok((view, life))
    }

    /// Reads, large ranges away from the threads that keep time. What was read while a snapshot replaced the state is
    /// not given out.
    async fn read<T: Send + 'static>(
        &self,
        (view, life): (StoreView, u64),
        work: impl FnOnce(&StoreView) -> Result<Result<T, Refusal>, mvcc::ViewError> + Send + 'static,
        small: bool,
    ) -> Result<T, Status> {
        let result = if small {
            work(&view)
        } else {
            let joined = tokio::task::spawn_blocking(move || work(&view)).await;
            joined.map_err(|e| Status::internal(e.to_string()))?
        };
        if self.0.store().life() != Some(life) {
            return Err(ClusterError::Replaced.into());
        }
        result.map_err(ClusterError::from)?.map_err(refused)
    }
}

/// Whether a reading transaction asks for no quorum (etcd: `IsTxnSerializable`): all that it may do is a range that says so.
fn is_serializable(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| {
        matches!(&op.request, Some(request_op::Request::RequestRange(range)) if range.serializable)
    })
}

/// The outcome, unless the state machine refused.
pub(super) fn accepted(outcome: Outcome) -> Result<Outcome, Status> {
    match Refusal::from_number(outcome.refusal) {
        Some(refusal) => Err(refused(refusal)),
        None if outcome.refusal != 0 => Err(Status::internal("a newer member refused the request")),
        None => Ok(outcome),
    }
}

#[tonic::async_trait]
impl kv_server::Kv for Kv {
    type RangeStreamStream = range_stream::Parts;

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Answer<Self::RangeStreamStream> {
        let caller = Caller::of(&request, &self.0);
        let request = request.into_inner();
        range_stream::check(&request)?;
        self.0.metrics().etcd.range();
        Ok(Response::new(range_stream::stream(self.0.clone(), caller, request)))
    }

    async fn range(&self, request: Request<RangeRequest>) -> Answer<RangeResponse> {
        let caller = Caller::of(&request, &self.0);
        let request = request.into_inner();
        limits::check_range(&request)?;
        self.0.metrics().etcd.range();
        let _permit = self.0.admit()?;
        let work = async {
            let read = self.view(request.serializable).await?;
            let (current, compacted) =
                (read.0.applied().revision, read.0.applied().compact_revision);
            let small = request.range_end.is_empty();
            let request = convert::range(request);
            self.0.auth().check_range(&caller, &request)?;
            let work = move |view: &StoreView| mvcc::range(view, &request, current, compacted);
            let outcome = self.read(read, work, small).await?;
            let response = convert::range_response(outcome);
            Ok(Response::new(RangeResponse { header: header(&self.0, current), ..response }))
        };
        within(debug_span!("etcd.range"), work).await
    }

    async fn put(&self, request: Request<PutRequest>) -> Answer<PutResponse> {
        let caller = Caller::of(&request, &self.0);
        let request = request.into_inner();
        limits::check_put(&request)?;
        limits::check_size(&request)?;
        let _permit = self.0.admit()?;
        let kind = OpKind::Put(convert::put(request));
        let writing = self.write(&caller, kind);
        let (kind, revision) = within(debug_span!("etcd.put"), writing).await?;
        let OpOutcomeKind::Put(outcome) = kind else {
            return Err(Status::internal("the state machine answered something else"));
        };
        let response = convert::put_response(outcome);
        Ok(Response::new(PutResponse { header: header(&self.0, revision), ..response }))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Answer<DeleteRangeResponse> {
        let caller = Caller::of(&request, &self.0);
        let request = request.into_inner();
        limits::check_delete(&request)?;
        limits::check_size(&request)?;
        let _permit = self.0.admit()?;
        let kind = OpKind::Delete(convert::delete(request));
        let writing = self.write(&caller, kind);
        let (kind, revision) = within(debug_span!("etcd.delete_range"), writing).await?;
        let OpOutcomeKind::Delete(outcome) = kind else {
            return Err(Status::internal("the state machine answered something else"));
        };
        let response = convert::delete_response(outcome);
        Ok(Response::new(DeleteRangeResponse { header: header(&self.0, revision), ..response }))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Answer<TxnResponse> {
        let caller = Caller::of(&request, &self.0);
        let request = request.into_inner();
        limits::check_txn(&request)?;
        let size = limits::check_size(&request);
        let _permit = self.0.admit()?;
        let serializable = is_serializable(&request);
        let txn = convert::txn(request);
        let span = debug_span!("etcd.txn");
        let (outcome, revision) = if mvcc::is_read_only(&txn) {
            let read = within(span, self.view(serializable)).await?;
            let (current, compacted) =
                (read.0.applied().revision, read.0.applied().compact_revision);
            self.0.auth().check_txn::<Status>(&caller, &txn, &read.0)?;
            let work = move |view: &StoreView| mvcc::read_only(view, &txn, current, compacted);
            (self.read(read, work, false).await?, current)
        } else {
            // Only what goes into the log is limited.
            size?;
            within(span, self.propose(&caller, txn)).await?
        };
        Ok(Response::new(convert::txn_response(&self.0, outcome, revision)))
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Answer<CompactionResponse> {
        let caller = Caller::of(&request, &self.0);
        let request = request.into_inner();
        let _permit = self.0.admit()?;
        let body = Body::Compact(Compact { revision: request.revision });
        let outcome = accepted(self.0.propose_for(&caller, body).await?)?;
        if request.physical {
            self.0.store().rewrite().await.map_err(|e| Status::internal(e.to_string()))?;
        }
        Ok(Response::new(CompactionResponse { header: header(&self.0, outcome.revision) }))
    }
}
