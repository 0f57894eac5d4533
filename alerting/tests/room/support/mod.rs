//! What the tests of this room share: an etcd, receivers of webhooks and mail, and alerting nodes.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use futures::future::BoxFuture;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use watchkeep_alerting::{Alerting, AlertingConfig, SeriesData, SloConfig, Source, SourceError};
use watchkeep_catalog::{
    Client, Failover, Incident, Instance, KeyValue, Opinion, Status, Verdict, keys,
};

pub(crate) mod etcd;
pub(crate) mod hooks;
pub(crate) mod log;
pub(crate) mod smtp;

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `found` says something.
pub(crate) async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// No samples at all.
struct Nothing;

impl Source for Nothing {
    fn select<'a>(
        &'a self,
        _: &'a str,
        _: i64,
        _: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// An alerting node.
pub(crate) struct Node {
    pub(crate) alerting: Alerting,
    pub(crate) registry: Registry,
    pub(crate) token: CancellationToken,
    running: JoinHandle<()>,
}

impl Node {
    pub(crate) fn start(id: &str, config: Value, client: &Client) -> Self {
        Self::start_with(id, config, client, Arc::new(Nothing))
    }

    /// One that asks this source.
    pub(crate) fn start_with(
        id: &str,
        config: Value,
        client: &Client,
        source: Arc<dyn Source>,
    ) -> Self {
        // A second test in this process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config: AlertingConfig = serde_json::from_value(config).unwrap();
        config.validate().unwrap();
        let registry = Registry::new();
        let alerting = Alerting::new(
            &config,
            SloConfig::default(),
            id,
            &format!("http://{id}.example.org:8480"),
            client.clone(),
            source,
            &registry,
        )
        .unwrap();
        let token = CancellationToken::new();
        let running = {
            let (alerting, token) = (alerting.clone(), token.clone());
            tokio::spawn(async move { alerting.run(token).await })
        };
        Self { alerting, registry, token, running }
    }

    /// As `kill -9` does: no step-down, no lease given back.
    pub(crate) async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    pub(crate) async fn stop(self) {
        self.token.cancel();
        tokio::time::timeout(DEADLINE, self.running).await.unwrap().unwrap();
    }

    /// Waits until it leads.
    pub(crate) async fn leads(&self) -> i64 {
        let mut term = self.alerting.term();
        let wait = term.wait_for(Option::is_some);
        let term = tokio::time::timeout(DEADLINE, wait).await.expect("an election").unwrap();
        term.unwrap()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned()));
        let answer = self.alerting.router().oneshot(request.unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, &body.to_string()).await
    }

    /// The exposition text.
    pub(crate) fn metrics(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// A metric's value: `metric("watchkeep_alerting_is_leader")`.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let found = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        found.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }
}

/// What collectors and services would write.
pub(crate) struct World<'a>(pub &'a Client);

impl World<'_> {
    pub(crate) async fn register(&self, service: &str, id: &str, role: &str) {
        let instance: Instance = serde_json::from_value(json!({
            "service": service, "id": id, "address": "127.0.0.1", "port": 5432, "role": role,
            "checks": [{"name": "tcp", "tcp": {}}],
        }))
        .unwrap();
        self.0.put_json(&keys::instance(service, id), &instance, 0).await.unwrap();
    }

    /// It is registered and one collector finds it critical.
    pub(crate) async fn fail(&self, service: &str, id: &str) {
        self.register(service, id, "primary").await;
        self.opine(service, id, "c1", Status::Critical).await;
    }

    pub(crate) async fn opine(&self, service: &str, id: &str, collector: &str, status: Status) {
        let now = chrono::Utc::now();
        let reason = match status {
            Status::Passing => "connected",
            Status::Critical => "connect to 127.0.0.1:5432: connection refused",
        };
        let opinion = Opinion {
            status,
            since: now,
            first_seen: now,
            reason: reason.to_owned(),
            flapping: false,
            trace_parent: Some(TRACE_PARENT.to_owned()),
        };
        let key = keys::opinion(service, id, "tcp", collector);
        self.0.put_json(&key, &opinion, 0).await.unwrap();
    }

    /// Waits for a verdict.
    pub(crate) async fn verdict(&self, service: &str, id: &str, status: Status) -> Verdict {
        let key = keys::verdict(service, id);
        until(&format!("verdict {status:?}"), async || {
            let verdict: Verdict = self.0.get(&key).await.unwrap()?.json().unwrap();
            (verdict.status == status).then_some(verdict)
        })
        .await
    }

    /// Waits for an incident of which `so` holds.
    pub(crate) async fn incident(&self, what: &str, so: impl Fn(&Incident) -> bool) -> Incident {
        until(what, async || {
            let incidents: Vec<Incident> = self.all(keys::INCIDENTS).await;
            incidents.into_iter().find(&so)
        })
        .await
    }

    /// Waits for a failover of which `so` holds.
    pub(crate) async fn failover(
        &self,
        what: &str,
        so: impl Fn(&Failover) -> bool,
    ) -> (Failover, KeyValue) {
        until(what, async || {
            let (kvs, _) = self.0.list(keys::FAILOVERS).await.unwrap();
            let mut read = kvs.into_iter().map(|kv| (kv.json::<Failover>().unwrap(), kv));
            read.find(|(failover, _)| so(failover))
        })
        .await
    }

    pub(crate) async fn all<T: serde::de::DeserializeOwned>(&self, prefix: &str) -> Vec<T> {
        let (kvs, _) = self.0.list(prefix).await.unwrap();
        kvs.iter().map(|kv| kv.json().unwrap()).collect()
    }
}

/// The trace that every opinion here belongs to.
pub(crate) const TRACE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
