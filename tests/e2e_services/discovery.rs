//! Others find the services: Prometheus by its HTTP service discovery, waiting requests, and streams of events, on
//! any node of the cluster.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Cluster, Node, eventually, http, prometheus::Prometheus, wait::ensure};

/// Everything here happens within a second or two; a machine that is busy may need longer.
const SOON: Duration = Duration::from_secs(20);

/// Registers an instance without checks: it passes as long as it is registered.
async fn register(node: &Node, service: &str, id: &str, address: &str, more: Value) -> i64 {
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let port: u16 = port.parse().expect("a port");
    let mut body = json!({"id": id, "address": host, "port": port});
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let url = node.url(&format!("/v1/services/{service}/instances"));
    let created = http::post(&url, &body).await.expect("registered");
    created["revision"].as_i64().expect("a revision")
}

async fn deregister(node: &Node, service: &str, id: &str) {
    let url = node.url(&format!("/v1/services/{service}/instances/{id}"));
    let (status, body) = http::any(Method::DELETE, &url, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_what_is_registered_and_no_more() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let blue = json!({"tags": ["blue"], "metadata": {"path": "/metrics"}});
    register(node, "web", "web-1", &node.http, blue.clone()).await;
    register(node, "web", "web-2", &node.http, blue).await;
    register(node, "web", "web-3", &node.http, json!({"tags": ["green"]})).await;
    let dir = TempDir::new().expect("temporary folder");
    let job = format!(
        "http_sd_configs:\n  - url: '{}'\n    refresh_interval: 1s\n  relabel_configs:\n  \
         - {{source_labels: [__meta_watchkeep_service], target_label: service}}\n  \
         - {{source_labels: [__meta_watchkeep_instance], target_label: instance}}\n  \
         - {{source_labels: [__meta_watchkeep_metadata_path], target_label: __metrics_path__}}",
        node.url("/v1/sd/prometheus?service=web&tag=blue&healthy=true")
    );
    let prometheus = Prometheus::with_job(dir.path(), &job);
    let scraped = async |expected: &[&str]| {
        eventually("exactly these are scraped", SOON, async || {
            let query = [("query", r#"up{job="watchkeep",service="web"} == 1"#)];
            let up = prometheus.get("query", &query).await?;
            let mut ids: Vec<String> = up["result"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|series| Some(series["metric"]["instance"].as_str()?.to_owned()))
                .collect();
            ids.sort();
            ensure(ids == expected, || format!("{ids:?}"))
        })
        .await;
    };
    scraped(&["web-1", "web-2"]).await;
    deregister(node, "web", "web-1").await;
    scraped(&["web-2"]).await;
    // One that answers Prometheus, and whose check fails, is not well: it is left out, until the check passes again.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let probed = port.local_addr().expect("bound").port();
    let check =
        json!({"name": "tcp", "interval_ms": 300, "timeout_ms": 200, "tcp": {"port": probed}});
    let sick = json!({"tags": ["blue"], "metadata": {"path": "/metrics"}, "checks": [check]});
    register(node, "web", "web-4", &node.http, sick).await;
    scraped(&["web-2", "web-4"]).await;
    drop(port);
    node.verdict("web", "web-4", "critical", SOON).await;
    scraped(&["web-2"]).await;
    let port = eventually("its port is free", SOON, async || {
        TcpListener::bind(("127.0.0.1", probed)).map_err(|e| e.to_string())
    })
    .await;
    scraped(&["web-2", "web-4"]).await;
    drop(port);
    // Who names its metrics page is found there.
    let page = json!({"scrape": {"path": "/m", "port": 9100}});
    register(node, "app", "app-1", &node.http, page).await;
    let found = http::get(&node.url("/v1/sd/prometheus?scrape=true")).await.expect("targets");
    let (target, path) = (&found[0]["targets"][0], &found[0]["labels"]["__metrics_path__"]);
    assert_eq!((target, path), (&json!("127.0.0.1:9100"), &json!("/m")), "{found}");
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let (status, body) =
        http::any(Method::GET, &node.url("/v1/sd/prometheus?colour=blue"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("service, tag, role, zone, healthy"), "{body}");
}

/// Status, index and body of an answer.
async fn read(url: &str) -> (StatusCode, i64, Value) {
    let answer = http::client().get(url).send().await.unwrap_or_else(|e| panic!("GET {url}: {e}"));
    let header = |name: &str| {
        answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned()
    };
    let (status, index) = (answer.status(), header("x-watchkeep-index"));
    assert_eq!(index, header("x-consul-index"));
    let index = index.parse().unwrap_or(0);
    (status, index, answer.json().await.unwrap_or_default())
}

fn ids(answer: &Value) -> Vec<&str> {
    let instances = answer["instances"].as_array().expect("instances");
    instances.iter().map(|i| i["id"].as_str().expect("an id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_change_that_another_node_makes() {
    let cluster = Cluster::start(3, &[]).await;
    let (one, other) = (&cluster.nodes[0], &cluster.nodes[2]);
    register(one, "web", "web-1", "10.0.0.1:80", json!({})).await;
    let url = other.url("/v1/services/web/instances");
    let (_, index, all) = read(&url).await;
    assert_eq!(ids(&all), ["web-1"]);

    // Nothing changes: it waits, and says that the index is the same or less.
    let started = Instant::now();
    let (status, same, _) = read(&format!("{url}?index={index}&wait=300ms")).await;
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(status.is_success() && same <= index, "{same} > {index}");

    // Another service's change wakes nobody; the service's own does.
    let waiting = tokio::spawn({
        let url = format!("{url}?index={index}&wait=30s");
        async move { read(&url).await }
    });
    eventually("it waits", SOON, async || {
        let page = http::text(http::client().get(other.url("/metrics"))).await?;
        ensure(page.contains("\nwatchkeep_http_requests_waiting 1\n"), || "nobody waits".to_owned())
    })
    .await;
    register(one, "db", "db-1", "10.0.0.2:80", json!({})).await;
    let (_, _, dbs) = read(&other.url("/v1/services/db/instances?index=1&wait=10s")).await;
    assert_eq!(ids(&dbs), ["db-1"]);
    assert!(!waiting.is_finished());
    let revision = register(one, "web", "web-2", "10.0.0.3:80", json!({})).await;
    let (_, newer, all) = waiting.await.expect("an answer");
    assert_eq!((newer, ids(&all)), (revision, vec!["web-1", "web-2"]));

    // From memory at once; and a service that vanishes wakes those who wait for it.
    let (_, _, all) = read(&format!("{url}?stale=true")).await;
    assert_eq!(ids(&all).len(), 2);
    let waiting = tokio::spawn({
        let url = other.url(&format!("/v1/services/db/instances?index={newer}&wait=30s"));
        async move { read(&url).await }
    });
    deregister(one, "db", "db-1").await;
    let (_, _, none) = waiting.await.expect("an answer");
    assert!(ids(&none).is_empty());
    // As in Consul: without an index there is nothing newer to wait for.
    let started = Instant::now();
    let (status, _, all) = read(&format!("{url}?wait=60s")).await;
    assert!(status.is_success() && ids(&all).len() == 2, "{all}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let (status, _, problem) = read(&format!("{url}?index=1&wait=soon")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem["error"].as_str().is_some_and(|e| e.contains("30s")), "{problem}");
    let page = http::text(http::client().get(other.url("/metrics"))).await.expect("metrics");
    for metric in ["instances", "revision", "records_left_out"] {
        assert!(page.contains(&format!("\nwatchkeep_catalog_{metric} ")), "{metric}");
    }
}

/// A stream of events.
struct Events(Response, String);

impl Events {
    async fn open(url: &str, last: Option<&str>) -> Self {
        let mut request = http::client().get(url).header("accept", "text/event-stream");
        if let Some(id) = last {
            request = request.header("last-event-id", id);
        }
        let answer = request.timeout(Duration::from_secs(60)).send().await.expect("a stream");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self(answer, String::new())
    }

    /// The next block, whatever it is.
    async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.1.split_once("\n\n") {
                let block = block.to_owned();
                self.1 = rest.to_owned();
                return block;
            }
            let piece = tokio::time::timeout(SOON, self.0.chunk()).await.expect("in time");
            let piece = piece.expect("a piece").expect("the stream goes on");
            self.1.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
        }
    }

    /// The next event's name, id and data.
    async fn event(&mut self) -> (String, String, Value) {
        loop {
            let block = self.block().await;
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                line.unwrap_or_default().to_owned()
            };
            if !field("event").is_empty() {
                let data = serde_json::from_str(&field("data")).expect("JSON");
                return (field("event"), field("id"), data);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_and_a_stream_goes_on_at_another_node() {
    let cluster = Cluster::start(3, &[]).await;
    let (one, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let first = register(one, "web", "web-1", "10.0.0.1:80", json!({})).await;
    let mut events = Events::open(&one.url("/v1/services/web?heartbeat_seconds=1"), None).await;
    loop {
        let (name, id, data) = events.event().await;
        assert_eq!(name, if data["instances"].is_array() { "snapshot" } else { "instance" });
        if id.parse::<i64>().expect("a revision") >= first {
            break;
        }
    }
    let second = register(other, "web", "web-2", "10.0.0.2:80", json!({})).await;
    let (name, id, data) = events.event().await;
    assert_eq!((name.as_str(), &data["id"]), ("instance", &json!("web-2")));
    // Changes that follow at once may be told with it: the id is then the last one's.
    assert!(id.parse::<i64>().expect("a revision") >= second, "{id} < {second}");
    assert_eq!(data["status"], "passing");
    // A comment shows that it is alive.
    while !events.block().await.starts_with(": revision ") {}
    drop(events);

    // What happened meanwhile is told by another node, and nothing of what was told before.
    register(one, "web", "web-3", "10.0.0.3:80", json!({})).await;
    deregister(one, "web", "web-1").await;
    let mut resumed = Events::open(&other.url("/v1/services/web"), Some(&id)).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let (name, _, data) = resumed.event().await;
        told.push((name, data["id"].as_str().expect("an id").to_owned()));
    }
    told.sort();
    let expected = [("instance", "web-3"), ("instance-gone", "web-1")];
    assert_eq!(told, expected.map(|(name, id)| (name.to_owned(), id.to_owned())));

    let mut all = Events::open(&other.url("/v1/services"), None).await;
    let (name, _, data) = all.event().await;
    assert_eq!(name, "snapshot");
    let names = data["services"].as_array().expect("services").iter();
    assert!(names.clone().any(|s| s["name"] == "web"), "{data}");
    for id in ["web-2", "web-3"] {
        deregister(one, "web", id).await;
    }
    let gone = async {
        loop {
            let (name, _, data) = all.event().await;
            if name == "service-gone" && data["name"] == "web" {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("web is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_is_cut() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let mut silent = Events::open(&node.url("/v1/services/web"), None).await;
    // More than the buffers of a connection hold, piece by piece.
    let filling = async {
        let padding = "x".repeat(1_000_000);
        loop {
            register(node, "web", "web-1", "10.0.0.1:80", json!({"metadata": {"p": padding}}))
                .await;
            register(node, "web", "web-1", "10.0.0.1:81", json!({"metadata": {"p": padding}}))
                .await;
        }
    };
    let cut = eventually("it is cut", SOON, async || {
        let page = http::text(http::client().get(node.url("/metrics"))).await?;
        let cut = page.contains("\nwatchkeep_http_event_streams_cut_total 1\n");
        ensure(cut && page.contains("\nwatchkeep_http_event_streams 0\n"), || "not yet".to_owned())
    });
    tokio::select! {
        () = cut => {}
        () = filling => unreachable!("it goes on for ever"),
    }
    loop {
        let (name, _, data) = silent.event().await;
        if name == "end" {
            assert!(data["reason"].as_str().is_some_and(|r| r.contains("read faster")), "{data}");
            return;
        }
    }
}
