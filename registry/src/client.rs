//! Everything on the client listener: the gRPC services, their JSON form, and etcd's plain HTTP paths.

use std::{
    convert::Infallible,
    future::Ready,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::Either;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;
use tonic::service::Routes;
use tower::Service;

use crate::{
    calls::{Calls, Counting},
    cluster::Cluster,
    etcd::{ETCD_VERSION, GateLayer, RequireLeaderLayer},
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
        .layer(RequireLeaderLayer(cluster.clone()))
        .layer(CountMessages(metrics.grpc_messages.clone()))
        .layer(Counting(Calls::new(metrics)));
    let plain = Router::new()
        .route("/version", get(version))
        .merge(health::router(cluster.clone()))
        .merge(Router::new().route("/metrics", get(metrics_text)).with_state(registry));
    plain.merge(gateway::router(grpc.clone())).fallback_service(GrpcOnly(grpc))
}

/// gRPC for what is gRPC. Anything else would be answered 200 without a body, as gRPC says that there is no such method.
#[derive(Clone)]
struct GrpcOnly(Router);

impl Service<Request<Body>> for GrpcOnly {
    type Response = Response;
    type Error = Infallible;
    type Future =
        Either<<Router as Service<Request<Body>>>::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let content = request.headers().get(header::CONTENT_TYPE);
        if content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc")) {
            return Either::Left(self.0.call(request));
        }
        let answer = gateway::nothing_at(request.method(), request.uri().path());
        Either::Right(std::future::ready(Ok(answer)))
    }
}

async fn version() -> impl IntoResponse {
    Json(json!({
        "etcdserver": ETCD_VERSION,
        "etcdcluster": ETCD_VERSION,
        // etcd 3.6 and later.
        "storage": ETCD_VERSION,
    }))
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
