//! `etcdserverpb.Lease`.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use futures::Stream;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use watchkeep_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server,
};

use super::{errors::BadRequest, header, kv::accepted};
use crate::{
    auth::Caller,
    cluster::{Cluster, ClusterError},
    mvcc,
    schema::{Body, Grant, Revoke},
};

/// Longest TTL: etcd's.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;
/// Answers that wait on one keep-alive stream.
const ANSWERS_MAX: usize = 16;

pub(super) struct Lease {
    cluster: Cluster,
    random: Mutex<StdRng>,
}

impl Lease {
    pub(super) fn new(cluster: Cluster, seed: u64) -> Self {
        Self { cluster, random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// An id that nobody has chosen: positive, as etcd's are.
    fn new_id(&self) -> i64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(1..i64::MAX)
    }
}

/// Whether a caller may renew a lease: as this member knows its keys, since nothing of a renewal is in the log.
fn check_renewal(cluster: &Cluster, caller: &Caller, id: i64) -> Result<(), Status> {
    let auth = cluster.auth();
    if auth.enabled() { auth.check_lease(caller, id, &cluster.store().view()) } else { Ok(()) }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl lease_server::Lease for Lease {
    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Answer<LeaseGrantResponse> {
        let caller = Caller::of(&request, &self.cluster);
        let LeaseGrantRequest { ttl, id } = request.into_inner();
        if ttl > TTL_SECONDS_MAX {
            return Err(BadRequest::LeaseTtlTooLarge.into());
        }
        let _permit = self.cluster.admit()?;
        let ttl_seconds = ttl.max(1);
        let id = if id == 0 { self.new_id() } else { id };
        let outcome = accepted(
            self.cluster.propose_for(&caller, Body::Grant(Grant { id, ttl_seconds })).await?,
        )?;
        Ok(Response::new(LeaseGrantResponse {
            header: header(&self.cluster, outcome.revision),
            id,
            ttl: ttl_seconds,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Answer<LeaseRevokeResponse> {
        let caller = Caller::of(&request, &self.cluster);
        let id = request.into_inner().id;
        let _permit = self.cluster.admit()?;
        let outcome = accepted(
            self.cluster.propose_for(&caller, Body::Revoke(Revoke { id, term: 0 })).await?,
        )?;
        Ok(Response::new(LeaseRevokeResponse { header: header(&self.cluster, outcome.revision) }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let caller = Caller::of(&request, &self.cluster);
        let mut requests = request.into_inner();
        let (answers, stream) = tokio::sync::mpsc::channel(ANSWERS_MAX);
        let cluster = self.cluster.clone();
        tokio::spawn(async move {
            while let Some(Ok(LeaseKeepAliveRequest { id })) = requests.next().await {
                if let Err(denied) = check_renewal(&cluster, &caller, id) {
                    let _ = answers.send(Err(denied)).await;
                    return;
                }
                let answer = match cluster.lease(id, true).await {
                    Ok(left) => Ok(LeaseKeepAliveResponse {
                        header: header(&cluster, cluster.store().applied().revision),
                        id,
                        ttl: if left.left_ms < 0 { 0 } else { left.granted_seconds },
                    }),
                    Err(error) => Err(Status::from(error)),
                };
                let failed = answer.is_err();
                if answers.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Answer<LeaseTimeToLiveResponse> {
        let caller = Caller::of(&request, &self.cluster);
        let request = request.into_inner();
        let left = self.cluster.lease(request.id, false).await?;
        let view = self.cluster.linearizable_view().await?;
        let revision = view.applied().revision;
        let mut response = LeaseTimeToLiveResponse {
            header: header(&self.cluster, revision),
            id: request.id,
            ttl: -1,
            ..LeaseTimeToLiveResponse::default()
        };
        if left.left_ms >= 0 {
            response.ttl = left.left_ms / 1_000;
            response.granted_ttl = left.granted_seconds;
            if request.keys {
                let auth = self.cluster.auth();
                auth.check_lease_keys::<Status>(&caller, [request.id], &view)?;
                response.keys = mvcc::lease_keys(&view, request.id).map_err(ClusterError::from)?;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Answer<LeaseLeasesResponse> {
        let caller = Caller::of(&request, &self.cluster);
        let view = self.cluster.linearizable_view().await?;
        let mut leases = mvcc::leases(&view).map_err(ClusterError::from)?;
        let ids = leases.iter().map(|(id, _)| *id);
        self.cluster.auth().check_lease_keys::<Status>(&caller, ids, &view)?;
        // etcd: the one that runs out first comes first. A member that does not lead knows no renewals.
        let deadlines = self.cluster.lessor().deadlines();
        leases.sort_by_key(|(id, lease)| {
            let granted_until = lease.granted_ms.saturating_add(lease.ttl_seconds * 1_000);
            (deadlines.get(id), granted_until, *id)
        });
        Ok(Response::new(LeaseLeasesResponse {
            header: header(&self.cluster, view.applied().revision),
            leases: leases.into_iter().map(|(id, _)| LeaseStatus { id }).collect(),
        }))
    }
}
