//! Around every request: it is counted, timed and traced.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use crate::metrics::HttpMetrics;

/// Counts, times and traces one request.
pub(super) async fn observe(
    State(metrics): State<Arc<HttpMetrics>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let method = method(request.method());
    let span = tracing::info_span!(
        "http",
        otel.kind = "server",
        http.method = method,
        http.route = route,
        http.status = tracing::field::Empty
    );
    let parent = request.headers().get("traceparent").and_then(|v| v.to_str().ok());
    watchkeep_catalog::trace::set_parent(&span, parent);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.status", response.status().as_u16());
    metrics.requests.with_label_values(&[route, method, response.status().as_str()]).inc();
    metrics.seconds.with_label_values(&[route]).observe(started.elapsed().as_secs_f64());
    response
}

/// The method, from a bounded set.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
