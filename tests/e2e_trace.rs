//! Traces by OTLP: one follows a put from request to apply, one follows a fault from the failed probe through
//! opinion and verdict to the delivered callback.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use serde_json::json;
use tempfile::TempDir;
use tonic::{Request, Response, Status};

mod common;
use common::{
    Cluster, cluster::encode, eventually, nginx::Nginx, ports, receiver::Receiver, wait::ensure,
};

const SOON: Duration = Duration::from_secs(30);

/// A span, as far as the tests look at it.
#[derive(Debug, Clone)]
struct Span {
    trace: String,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
}

/// An OTLP receiver that keeps every span.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|r| r.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans).map(|span| Span {
            trace: span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            id: span.span_id,
            parent: span.parent_span_id,
            name: span.name,
        });
        self.0.lock().expect("no holder panicked").extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Spans {
    async fn listen(&self) -> String {
        let port = ports::free();
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve(([127, 0, 0, 1], port).into()));
        format!("http://127.0.0.1:{port}")
    }

    fn of(&self, trace: &str) -> Vec<Span> {
        let spans = self.0.lock().expect("no holder panicked");
        spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }

    fn traces(&self) -> BTreeSet<String> {
        let spans = self.0.lock().expect("no holder panicked");
        spans.iter().map(|span| span.trace.clone()).collect()
    }
}

/// The spans of one trace, from the one with no parent among them down to the last child.
fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

fn has(spans: &[Span], word: &str) -> bool {
    spans.iter().any(|span| span.name.to_lowercase().contains(word))
}

/// Whether a span whose name has `word` descends from one whose name has `ancestor`.
fn descends(spans: &[Span], word: &str, ancestor: &str) -> bool {
    let parent = |span: &Span| spans.iter().find(|other| other.id == span.parent);
    spans.iter().filter(|span| span.name.to_lowercase().contains(word)).any(|span| {
        let mut line = std::iter::successors(parent(span), |span| parent(span));
        line.any(|span| span.name.to_lowercase().contains(ancestor))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_put_and_one_fault_are_one_trace_each() {
    let spans = Spans::default();
    let (sink, dir) = (Receiver::start().await, TempDir::new().expect("temporary folder"));
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let alerting = json!({"failover": [{
        "name": "web", "when": {"service": "web"}, "callback": {"url": sink.url("/callback")},
    }]});
    let telemetry = json!({"otlp_endpoint": spans.listen().await});
    let cluster = Cluster::start(3, &[("alerting", alerting), ("telemetry", telemetry)]).await;

    // A put through a follower: request there, proposal and apply at the leader.
    let leader = cluster.raft_leader().await;
    let follower = &cluster.nodes[(leader + 1) % 3];
    let put = json!({"key": encode("traced"), "value": encode("1")});
    follower.v3("kv/put", &put).await.expect("put");
    eventually("a trace of the put", SOON, async || {
        let found = spans
            .traces()
            .into_iter()
            .map(|trace| spans.of(&trace))
            .any(|trace| has(&trace, "put") && descends(&trace, "apply", "put"));
        ensure(found, || format!("{} traces", spans.traces().len()))
    })
    .await;

    let instance = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port, "role": "primary",
        "checks": [{"name": "home", "interval_ms": 300, "timeout_ms": 250, "http": {}}],
    });
    cluster.nodes[0].register("web", &instance).await;
    cluster.nodes[0].verdict("web", "web-1", "passing", SOON).await;
    nginx.kill();
    let callback = sink.wait("/callback", 1, SOON).await.remove(0);
    let trace = callback.header("traceparent").split('-').nth(1).expect("a trace id").to_owned();
    eventually("the trace of the fault", SOON, async || {
        let spans = spans.of(&trace);
        for word in ["probe", "opinion", "verdict", "callback"] {
            ensure(has(&spans, word), || format!("no {word} in {:?}", names(&spans)))?;
        }
        let connected =
            descends(&spans, "verdict", "probe") && descends(&spans, "callback", "verdict");
        ensure(connected, || format!("no line from probe to callback: {spans:#?}"))
    })
    .await;
}
