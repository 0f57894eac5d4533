//! Everything on the client listener: the gRPC services, their JSON form, and etcd's plain HTTP paths.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;
use tonic::service::Routes;

use crate::{
    calls::{Calls, Counting},
    cluster::Cluster,
    etcd::{ETCD_VERSION, GateLayer},
    gateway, health,
    messages::CountMessages,
    metrics::Metrics,
};

/// The router of the client listener.
pub(crate) fn router(
    cluster: &Cluster,
    routes: Routes,
    registry: Registry,
    metrics: Arc<Metrics>,
) -> Router {
    let grpc = routes
        .into_axum_router()
        .layer(GateLayer(cluster.clone()))
        .layer(CountMessages(metrics.grpc_messages.clone()))
        .layer(Counting(Calls::new(metrics)));
    let plain = Router::new()
        .route("/version", get(version))
        .merge(health::router(cluster.clone()))
        .merge(Router::new().route("/metrics", get(metrics_text)).with_state(registry));
    plain.merge(gateway::router(grpc.clone())).fallback_service(grpc)
}

async fn version() -> impl IntoResponse {
    Json(json!({ "etcdserver": ETCD_VERSION, "etcdcluster": ETCD_VERSION }))
}

async fn metrics_text(State(registry): State<Registry>) -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string().into_bytes(),
        ),
    }
}
