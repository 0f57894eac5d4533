//! `etcdserverpb.Maintenance`.

use prometheus::Histogram;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use watchkeep_api::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeInfo, DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest,
    HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, StatusRequest,
    StatusResponse, alarm_request::AlarmAction, downgrade_request::DowngradeAction,
    maintenance_server,
};

use super::{
    ETCD_VERSION,
    errors::refused,
    header,
    kv::accepted,
    snapshot::{Pieces, Snapshots},
};
use crate::{
    cluster::{Cluster, ClusterError},
    mvcc::{self, Refusal, ViewError},
    node::raft_numbers,
    schema::{Alarm, Body},
    store::StoreView,
};

/// Whole states hashed at once.
const HASHES_MAX: usize = 2;

pub(super) struct Maintenance(Cluster, Snapshots, Semaphore);

type Answer<T> = Result<Response<T>, Status>;

impl Maintenance {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self(cluster.clone(), Snapshots::new(cluster), Semaphore::new(HASHES_MAX))
    }

    fn revision(&self) -> i64 {
        self.0.store().applied().revision
    }

    /// A view of this member's own state, and the life of the state it is of.
    fn view(&self) -> Result<(StoreView, u64), ClusterError> {
        let life = self.0.store().life().ok_or(ClusterError::Replaced)?;
        Ok((self.0.store().view(), life))
    }

    /// Hashes away from the threads that keep time. What was read while a snapshot replaced the state is not given out.
    async fn hashed(
        &self,
        (view, life): (StoreView, u64),
        seconds: &Histogram,
        hash: impl FnOnce(&StoreView) -> Result<u32, ViewError> + Send + 'static,
    ) -> Result<u32, Status> {
        let _permit = self.2.try_acquire().map_err(|_| ClusterError::TooManyRequests)?;
        let _timer = seconds.start_timer();
        let joined = tokio::task::spawn_blocking(move || hash(&view)).await;
        let hashed = joined.map_err(|e| Status::internal(e.to_string()))?;
        if self.0.store().life() != Some(life) {
            return Err(ClusterError::Replaced.into());
        }
        Ok(hashed.map_err(ClusterError::from)?)
    }
}

/// What a member may answer of an alarm: none of a kind that there is not.
fn alarm_member((kind, member_id): (u32, u64)) -> Option<AlarmMember> {
    let alarm = AlarmType::try_from(i32::try_from(kind).ok()?).ok()?;
    Some(AlarmMember { member_id, alarm: alarm.into() })
}

