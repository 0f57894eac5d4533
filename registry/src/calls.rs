//! Counts gRPC calls as `go-grpc-prometheus` does, and joins a caller's trace.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use prometheus::{Histogram, IntCounter};
use tonic::Code;
use tower::{Layer, Service};
use tracing::debug_span;

use crate::{
    etcd::oversize,
    messages::{self, Counters},
    metrics::Metrics,
    spans::within,
};

/// Methods whose calls stay open: their length says nothing. And whether the client's side is a stream, too.
const STREAMS: [(&str, bool); 6] = [
    ("Watch", true),
    ("LeaseKeepAlive", true),
    ("ServerReflectionInfo", true),
    ("Snapshot", false),
    ("RangeStream", false),
    ("Observe", false),
];

/// What is counted, with the metrics of each method that was ever called at hand.
pub(crate) struct Calls {
    metrics: Arc<Metrics>,
    /// By path. Only methods that there are come in here.
    methods: RwLock<HashMap<String, Arc<Method>>>,
}

/// One method's metrics.
struct Method {
    /// Type, service and method.
    labels: [String; 3],
    started: IntCounter,
    ok: IntCounter,
    /// Of unary calls only.
    seconds: Option<Histogram>,
}

impl Calls {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { metrics, methods: RwLock::default() })
    }

    fn known(&self, path: &str) -> Option<Arc<Method>> {
        self.methods.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// The method behind a path that was answered as one.
    fn method(&self, path: &str) -> Option<Arc<Method>> {
        if let Some(known) = self.known(path) {
            return Some(known);
        }
        let (service, method) = path.trim_start_matches('/').split_once('/')?;
        let kind = match STREAMS.iter().find(|(name, _)| *name == method) {
            Some((_, true)) => "bidi_stream",
            Some((_, false)) => "server_stream",
            None => "unary",
        };
        let unary = kind == "unary";
        let labels = [kind, service, method].map(str::to_owned);
        let [kind, service, method] = &labels;
        let metrics = &self.metrics;
        let method = Arc::new(Method {
            started: metrics.grpc_started.with_label_values(&labels),
            ok: metrics.grpc_handled.with_label_values(&[kind, service, method, "OK"]),
            seconds: unary.then(|| metrics.grpc_seconds.with_label_values(&labels)),
            labels,
        });
        let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(methods.entry(path.to_owned()).or_insert(method)))
    }
}

/// Puts the count around every gRPC service.
#[derive(Clone)]
pub(crate) struct Counting(pub(crate) Arc<Calls>);

impl<S> Layer<S> for Counting {
    type Service = Counts<S>;

    fn layer(&self, inner: S) -> Counts<S> {
        Counts { calls: Arc::clone(&self.0), inner }
    }
}

/// A service that is counted.
#[derive(Clone)]
pub(crate) struct Counts<S> {
    calls: Arc<Calls>,
    inner: S,
}

impl<S, A, B> Service<Request<A>> for Counts<S>
where
    S: Service<
            Request<messages::Counted<A>>,
            Response = Response<B>,
            Error = Infallible,
            Future: Send + 'static,
        >,
{
    type Response = Response<Counted<messages::Counted<B>>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let uri = request.uri().clone();
        let span = debug_span!("grpc", otel.kind = "server", path = uri.path());
        let parent = request.headers().get("traceparent");
        if let Some(parent) = parent.and_then(|value| value.to_str().ok()) {
            watchkeep_api::trace::set_parent(&span, Some(parent));
        }
        let method = self.calls.known(uri.path());
        let version = client_version(request.headers());
        let call = Call { calls: Arc::clone(&self.calls), method, version, began: Instant::now() };
        let Counters { received, sent } = self.calls.metrics.grpc_messages.of(uri.path());
        let request = request.map(|body| messages::Counted::new(body, received));
        let answering = self.inner.call(request);
        let counting = async move {
            let Ok(response) = answering.await;
            let response = response.map(|body| messages::Counted::new(body, sent));
            Ok(call.answered(uri.path(), response))
        };
        Box::pin(within(span, counting))
    }
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
    calls: Arc<Calls>,
    /// None: not known yet, or counted already.
    method: Option<Arc<Method>>,
    version: &'static str,
    began: Instant,
}

impl Call {
    fn answered<B>(mut self, path: &str, mut response: Response<B>) -> Response<Counted<B>> {
        // A path that is no service answers 404 and no gRPC status: it must not become a label.
        let answered = code(response.headers());
        if !response.status().is_success() || answered == Some(Code::Unimplemented) {
            self.method = None;
            return response.map(|body| Counted { body, call: None });
        }
        oversize::in_etcds_words(response.headers_mut());
        self.method = self.method.take().or_else(|| self.calls.method(path));
        if let Some(method) = &self.method {
            method.started.inc();
            let side = if method.seconds.is_some() { "unary" } else { "stream" };
            let requests = &self.calls.metrics.etcd.client_requests;
            requests.with_label_values(&[side, self.version]).inc();
        }
        if let Some(code) = code(response.headers()) {
            self.ended(code);
            return response.map(|body| Counted { body, call: None });
        }
        response.map(|body| Counted { body, call: Some(self) })
    }

    fn ended(&mut self, code: Code) {
        let Some(method) = self.method.take() else { return };
        if code == Code::Ok {
            method.ok.inc();
        } else {
            let [kind, service, name] = &method.labels;
            let code = format!("{code:?}").replace("Cancelled", "Canceled");
            let handled = &self.calls.metrics.grpc_handled;
            handled.with_label_values(&[kind, service, name, &code]).inc();
        }
        if let Some(seconds) = &method.seconds {
            seconds.observe(self.began.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.ended(Code::Cancelled);
    }
}

/// A body that looks for the status in its trailers.
pub(crate) struct Counted<B> {
    body: B,
    /// None: it is counted already.
    call: Option<Call>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(frame), Some(call)) = (&polled, &mut self.call) {
            match frame {
                Some(Ok(frame)) => {
                    if let Some(code) = frame.trailers_ref().and_then(code) {
                        call.ended(code);
                    }
                }
                Some(Err(_)) => call.ended(Code::Unknown),
                None => call.ended(Code::Ok),
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
