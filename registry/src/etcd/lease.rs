//! `etcdserverpb.Lease`.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use futures::{Stream, StreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tonic::{Request, Response, Status, Streaming};
use watchkeep_api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server,
};
use watchkeep_api::peer::LeaseResponse;

use super::{errors::BadRequest, header, kv::accepted, require_leader};
use crate::{
    auth::Caller,
    cluster::{Cluster, ClusterError},
    mvcc,
    schema::{Body, Grant, Revoke},
};

/// Longest TTL: etcd's.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;
/// Requests of one keep-alive stream that are renewed together.
const RENEWALS_MAX: usize = 256;

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

/// Reads tables away from the threads that keep time: leases and their keys may be many.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|e| Status::internal(e.to_string()))?
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
        let (cluster, caller) = (self.cluster.clone(), Caller::of(&request, &self.cluster));
        // What a client sends without waiting is renewed together.
        let require_leader = require_leader::asked(&request);
        let answers = request.into_inner().ready_chunks(RENEWALS_MAX).then(move |requests| {
            let (cluster, caller) = (cluster.clone(), caller.clone());
            async move { stream::iter(renew(&cluster, &caller, requests).await) }
        });
        let answers = answers.flatten();
        Ok(Response::new(if require_leader {
            Box::pin(require_leader::while_led(self.cluster.clone(), answers))
        } else {
            Box::pin(answers)
        }))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Answer<LeaseTimeToLiveResponse> {
        let caller = Caller::of(&request, &self.cluster);
        let request = request.into_inner();
        let _permit = self.cluster.admit()?;
        let left = self.cluster.lease(request.id).await?;
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
                let (cluster, id) = (self.cluster.clone(), request.id);
                response.keys = aside(move || {
                    cluster.auth().check_lease_keys::<Status>(&caller, [id], &view)?;
                    Ok(mvcc::lease_keys(&view, id).map_err(ClusterError::from)?)
                })
                .await?;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Answer<LeaseLeasesResponse> {
        let caller = Caller::of(&request, &self.cluster);
        let _permit = self.cluster.admit()?;
        let view = self.cluster.linearizable_view().await?;
        let (cluster, revision) = (self.cluster.clone(), view.applied().revision);
        let mut leases = aside(move || {
            let leases = mvcc::leases(&view).map_err(ClusterError::from)?;
            let ids = leases.iter().map(|(id, _)| *id);
            cluster.auth().check_lease_keys::<Status>(&caller, ids, &view)?;
            Ok(leases)
        })
        .await?;
        // etcd: the one that runs out first comes first. A member that does not lead knows no renewals.
        let deadlines = self.cluster.lessor().deadlines();
        leases.sort_by_key(|(id, lease)| {
            let granted_until = lease.granted_ms.saturating_add(lease.ttl_seconds * 1_000);
            (deadlines.get(id), granted_until, *id)
        });
        Ok(Response::new(LeaseLeasesResponse {
            header: header(&self.cluster, revision),
            leases: leases.into_iter().map(|(id, _)| LeaseStatus { id }).collect(),
        }))
    }
}

/// One answer to each request, in their order; an error ends the stream.
async fn renew(
    cluster: &Cluster,
    caller: &Caller,
    requests: Vec<Result<LeaseKeepAliveRequest, Status>>,
) -> Vec<Result<LeaseKeepAliveResponse, Status>> {
    let (mut ids, mut broken) = (Vec::with_capacity(requests.len()), None);
    for request in requests {
        let allowed = request.and_then(|LeaseKeepAliveRequest { id }| {
            check_renewal(cluster, caller, id).map(|()| id)
        });
        match allowed {
            Ok(id) => ids.push(id),
            Err(status) => {
                broken = Some(Err(status));
                break;
            }
        }
    }
    // From before the renewal: a client must not hear that a lease was renewed at a revision at which it was revoked.
    let header = header(cluster, cluster.store().applied().revision);
    let leases = match cluster.renew(ids.clone()).await {
        Ok(leases) => leases,
        Err(error) => return vec![Err(error.into())],
    };
    let answer = |(id, lease): (i64, LeaseResponse)| {
        // etcd: a lease that does not exist has no time left; that is no error.
        let ttl = if lease.left_ms < 0 { 0 } else { lease.granted_seconds };
        Ok(LeaseKeepAliveResponse { header, id, ttl })
    };
    ids.into_iter().zip(leases).map(answer).chain(broken).collect()
}
