//! The etcd v3 API: what `protox` and `tonic` make of `proto/`, client and server; and the way of a trace over the
//! wire. No logic, no storage, no defaults.

mod generated;
pub mod trace;

pub use generated::{DESCRIPTORS, etcdserverpb, mvccpb, peer};
