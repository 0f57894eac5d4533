//! Everything on the client listener: the gRPC services, their JSON form, and etcd's plain HTTP paths.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Json, Router,
    extract::State,
    http::{Request, Response, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use bytes::Bytes;
use futures::{
    TryFutureExt,
    future::{Either, MapOk},
};
use http_body::Body as HttpBody;
use http_body_util::Either as EitherBody;
use prometheus::{Encoder, Registry, TextEncoder};
use serde_json::json;
use tonic::codegen::StdError;
use tower::{Layer, Service};

use crate::{
    calls::{self, Calls, Counting, Counts},
    cluster::Cluster,
    etcd::{ETCD_VERSION, Gate, GateLayer, RequireLeader, RequireLeaderLayer, Services},
    gateway, health, messages,
    metrics::Metrics,
};

/// The gRPC services, behind what each call passes.
type Grpc = Counts<RequireLeader<Gate<Services>>>;
type GrpcBody = calls::Counted<messages::Counted<tonic::body::Body>>;

/// What the client listener answers: gRPC for what is gRPC, and the rest by path.
#[derive(Clone)]
pub(crate) struct Front {
    grpc: Grpc,
    plain: Router,
}

impl Front {
    pub(crate) fn new(
        cluster: &Cluster,
        services: Services,
        registry: Registry,
        metrics: Arc<Metrics>,
    ) -> Self {
        let gated = GateLayer(cluster.clone()).layer(services);
        let led = RequireLeaderLayer(cluster.clone()).layer(gated);
        let grpc = Counting(Calls::new(metrics)).layer(led);
        let plain = Router::new()
            .route("/version", get(version))
            .merge(health::router(cluster.clone()))
            .merge(Router::new().route("/metrics", get(metrics_text)).with_state(registry))
            .merge(gateway::router(Router::new().fallback_service(grpc.clone())))
            .fallback(nothing_here);
        Self { grpc, plain }
    }
}

type Answer = Response<EitherBody<GrpcBody, axum::body::Body>>;
type Answering<F, B> = MapOk<F, fn(Response<B>) -> Answer>;

impl<B> Service<Request<B>> for Front
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Either<
        Answering<<Grpc as Service<Request<B>>>::Future, GrpcBody>,
        Answering<<Router as Service<Request<B>>>::Future, axum::body::Body>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As both are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let content = request.headers().get(header::CONTENT_TYPE);
        if content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc")) {
            return Either::Left(self.grpc.call(request).map_ok(|r| r.map(EitherBody::Left)));
        }
        Either::Right(self.plain.call(request).map_ok(|r| r.map(EitherBody::Right)))
    }
}

/// gRPC would answer 200 without a body, which says that there is no such method.
async fn nothing_here(request: axum::extract::Request) -> impl IntoResponse {
    gateway::nothing_at(request.method(), request.uri().path())
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
