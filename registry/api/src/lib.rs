//! The etcd v3 API: what `protox` and `tonic` make of `proto/`, client and server. Nothing else lives here:
//! no logic, no storage, no defaults.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

/// Keys and events (`mvccpb`).
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Requests, responses and services (`etcdserverpb`).
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// The encoded `FileDescriptorSet`: for the JSON gateway and for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
