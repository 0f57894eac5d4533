//! `etcdserverpb.Maintenance`.

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status};
use watchkeep_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest,
    MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
    maintenance_server,
};

use super::{ETCD_VERSION, header};
use crate::{cluster::Cluster, node::raft_numbers};

pub(super) struct Maintenance(pub(super) Cluster);

type Answer<T> = Result<Response<T>, Status>;

fn later(what: &str) -> Status {
    Status::unimplemented(format!("watchkeep: {what} is not there yet"))
}

#[tonic::async_trait]
impl maintenance_server::Maintenance for Maintenance {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let stats = self.0.store().stats();
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let in_use: u64 = stats.tables.iter().map(|table| table.disk_bytes).sum();
        let numbers = raft_numbers(self.0.raft());
        let leader = numbers.leader.unwrap_or_default();
        Ok(Response::new(StatusResponse {
            header: header(&self.0, self.0.store().applied().revision),
            version: ETCD_VERSION.to_owned(),
            db_size: bytes(in_use + stats.journal_bytes),
            leader,
            raft_index: numbers.committed,
            raft_term: numbers.term,
            raft_applied_index: numbers.applied,
            errors: if self.0.has_leader() {
                Vec::new()
            } else {
                vec!["etcdserver: no leader".to_owned()]
            },
            db_size_in_use: bytes(in_use),
            is_learner: numbers.is_learner,
        }))
    }

    /// There is nothing to defragment: storage compacts itself in the background.
    async fn defragment(&self, _: Request<DefragmentRequest>) -> Answer<DefragmentResponse> {
        Ok(Response::new(DefragmentResponse {
            header: header(&self.0, self.0.store().applied().revision),
        }))
    }

    /// No alarm is ever raised in this version, so the list is truly empty.
    async fn alarm(&self, _: Request<AlarmRequest>) -> Answer<AlarmResponse> {
        let header = header(&self.0, self.0.store().applied().revision);
        Ok(Response::new(AlarmResponse { header, alarms: Vec::new() }))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Answer<MoveLeaderResponse> {
        let target = request.into_inner().target_id;
        if self.0.leader() != Some(self.0.id()) {
            return Err(Status::failed_precondition("etcdserver: not leader"));
        }
        if !self.0.membership().iter().any(|(id, _, learner)| *id == target && !learner) {
            return Err(Status::failed_precondition("etcdserver: bad leader transferee"));
        }
        let moved = self.0.raft().trigger().transfer_leader(target).await;
        moved.map_err(|e| Status::unavailable(e.to_string()))?;
        Ok(Response::new(MoveLeaderResponse {
            header: header(&self.0, self.0.store().applied().revision),
        }))
    }

    async fn hash(&self, _: Request<HashRequest>) -> Answer<HashResponse> {
        Err(later("Hash"))
    }

    async fn hash_kv(&self, _: Request<HashKvRequest>) -> Answer<HashKvResponse> {
        Err(later("HashKV"))
    }

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        Err(later("Snapshot"))
    }

    async fn downgrade(&self, _: Request<DowngradeRequest>) -> Answer<DowngradeResponse> {
        Err(later("Downgrade"))
    }
}
