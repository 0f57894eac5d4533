//! What the build script made of the .proto files.

#![allow(missing_docs, unreachable_pub, rust_2018_idioms, clippy::all, reason = "generated code")]

/// Permissions (`authpb`).
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// Keys and events (`mvccpb`).
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Requests, responses and services (`etcdserverpb`).
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// Locks (`v3lockpb`).
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// Elections (`v3electionpb`).
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// Between members (`watchkeep.peer`).
pub mod peer {
    tonic::include_proto!("watchkeep.peer");
}

/// The encoded `FileDescriptorSet`: for the JSON gateway and for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
