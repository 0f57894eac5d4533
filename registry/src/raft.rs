//! The only place that names openraft.

mod machine;
mod network;
mod peers;
mod pipeline;
mod policy;
mod restored;
mod service;
pub(crate) mod types;

pub(crate) use machine::{SnapshotData, StateMachine, stored_membership};
pub(crate) use network::Network;
pub(crate) use peers::{PeerError, Peers};
pub(crate) use policy::{raft_config, run_snapshots, timing};
pub(crate) use restored::{at_beginning, begin_log};
pub(crate) use service::PeerService;
