//! gRPC reflection, of both versions that are in use: what `grpcurl` and its kin ask first. The services between members
//! are not among what is shown.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

/// What is shown.
const SERVICES: [&str; 9] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "grpc.health.v1.Health",
];

fn builder() -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(watchkeep_api::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    SERVICES.into_iter().fold(builder, Builder::with_service_name)
}

/// Adds both versions.
///
/// # Errors
/// When the descriptors are wrong: never, a test sees to it.
pub(super) fn add(routes: Routes) -> Result<Routes, Error> {
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}
