//! All services of the client listener. Those that are called most are found without a router, and their messages are not
//! wrapped on the way: at a hundred thousand requests in a few seconds that is a tenth of what a read costs.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::Router;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tonic::{body::Body, codegen::StdError, service::Routes};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tower::Service;
use watchkeep_api::{
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer,
    },
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};

use super::{
    GateLayer, MESSAGE_BYTES_MAX, auth, cluster::ClusterService, election, kv, lease, lock,
    maintenance::Maintenance, queue::Queues, reflection, watch::Watch,
};
use crate::cluster::Cluster;

/// The services. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Services(Arc<All>);

struct All {
    often: Often,
    /// Every service, those that are called often, too.
    others: Router,
}

/// The services that nearly all calls go to.
#[derive(Clone)]
struct Often {
    kv: KvServer<kv::Kv>,
    watch: Watch,
    lease: LeaseServer<lease::Lease>,
}

impl Services {
    /// Locks and elections are made of the others.
    pub(crate) fn new(cluster: &Cluster, seed: u64, health: &HealthReporter) -> Self {
        let often = Often {
            kv: KvServer::new(kv::Kv(cluster.clone()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(usize::MAX),
            watch: Watch(cluster.clone()),
            lease: LeaseServer::new(lease::Lease::new(cluster.clone(), seed)),
        };
        let Often { kv, watch, lease } = often.clone();
        let base = Routes::new(kv)
            .add_service(watch)
            .add_service(lease)
            .add_service(ClusterServer::new(ClusterService(cluster.clone())))
            .add_service(AuthServer::new(auth::Auth(cluster.clone())))
            .add_service(MaintenanceServer::new(Maintenance::new(cluster.clone())));
        let queues = Queues::new(base.clone().into_axum_router().layer(GateLayer(cluster.clone())));
        let all = base
            .add_service(LockServer::new(lock::Lock(queues.clone())))
            .add_service(ElectionServer::new(election::Election(queues)))
            .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())));
        let all = reflection::add(all).expect("build.rs compiled these: a test asks for them");
        Self(Arc::new(All { often, others: all.into_axum_router() }))
    }
}

impl<B> Service<Request<B>> for Services
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As all of them are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let All { often, others } = &*self.0;
        let service = request.uri().path().trim_start_matches('/').split('/').next();
        match service.unwrap_or_default() {
            "etcdserverpb.KV" => often.kv.clone().call(request),
            "etcdserverpb.Watch" => often.watch.clone().call(request),
            "etcdserverpb.Lease" => often.lease.clone().call(request),
            _ => {
                let answering = others.clone().call(request);
                Box::pin(async move { answering.await.map(|answer| answer.map(Body::new)) })
            }
        }
    }
}
