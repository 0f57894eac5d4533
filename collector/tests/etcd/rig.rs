//! A collector under test, what it watches, and how to wait for it.

use std::{future::Future, sync::Arc, time::Duration};

use prometheus::{Encoder, Registry, TextEncoder};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::{Client, KeyValue, Opinion, Status, keys};
use watchkeep_collector::{Collector, CollectorConfig};
use watchkeep_series::{Options, SeriesStore};

/// How long to wait for what should take a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A collector, running.
pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) store: Arc<SeriesStore>,
    pub(crate) registry: Registry,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
    _dir: TempDir,
}

impl Rig {
    pub(crate) fn start(client: Client, self_url: Option<String>) -> Self {
        Self::start_as("node-1", "a", CollectorConfig::default(), client, self_url)
    }

    /// The same under another name, elsewhere, with other settings.
    pub(crate) fn start_as(
        name: &str,
        zone: &str,
        config: CollectorConfig,
        client: Client,
        self_url: Option<String>,
    ) -> Self {
        let (store, dir) = store();
        let registry = Registry::new();
        let queues = dir.path().join("remote-write");
        let collector = Collector::new(
            config,
            name,
            zone,
            client.clone(),
            store.clone(),
            self_url,
            queues,
            &registry,
        );
        let stop = CancellationToken::new();
        let running = tokio::spawn(collector.expect("a collector").run(stop.clone()));
        Self { client, store, registry, stop, running, _dir: dir }
    }

    pub(crate) async fn get(&self, key: &str) -> Option<KeyValue> {
        self.client.get(key).await.ok().flatten()
    }

    /// Waits until the opinion on check `check` of web/a is `status`.
    pub(crate) async fn opinion(&self, check: &str, status: Status) -> (KeyValue, Opinion) {
        let key = keys::opinion("web", "a", check, "node-1");
        wait_for(&format!("{check} to be {}", status.as_str()), || async {
            let kv = self.get(&key).await?;
            let opinion: Opinion = kv.json().expect("an opinion");
            (opinion.status == status).then_some((kv, opinion))
        })
        .await
    }

    /// Puts instance web/a with these checks.
    pub(crate) async fn put(&self, port: u16, checks: &str) {
        let record = format!(
            r#"{{"service":"web","id":"a","address":"127.0.0.1","port":{port},"checks":[{checks}]}}"#
        );
        self.client.put(&keys::instance("web", "a"), record, 0).await.expect("put");
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("renders");
        String::from_utf8(text).expect("UTF-8")
    }

    /// The value behind a metric's name and labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok()
    }
}

pub(crate) fn store() -> (Arc<SeriesStore>, TempDir) {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = SeriesStore::open(dir.path().join("series"), Options::default()).expect("opens");
    (Arc::new(store), dir)
}

/// A service on a port that can be shut and opened again.
pub(crate) struct Service {
    pub(crate) port: u16,
    task: Option<JoinHandle<()>>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        Self { port, task: Some(serve(listener)) }
    }

    pub(crate) async fn shut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    pub(crate) async fn open(&mut self) {
        let port = self.port;
        let listener =
            wait_for("the port", || async { TcpListener::bind(("127.0.0.1", port)).await.ok() });
        self.task = Some(serve(listener.await));
    }
}

fn serve(listener: TcpListener) -> JoinHandle<()> {
    let app = axum::Router::new().route("/", axum::routing::get(async || "all is well"));
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") })
}
