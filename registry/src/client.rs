//! Everything on the client listener: the gRPC services, their JSON form, and etcd's plain HTTP paths.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::get,
};
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;
use tonic::service::Routes;

use crate::{
    calls,
    cluster::Cluster,
    etcd::{ETCD_VERSION, GateLayer, oversize},
    gateway,
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
        .layer(middleware::from_fn(oversize::in_etcds_words))
        .layer(middleware::from_fn_with_state(metrics, calls::count));
    let plain = Router::new()
        .route("/version", get(version))
        .route("/health", get(health))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(cluster.clone())
        .merge(Router::new().route("/metrics", get(metrics_text)).with_state(registry));
    plain.merge(gateway::router(grpc.clone())).fallback_service(grpc)
}

async fn version() -> impl IntoResponse {
    Json(json!({ "etcdserver": ETCD_VERSION, "etcdcluster": ETCD_VERSION }))
}

/// Well when a linearizable read succeeds, as etcd has it.
async fn health(State(cluster): State<Cluster>) -> impl IntoResponse {
    match cluster.linearizable_view().await {
        Ok(_) => (StatusCode::OK, Json(json!({ "health": "true", "reason": "" }))),
        Err(error) => {
            let body = json!({ "health": "false", "reason": error.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

async fn ready(State(cluster): State<Cluster>) -> impl IntoResponse {
    match cluster.linearizable_view().await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
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
