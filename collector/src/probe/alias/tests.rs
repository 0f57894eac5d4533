//! What an alias makes of each thing that a registry (a real etcd) may say, and of its silence.

use serde_json::{Value, json};
use watchkeep_catalog::{Client, keys};

use crate::probe::{
    Context, Files, Policy, Prober, Rooms,
    etcd::tests::{elected, etcd},
    rig::{LONG_MS, Pki, SHORT_MS, Server, prober_at},
};

struct Registry {
    client: Client,
    server: Server,
    _pki: Pki,
}

impl Registry {
    async fn start() -> Self {
        let pki = Pki::new();
        let (server, port) = etcd(&pki, "http", &[]);
        elected(port).await;
        let client = Client::new(&[format!("http://127.0.0.1:{port}")]).expect("a client");
        Self { client, server, _pki: pki }
    }

    async fn put(&self, key: &str, record: Value) {
        self.client.put_json(key, &record, 0).await.expect("put");
    }

    async fn instance(&self, id: &str, checks: Value) {
        let record =
            json!({"service": "web", "id": id, "address": "h", "port": 1, "checks": checks});
        self.put(&keys::instance("web", id), record).await;
    }

    async fn verdict(&self, id: &str, status: &str) {
        let time = "2026-01-05T09:00:00Z";
        let record = json!({"service": "web", "instance": id, "status": status, "since": time,
            "first_seen": time, "reason": "http: status 500", "agree": 1, "opinions": 1});
        self.put(&keys::verdict("web", id), record).await;
    }

    async fn opinion(&self, collector: &str, status: &str) {
        let time = "2026-01-05T09:00:00Z";
        let record =
            json!({"status": status, "since": time, "first_seen": time, "reason": "status 500"});
        self.put(&keys::opinion("web", "a", "http", collector), record).await;
    }

    fn alias(&self, timeout_ms: u64, settings: &str) -> Prober {
        let rooms = Rooms { client: Some(self.client.clone()), ..Rooms::default() };
        let context = Context::within(Policy::default(), Files::None, rooms).expect("TLS");
        let kind = format!(r#""alias":{settings}"#);
        prober_at("h", 1, timeout_ms, &kind, &context).expect("a check")
    }

    async fn says(&self, settings: &str, good: bool, reason: &str) {
        let outcome = self.alias(LONG_MS, settings).run().await;
        assert_eq!((outcome.good, &*outcome.reason), (good, reason), "{settings}");
    }
}

const SERVICE: &str = r#"{"service":"web"}"#;
const TWO: &str = r#"{"service":"web","passing_min":2}"#;
const INSTANCE: &str = r#"{"service":"web","instance":"a"}"#;
const CHECK: &str = r#"{"service":"web","instance":"a","check":"http"}"#;

#[tokio::test]
async fn what_the_registry_says() {
    let registry = Registry::start().await;
    let none = "service web: 0 of 0 instances are well, expected 1 at least";
    registry.says(SERVICE, false, none).await;
    registry.says(INSTANCE, false, "instance web/a is not registered").await;
    registry.says(CHECK, false, "there is no opinion on check web/a/http").await;

    registry.instance("a", json!([])).await;
    registry.says(INSTANCE, true, "instance web/a has no checks").await;
    registry.instance("a", json!([{"name": "http", "http": {}}])).await;
    registry.says(INSTANCE, false, "there is no verdict on instance web/a").await;
    registry.verdict("a", "passing").await;
    registry.says(INSTANCE, true, "instance web/a is passing").await;
    registry.says(SERVICE, true, "service web: 1 of 1 instances are well").await;
    let few = "service web: 1 of 1 instances are well, expected 2 at least";
    registry.says(TWO, false, few).await;
    registry.instance("b", json!([])).await;
    registry.says(TWO, true, "service web: 2 of 2 instances are well").await;
    registry.verdict("a", "critical").await;
    registry.says(INSTANCE, false, "instance web/a: http: status 500").await;
    registry.says(SERVICE, true, "service web: 1 of 2 instances are well").await;
    let few = "service web: 1 of 2 instances are well, expected 2 at least";
    registry.says(TWO, false, few).await;

    // Of two that contradict each other none is a majority.
    registry.opinion("one", "critical").await;
    registry.says(CHECK, false, "check web/a/http: status 500").await;
    registry.opinion("two", "passing").await;
    registry.says(CHECK, true, "check web/a/http is passing").await;
    registry.opinion("three", "critical").await;
    registry.says(CHECK, false, "check web/a/http: status 500").await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_no_news_of_the_service() {
    let registry = Registry::start().await;
    registry.instance("a", json!([])).await;
    let (knows, missed) = (registry.alias(SHORT_MS, SERVICE), registry.alias(SHORT_MS, TWO));
    let (good, bad) = ("service web: 1 of 1 instances are well", "expected 2 at least");
    let asked = async |times: &str| {
        let outcome = knows.run().await;
        assert_eq!((outcome.good, &*outcome.reason), (true, good), "{times}");
        let outcome = missed.run().await;
        assert!(!outcome.good && outcome.reason.ends_with(bad), "{times}: {}", outcome.reason);
    };
    // A look may be late on a machine that is busy.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !(knows.run().await.good && missed.run().await.reason.ends_with(bad)) {
        assert!(std::time::Instant::now() < deadline, "the registry does not answer");
    }
    asked("while it is there").await;
    registry.server.pause();
    asked("while it is silent").await;
    let never = registry.alias(SHORT_MS, SERVICE).run().await;
    assert_eq!((never.good, &*never.reason), (false, "no answer within 200 ms"));
    let Registry { client, server, _pki } = registry;
    drop(server);
    asked("when it is gone").await;
    drop(client);
}
