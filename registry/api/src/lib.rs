//! The etcd v3 API: what `protox` and `tonic` make of `proto/`, client and server; and the ways of a trace and of
//! TLS over the wire. No logic, no storage, no defaults.

mod generated;
pub mod tls;
pub mod trace;

pub use generated::{DESCRIPTORS, authpb, etcdserverpb, mvccpb, peer, v3electionpb, v3lockpb};
