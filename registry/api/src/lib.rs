//! The etcd v3 API: what `protox` and `tonic` make of `proto/`, client and server; and the ways of a trace and of
//! TLS over the wire, and of an error into words. No logic, no storage, no defaults.

mod causes;
mod generated;
pub mod tls;
pub mod trace;

pub use causes::causes;
pub use generated::{DESCRIPTORS, authpb, etcdserverpb, mvccpb, peer, v3electionpb, v3lockpb};
