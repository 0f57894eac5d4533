//! The store's limits, as whoever writes and whoever looks at metrics meets them: series, memory, late samples, retention.

use std::{fs, time::Duration};

use reqwest::StatusCode;
use serde_json::{Value, json};
use watchkeep_collector::remote_write::encode;
use watchkeep_series::{Labels, Sample};

use crate::common::{Cluster, Node, eventually, http, wait::ensure};

const SOON: Duration = Duration::from_secs(30);
const HOUR_MS: i64 = 3_600_000;
/// What is deleted at once.
const BUCKET_MS: i64 = 2 * HOUR_MS;

/// They mostly wait, each for a node of its own.
#[tokio::test(flavor = "multi_thread")]
async fn limits_are_told_to_whoever_writes() {
    tokio::join!(series(), memory(), late(), retention());
}

async fn node(mut collector: Value) -> Cluster {
    collector["self_scrape"] = json!(false);
    Cluster::start(1, &[("collector", collector)]).await
}

/// Kills it, and starts it with other settings.
async fn again(node: &mut Node, mut collector: Value) {
    node.kill();
    collector["self_scrape"] = json!(false);
    let text = fs::read_to_string(node.config()).expect("the configuration");
    let others = text.lines().filter(|line| !line.starts_with("collector: "));
    let lines = others.map(str::to_owned).chain([format!("collector: {collector}")]);
    fs::write(node.config(), lines.collect::<Vec<_>>().join("\n") + "\n").expect("written");
    node.start();
    node.ready().await;
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// So many series with a sample each.
fn load(count: usize, timestamp_ms: i64) -> Vec<(Labels, Sample)> {
    let labels = |n: usize| Labels::new([("__name__", "load"), ("n", &*n.to_string())]);
    (0..count).map(|n| (labels(n), Sample { timestamp_ms, value: n as f64 })).collect()
}

/// The status, and the error's words.
async fn write(node: &Node, samples: &[(Labels, Sample)]) -> (StatusCode, String) {
    let request = http::client().post(node.url("/api/v1/write")).body(encode(samples));
    let (status, body) = http::send(request).await.expect("an answer");
    let error = serde_json::from_str::<Value>(&body).unwrap_or_default()["error"].take();
    (status, error.as_str().unwrap_or_default().to_owned())
}

async fn is_taken(node: &Node, samples: &[(Labels, Sample)]) {
    let (status, words) = write(node, samples).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{words}");
}

async fn is_refused(node: &Node, samples: &[(Labels, Sample)], words: &str) -> String {
    let (status, said) = write(node, samples).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    assert!(said.contains(words), "{said}");
    said
}

/// What is refused is named: the first series that is one too many, and the metric and the label that make so many. How many
/// were taken.
fn taken(said: &str) -> usize {
    let first = said.split("series load{n=\"").nth(1).and_then(|rest| rest.split('"').next());
    let taken: usize = first.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    let culprits = format!("metric \"load\" has {taken} series, label \"n\" has {taken} values");
    assert!(said.contains(&culprits), "{said}");
    taken
}

/// The first value of an answer; none when it is empty.
async fn value(node: &Node, query: &str, at_ms: i64) -> Result<Option<f64>, String> {
    let time = format!("{:.3}", at_ms as f64 / 1e3);
    let request = http::client().get(node.url("/api/v1/query"));
    let answer = http::json(request.query(&[("query", query), ("time", &time)])).await?;
    let value = answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
    value.map(|value| value.parse().map_err(|_| answer.to_string())).transpose()
}

/// Waits until so many samples were refused for a reason; the node's own may be among them.
async fn counted(node: &Node, reason: &str, count: f64) {
    let begin = format!("watchkeep_series_samples_rejected_total{{reason=\"{reason}\"}} ");
    eventually("it is counted", SOON, async || {
        let page = http::text(http::client().get(node.url("/metrics"))).await?;
        let line = page.lines().find_map(|line| line.strip_prefix(&begin)).ok_or(page.clone())?;
        let refused: f64 = line.parse().map_err(|_| line.to_owned())?;
        ensure(refused >= count, || format!("{refused} of {count} {reason}"))
    })
    .await;
}

async fn series() {
    let cluster = node(json!({"series_max": 50})).await;
    let (node, begin_ms) = (&cluster.nodes[0], now_ms());
    let said = is_refused(node, &load(60, begin_ms), "is one more than series_max = 50: ").await;
    // The others are those of the node's check of itself.
    let taken = taken(&said);
    assert!((20..=50).contains(&taken), "{said}");
    // What is known goes on.
    is_taken(node, &load(taken, begin_ms + 1)).await;
    let count = value(node, "count(load)", begin_ms + 1).await;
    assert_eq!(count, Ok(Some(taken as f64)));
    counted(node, "series_max", (60 - taken) as f64).await;
}

async fn memory() {
    let cluster = node(json!({"memory_bytes_max": 300_000})).await;
    let (node, begin_ms) = (&cluster.nodes[0], now_ms());
    let words = "is one too many for memory_bytes_max = 300000: ";
    let taken = taken(&is_refused(node, &load(3_000, begin_ms), words).await);
    assert!((300..2_000).contains(&taken), "{taken}: a few hundred bytes each");
    is_taken(node, &load(taken, begin_ms + 1)).await;
    counted(node, "series_max", (3_000 - taken) as f64).await;
}

async fn late() {
    let mut cluster = node(json!({"out_of_order_time_window_seconds": 600})).await;
    let (node, now_ms) = (&mut cluster.nodes[0], now_ms());
    is_taken(node, &load(1, now_ms)).await;
    is_taken(node, &load(1, now_ms - 500_000)).await;
    let count = value(node, "count_over_time(load[10m])", now_ms).await;
    assert_eq!(count, Ok(Some(2.0)));
    is_refused(node, &load(1, now_ms - 700_000), "1 out of order").await;
    counted(node, "out_of_order", 1.0).await;
    // Without the setting none may be late.
    again(node, json!({})).await;
    is_refused(node, &load(1, now_ms - 400_000), "1 out of order").await;
    is_refused(node, &load(1, now_ms - 26 * HOUR_MS), "1 older than collector.retention_hours")
        .await;
    is_refused(node, &load(1, now_ms + HOUR_MS), "1 from the future").await;
}

async fn retention() {
    let mut cluster = node(json!({})).await;
    let node = &mut cluster.nodes[0];
    let buckets = [12, 8, 4].map(|hours| (now_ms() - hours * HOUR_MS) / BUCKET_MS * BUCKET_MS);
    for begin_ms in buckets {
        let samples = (0..150).flat_map(|step| load(20, begin_ms + 1_000 + step * 10_000));
        is_taken(node, &samples.collect::<Vec<_>>()).await;
    }
    let all = Some(20.0 * 150.0);
    assert_eq!(there(node, &buckets).await, Ok(vec![all; 3]));
    // The newest two hours stay, however large; with less time to keep, those go, too, and the series with them.
    for (collector, expected) in [
        (json!({"retention_bytes": 1}), vec![None, None, all]),
        (json!({"retention_hours": 1}), vec![None; 3]),
    ] {
        again(node, collector.clone()).await;
        let node = &*node;
        eventually(&format!("{collector} holds"), SOON, async || {
            let found = there(node, &buckets).await?;
            ensure(found == expected, || format!("{found:?}"))
        })
        .await;
    }
    let node = &*node;
    eventually("the series are forgotten", SOON, async || {
        let request = http::client().get(node.url("/api/v1/series"));
        let answer = http::json(request.query(&[("match[]", "load")])).await?;
        ensure(answer["data"] == json!([]), || answer.to_string())
    })
    .await;
}

/// How many samples there are of each two hours.
async fn there(node: &Node, buckets: &[i64]) -> Result<Vec<Option<f64>>, String> {
    let mut found = Vec::new();
    for begin_ms in buckets {
        let query = "sum(count_over_time(load[2h]))";
        found.push(value(node, query, begin_ms + BUCKET_MS).await?);
    }
    Ok(found)
}
