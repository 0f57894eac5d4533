//! The etcd v3 services: a file each. Here the wire's messages end and the core's types begin.

mod auth;
mod cluster;
mod convert;
mod election;
mod errors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gate;
mod kv;
mod lease;
mod limits;
mod lock;
mod maintenance;
pub(crate) mod oversize;
mod queue;
mod range_stream;
mod reflection;
mod require_leader;
mod snapshot;
mod watch;

use tonic::service::Routes;
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use watchkeep_api::{
    etcdserverpb::{
        ResponseHeader, auth_server::AuthServer, cluster_server::ClusterServer,
        kv_server::KvServer, lease_server::LeaseServer, maintenance_server::MaintenanceServer,
    },
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};

pub(crate) use gate::GateLayer;
pub(crate) use require_leader::RequireLeaderLayer;

use crate::cluster::Cluster;

/// Largest message read at all: etcd's request limit and its overhead.
const MESSAGE_BYTES_MAX: usize = limits::REQUEST_BYTES_MAX + (512 << 10);

/// etcd's version that is answered to clients: the one whose semantics hold.
pub(crate) const ETCD_VERSION: &str = "3.7.0";

/// All services of the client listener. Locks and elections are made of the others.
pub(crate) fn routes(cluster: &Cluster, seed: u64, health: &HealthReporter) -> Routes {
    let base = base(cluster, seed);
    let queues =
        queue::Queues::new(base.clone().into_axum_router().layer(GateLayer(cluster.clone())));
    let all = base
        .add_service(LockServer::new(lock::Lock(queues.clone())))
        .add_service(ElectionServer::new(election::Election(queues)))
        .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())));
    reflection::add(all).expect("build.rs compiled these descriptors: a test asks for them")
}

/// The services over the state itself.
fn base(cluster: &Cluster, seed: u64) -> Routes {
    Routes::new(
        KvServer::new(kv::Kv(cluster.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(usize::MAX),
    )
    .add_service(watch::Watch(cluster.clone()))
    .add_service(LeaseServer::new(lease::Lease::new(cluster.clone(), seed)))
    .add_service(ClusterServer::new(cluster::ClusterService(cluster.clone())))
    .add_service(AuthServer::new(auth::Auth(cluster.clone())))
    .add_service(MaintenanceServer::new(maintenance::Maintenance::new(cluster.clone())))
}

/// The header of every answer.
fn header(cluster: &Cluster, revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: cluster.cluster_id(),
        member_id: cluster.id(),
        revision,
        raft_term: cluster.term(),
    })
}
