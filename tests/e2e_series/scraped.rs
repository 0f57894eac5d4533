//! A node that scrapes an instance every 200 ms is killed again and again: it loses the last second of what it scraped, which
//! docs/series.md says, and nothing comes twice.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, routing};
use serde_json::{Value, json};

use crate::common::{Cluster, Node, eventually, http, ports, wait::ensure};

const SOON: Duration = Duration::from_secs(30);
const KILLS: usize = 4;
/// Between two scrapes, and the longest one.
const INTERVAL_MS: u64 = 200;
/// What a crash may lose: what came since the last flush,
const FLUSH: Duration = Duration::from_secs(1);
/// and what was under way: a scrape, what is gathered before it is appended, and the flush itself.
const UNDER_WAY: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_the_last_second_of_what_was_scraped() {
    let page = Page::start().await;
    let scrape = json!({"job_name": "ticks", "tags": ["metrics"], "interval_ms": INTERVAL_MS, "timeout_ms": INTERVAL_MS});
    let collector = json!({"self_scrape": false, "scrape_configs": [scrape]});
    let mut cluster = Cluster::start(1, &[("collector", collector)]).await;
    let node = &mut cluster.nodes[0];
    let instance =
        json!({"id": "t1", "address": "127.0.0.1", "port": page.port, "tags": ["metrics"]});
    node.register("ticks", &instance).await;
    let (mut judged, mut late, mut lost) = (0, Vec::new(), 0);
    for kill in 0..KILLS {
        // More than come between two flushes; the kill is at another moment between them each time.
        page.serves_more(9 + kill * 5 % 6).await;
        node.kill();
        let (killed, served) = (Instant::now(), page.served());
        node.start();
        node.ready().await;
        let kept = kept(node).await;
        assert!(kept.is_sorted_by(|a, b| a < b), "twice, or not in order: {kept:?}");
        let missing = (judged..served.len()).filter(|n| !kept.contains(n));
        let missing: Vec<_> = missing.map(|n| (n, killed - served[n])).collect();
        lost += missing.len();
        late.extend(missing.into_iter().filter(|(_, age)| *age > FLUSH + UNDER_WAY));
        judged = served.len();
    }
    // A page that came too late was never a sample.
    let failed = points(node, "up{job=\"ticks\"}[1h]").await;
    let failed = failed.iter().filter(|(_, up)| up == "0").count();
    assert!(late.len() <= failed, "lost, and older than a second: {late:?}; {failed} failed");
    eprintln!("{lost} of {judged} scrapes lost by {KILLS} kills, {failed} failed");
}

/// The numbers of the pages whose samples are there, in the order of their times.
async fn kept(node: &Node) -> Vec<usize> {
    let points = points(node, "ticks_total[1h]").await;
    points.iter().map(|(_, value)| value.parse().expect("a whole number")).collect()
}

async fn points(node: &Node, query: &str) -> Vec<(f64, String)> {
    let request = http::client().get(node.url("/api/v1/query")).query(&[("query", query)]);
    let answer: Value = http::json(request).await.expect("an answer");
    let result = answer["data"]["result"].as_array().expect("series");
    assert_eq!(result.len(), 1, "{answer}");
    serde_json::from_value(result[0]["values"].clone()).expect("points")
}

/// An instance whose only metric is the number of the page.
struct Page {
    port: u16,
    /// When each was served.
    served: Arc<Mutex<Vec<Instant>>>,
}

impl Page {
    async fn start() -> Self {
        let served: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let times = Arc::clone(&served);
        let page = move || async move {
            let mut times = times.lock().expect("nobody panicked");
            times.push(Instant::now());
            format!("# TYPE ticks_total counter\nticks_total {}\n", times.len() - 1)
        };
        let port = ports::free();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("bind");
        let router = Router::new().route("/metrics", routing::get(page));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, served }
    }

    fn served(&self) -> Vec<Instant> {
        self.served.lock().expect("nobody panicked").clone()
    }

    async fn serves_more(&self, count: usize) {
        let enough = self.served().len() + count;
        eventually("pages served", SOON, async || {
            let served = self.served().len();
            ensure(served >= enough, || format!("{served} of {enough}"))
        })
        .await;
    }
}
