//! Whoever goes away ends the question: its turn is free at once, and it is counted.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use watchkeep_collector::remote_write::encode;
use watchkeep_series::{Labels, Sample};

use crate::{
    SOON,
    common::{Cluster, eventually, http, wait::ensure},
    peers::asked,
};

/// For so many series each step of a long subquery is sorted anew: minutes, where nobody stops it.
const SERIES: usize = 2_000;
const HEAVY: &str = "sum(quantile_over_time(0.9, heavy[10m:1s]))";

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_gives_the_turn_back() {
    let query = json!({"concurrency_max": 1, "queue_max": 0});
    let collector = json!({"self_scrape": false});
    let cluster = Cluster::start(1, &[("query", query), ("collector", collector)]).await;
    let node = &cluster.nodes[0];
    let now_ms = chrono::Utc::now().timestamp_millis();
    let samples: Vec<_> = (0..SERIES)
        .map(|n| {
            let labels = Labels::new([("__name__", "heavy"), ("n", n.to_string().as_str())]);
            (labels, Sample { timestamp_ms: now_ms, value: n as f64 })
        })
        .collect();
    let request = http::client()
        .post(node.url("/api/v1/write"))
        .header("Content-Encoding", "snappy")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .body(encode(&samples));
    http::text(request).await.expect("taken");

    let cheap = async || asked(&node.url(""), "/api/v1/query", &[("query", "1")]).await;
    let seconds = now_ms / 1_000;
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("query", HEAVY)
        .extend_pairs([("start", seconds), ("end", seconds + 600)].map(|(n, s)| (n, s.to_string())))
        .append_pair("step", "1")
        .finish();
    let mut connection = TcpStream::connect(&node.http).await.expect("a connection");
    let head = format!("GET /api/v1/query_range?{form} HTTP/1.1\r\nHost: {}\r\n\r\n", node.http);
    connection.write_all(head.as_bytes()).await.expect("sent");
    eventually("the heavy question has the only turn", SOON, async || {
        let (status, answer) = cheap().await?;
        ensure(status == 503 && answer["errorType"] == "unavailable", || answer.to_string())
    })
    .await;
    drop(connection);
    let gone = Instant::now();
    eventually("the turn is free", SOON, async || {
        let (status, answer) = cheap().await?;
        ensure(status == 200, || answer.to_string())
    })
    .await;
    assert!(gone.elapsed() < Duration::from_secs(10), "{:?}", gone.elapsed());
    let metrics = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    assert!(
        metrics.contains("watchkeep_query_results_total{result=\"canceled\"} 1\n"),
        "{metrics}"
    );
}
