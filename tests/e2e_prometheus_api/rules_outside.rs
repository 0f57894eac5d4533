//! Rules over a data source outside: what they record lands there, and an answer that takes longer than the interval is an
//! evaluation missed.

use std::{fs, time::Duration};

use axum::{Router, body::Bytes, http::StatusCode, routing};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    SOON,
    common::{Cluster, Node, eventually, http, ports, wait::ensure},
    peers::{Peer, get},
};

const RULES: &str = "
groups:
  - name: quick
    interval: 1s
    rules: [{record: 'job:quick:sum', expr: 'vector(40) + 2', labels: {from: outside}}]
  - name: slow
    interval: 1s
    rules: [{record: 'job:slow:sum', expr: 'absent(slow_total)'}]
";
/// Longer than two intervals.
const SLOW: Duration = Duration::from_millis(2_300);

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_record_lands_in_prometheus_and_slow_answers_are_counted() {
    let dir = TempDir::new().expect("temporary folder");
    let prometheus = Peer::prometheus(dir.path(), "").await;
    let file = dir.path().join("rules.yml");
    fs::write(&file, RULES).expect("rules");
    let source = json!({
        "url": door(prometheus.base.clone()).await,
        "remote_write_url": format!("{}/api/v1/write", prometheus.base),
    });
    let alerting = json!({"rule_files": [file], "data_source": source});
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    for (query, value) in [("job:quick:sum{from=\"outside\"}", "42"), ("job:slow:sum", "1")] {
        eventually(&format!("{query} in Prometheus"), SOON, async || {
            let answer = get(&prometheus.base, "/api/v1/query", &[("query", query)]).await?;
            ensure(answer["data"]["result"][0]["value"][1] == value, || answer.to_string())
        })
        .await;
    }
    eventually("evaluations are missed", SOON, async || {
        let missed =
            of_group(node, "prometheus_rule_group_iterations_missed_total", "slow").await?;
        let seconds = of_group(node, "prometheus_rule_group_last_duration_seconds", "slow").await?;
        let enough = missed >= 2.0 && seconds >= SLOW.as_secs_f64();
        ensure(enough, || format!("{missed} missed, the last took {seconds} s"))
    })
    .await;
    let failed = of_group(node, "prometheus_rule_evaluation_failures_total", "slow").await;
    assert_eq!(failed, Ok(0.0), "late is not wrong");
}

/// A metric of a group of the file.
async fn of_group(node: &Node, name: &str, group: &str) -> Result<f64, String> {
    let page = http::text(http::client().get(node.url("/metrics"))).await?;
    let (begin, label) = (format!("{name}{{"), format!(";{group}\"}} "));
    let lines = page.lines().filter(|line| line.starts_with(&begin));
    let value = lines.filter_map(|line| line.split_once(&label)).map(|(_, value)| value).next();
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {name} of {group}"))
}

/// A door before Prometheus behind which some questions wait.
async fn door(prometheus: String) -> String {
    let ask = move |body: Bytes| {
        let url = format!("{prometheus}/api/v1/query");
        async move {
            if body.windows(4).any(|word| word == b"slow") {
                tokio::time::sleep(SLOW).await;
            }
            let request = http::client()
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body);
            http::text(request).await.map_err(|error| (StatusCode::BAD_GATEWAY, error))
        }
    };
    let port = ports::free();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("bind");
    let router = Router::new().route("/api/v1/query", routing::post(ask));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://127.0.0.1:{port}")
}
