//! Counts gRPC calls as `go-grpc-prometheus` does, and joins a caller's trace.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Code;
use tracing::{Instrument, info_span};

use crate::metrics::Metrics;

/// Methods whose calls stay open: their length says nothing. And whether the client's side is a stream, too.
const STREAMS: [(&str, bool); 6] = [
    ("Watch", true),
    ("LeaseKeepAlive", true),
    ("ServerReflectionInfo", true),
    ("Snapshot", false),
    ("RangeStream", false),
    ("Observe", false),
];

pub(crate) async fn count(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let Some((service, method)) = path.split_once('/') else {
        return next.run(request).await;
    };
    let kind = match STREAMS.iter().find(|(name, _)| *name == method) {
        Some((_, true)) => "bidi_stream",
        Some((_, false)) => "server_stream",
        None => "unary",
    };
    let side = if kind == "unary" { "unary" } else { "stream" };
    let version = client_version(request.headers());
    let labels = [kind, service, method].map(str::to_owned);
    let span = info_span!("grpc", service, method);
    if let Some(parent) = request.headers().get("traceparent").and_then(|value| value.to_str().ok())
    {
        watchkeep_api::trace::set_parent(&span, Some(parent));
    }
    let mut call = Call { metrics, labels: Some(labels), began: Instant::now() };
    let response = next.run(request).instrument(span).await;
    // A path that is no service answers 404 and no gRPC status: it must not become a label.
    if !response.status().is_success() || code(response.headers()) == Some(Code::Unimplemented) {
        call.labels = None;
        return response;
    }
    call.metrics.etcd.client_requests.with_label_values(&[side, version]).inc();
    call.started();
    if let Some(code) = code(response.headers()) {
        call.ended(code);
        return response;
    }
    response.map(|body| Body::new(Counted { body, call }))
}

/// The version that etcd's clients say they speak: one of those there are, so that the label stays bounded.
fn client_version(headers: &HeaderMap) -> &'static str {
    const KNOWN: [&str; 8] = ["3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7"];
    let said = headers.get("client-api-version").and_then(|value| value.to_str().ok());
    KNOWN.into_iter().find(|known| said == Some(known)).unwrap_or("unknown")
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
}

struct Call {
    metrics: Arc<Metrics>,
    /// None once it is counted.
    labels: Option<[String; 3]>,
    began: Instant,
}

impl Call {
    fn started(&self) {
        if let Some(labels) = &self.labels {
            self.metrics.grpc_started.with_label_values(labels).inc();
        }
    }

    fn ended(&mut self, code: Code) {
        let Some(labels) = self.labels.take() else { return };
        let [kind, service, method] = &labels;
        let code = format!("{code:?}").replace("Ok", "OK").replace("Cancelled", "Canceled");
        self.metrics.grpc_handled.with_label_values(&[kind, service, method, &code]).inc();
        if kind == "unary" {
            self.metrics
                .grpc_seconds
                .with_label_values(&labels)
                .observe(self.began.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.ended(Code::Cancelled);
    }
}

/// A body that looks for the status in its trailers.
struct Counted {
    body: Body,
    call: Call,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = &polled {
            match frame {
                Some(Ok(frame)) => {
                    if let Some(code) = frame.trailers_ref().and_then(code) {
                        self.call.ended(code);
                    }
                }
                Some(Err(_)) => self.call.ended(Code::Unknown),
                None => self.call.ended(Code::Ok),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
