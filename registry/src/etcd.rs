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
mod services;
mod snapshot;
mod watch;

use watchkeep_api::etcdserverpb::ResponseHeader;

pub(crate) use gate::{Gate, GateLayer};
pub(crate) use require_leader::{RequireLeader, RequireLeaderLayer};
pub(crate) use services::Services;

use crate::cluster::Cluster;

/// Largest message read at all: etcd's request limit and its overhead.
const MESSAGE_BYTES_MAX: usize = limits::REQUEST_BYTES_MAX + (512 << 10);

/// etcd's version that is answered to clients: the one whose semantics hold.
pub(crate) const ETCD_VERSION: &str = "3.7.0";

/// The header of every answer.
fn header(cluster: &Cluster, revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: cluster.cluster_id(),
        member_id: cluster.id(),
        revision,
        raft_term: cluster.term(),
    })
}