#[tonic::async_trait]
impl maintenance_server::Maintenance for Maintenance {
    type SnapshotStream = Pieces;

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let stats = self.0.store().stats();
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let numbers = raft_numbers(self.0.raft());
        let leader = numbers.leader.unwrap_or_default();
        let mut errors = Vec::new();
        if !self.0.has_leader() {
            errors.push("etcdserver: no leader".to_owned());
        }
        let alarms = mvcc::alarms(&self.0.store().view()).map_err(ClusterError::from)?;
        errors.extend(alarms.into_iter().filter_map(alarm_member).map(|alarm| {
            format!("memberID:{} alarm:{}", alarm.member_id, alarm.alarm().as_str_name())
        }));
        Ok(Response::new(StatusResponse {
            header: header(&self.0, self.revision()),
            version: ETCD_VERSION.to_owned(),
            // What is in memory only is in the log, too: it counts, as the rest of the database does.
            db_size: bytes(stats.disk_bytes + stats.memtable_bytes as u64),
            leader,
            raft_index: numbers.committed,
            raft_term: numbers.term,
            raft_applied_index: numbers.applied,
            errors,
            db_size_in_use: bytes(stats.disk_bytes + stats.memtable_bytes as u64),
            is_learner: numbers.is_learner,
            storage_version: ETCD_VERSION.to_owned(),
            db_size_quota: 0,
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    /// There is nothing to defragment: storage compacts itself in the background.
    async fn defragment(&self, _: Request<DefragmentRequest>) -> Answer<DefragmentResponse> {
        Ok(Response::new(DefragmentResponse { header: header(&self.0, self.revision()) }))
    }

    async fn alarm(&self, request: Request<AlarmRequest>) -> Answer<AlarmResponse> {
        let _permit = self.0.admit()?;
        let request = request.into_inner();
        let kind = match request.alarm() {
            AlarmType::None => 0,
            AlarmType::Nospace => mvcc::NO_SPACE,
            AlarmType::Corrupt => mvcc::CORRUPT,
        };
        let (revision, alarms) = match request.action() {
            AlarmAction::Get => {
                let view = self.0.linearizable_view().await?;
                let mut alarms = mvcc::alarms(&view).map_err(ClusterError::from)?;
                alarms.retain(|alarm| kind == 0 || alarm.0 == kind);
                (view.applied().revision, alarms)
            }
            // As in etcd: no alarm of no kind.
            AlarmAction::Activate | AlarmAction::Deactivate if kind == 0 => {
                (self.revision(), Vec::new())
            }
            action => {
                let raise = action == AlarmAction::Activate;
                let body = Body::Alarm(Alarm { raise, member: request.member_id, kind });
                let outcome = accepted(self.0.propose(body).await?)?;
                let alarm = outcome.alarm.then_some((kind, request.member_id));
                (outcome.revision, alarm.into_iter().collect())
            }
        };
        let alarms = alarms.into_iter().filter_map(alarm_member).collect();
        Ok(Response::new(AlarmResponse { header: header(&self.0, revision), alarms }))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Answer<MoveLeaderResponse> {
        self.0.move_leader(request.into_inner().target_id).await?;
        Ok(Response::new(MoveLeaderResponse { header: header(&self.0, self.revision()) }))
    }

    async fn hash(&self, _: Request<HashRequest>) -> Answer<HashResponse> {
        let view = self.view()?;
        let (revision, compacted) = (view.0.applied().revision, view.0.applied().compact_revision);
        let seconds = &self.0.metrics().etcd.hash_seconds;
        let hash = move |view: &StoreView| mvcc::hash_all(view, revision, compacted);
        let hash = self.hashed(view, seconds, hash).await?;
        Ok(Response::new(HashResponse { header: header(&self.0, revision), hash }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Answer<HashKvResponse> {
        let asked = request.into_inner().revision;
        let view = self.view()?;
        let (current, compacted) = (view.0.applied().revision, view.0.applied().compact_revision);
        if asked > 0 && asked < compacted {
            return Err(refused(Refusal::Compacted));
        }
        if asked > current {
            return Err(refused(Refusal::FutureRevision));
        }
        let hash_revision = if asked > 0 { asked } else { current };
        let seconds = &self.0.metrics().etcd.hash_rev_seconds;
        let hash = move |view: &StoreView| mvcc::hash_kv(view, hash_revision, compacted);
        let hash = self.hashed(view, seconds, hash).await?;
        Ok(Response::new(HashKvResponse {
            header: header(&self.0, current),
            hash,
            // etcd's number for a store that was never compacted.
            compact_revision: if compacted == 0 { -1 } else { compacted },
            hash_revision,
        }))
    }

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Answer<Self::SnapshotStream> {
        Ok(Response::new(self.1.begin()?))
    }

    /// There is no version below this one that could read this one's data: every version that is asked for is refused, in
    /// etcd's words.
    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Answer<DowngradeResponse> {
        let request = request.into_inner();
        Err(match request.action() {
            DowngradeAction::Cancel => {
                Status::failed_precondition("etcdserver: no inflight downgrade job")
            }
            DowngradeAction::Validate | DowngradeAction::Enable if is_version(&request.version) => {
                Status::invalid_argument("etcdserver: invalid downgrade target version")
            }
            DowngradeAction::Validate | DowngradeAction::Enable => {
                Status::invalid_argument("etcdserver: wrong downgrade target version format")
            }
        })
    }
}

/// `major.minor` or `major.minor.patch`, with whatever follows a hyphen or a plus.
fn is_version(text: &str) -> bool {
    let text = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = text.split('.').collect();
    (2..=3).contains(&parts.len()) && parts.iter().all(|part| part.parse::<u32>().is_ok())
}
