//! Rules while the registry is lost, on nodes without an `alertmanager.yml`: whoever is on call is called for what they find.

use std::fs;

use serde_json::{Value, json};
use watchkeep_collector::remote_write::encode;
use watchkeep_series::{Labels, Sample};

use super::{SOON, receivers::heard_of_the_registry, text};
use crate::common::{Cluster, Node, eventually, http, receiver::Receiver, wait::ensure};

const RULES: &str = "groups: [{name: g, interval: 1s, rules: [
    {alert: Before, expr: 'vector(1)', annotations: {summary: it was so before}},
    {alert: Brief, expr: 'brief > 0', labels: {severity: warning}, annotations: {summary: the switch is on}},
    {alert: Stays, expr: 'stays > 0'}]}]\n";

/// Samples of this node alone.
async fn write(node: &Node, name: &str, value: f64) {
    let timestamp_ms = chrono::Utc::now().timestamp_millis();
    let labels = Labels::new([("__name__", name)]);
    let request = http::client()
        .post(node.url("/api/v1/write"))
        .header("Content-Encoding", "snappy")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .body(encode(&[(labels, Sample { timestamp_ms, value })]));
    let (status, said) = http::send(request).await.expect("an answer");
    assert!(status.is_success(), "{status} {said}");
}

/// What alice was told of an alert.
fn told(receiver: &Receiver, alert: &str) -> Vec<Value> {
    let all = receiver.at("/alice").into_iter().map(|request| request.json());
    all.filter(|body| body["commonLabels"]["alertname"] == alert).collect()
}

async fn told_as(receiver: &Receiver, alert: &str, status: &str, summary: &str) {
    eventually(&format!("alice is told: {alert} is {status}"), SOON * 2, async || {
        let told = told(receiver, alert);
        let found = told.iter().any(|body| {
            let said = text(&body["commonAnnotations"]["summary"]);
            body["status"] == status && said.contains(summary)
        });
        ensure(found, || json!(told).to_string())
    })
    .await;
}

#[tokio::test]
async fn without_routes_people_are_called_for_what_rules_find() {
    const LOST: &str = "(the registry is lost, you may be told twice)";
    let receiver = Receiver::start().await;
    let alerting = json!({
        "people": [{"name": "alice", "webhook": receiver.url("/alice")}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]}],
        "pages": {"schedule": "primary"},
        "rule_files": ["rules.yml"], "shipped_rules": false,
    });
    let cluster = Cluster::layout(3, &[("alerting", alerting)]);
    for node in &cluster.nodes {
        fs::write(node.dir.join("rules.yml"), RULES).expect("written");
    }
    let mut cluster = cluster.run().await;
    cluster.alerting_leader().await;
    heard_of_the_registry(&cluster.nodes[0]).await;
    told_as(&receiver, "Before", "firing", "it was so before").await;
    for node in &mut cluster.nodes[1..] {
        node.kill();
    }
    told_as(&receiver, "WatchkeepRegistryLost", "firing", "told twice").await;
    let node = &cluster.nodes[0];
    write(node, "brief", 1.0).await;
    write(node, "stays", 1.0).await;
    told_as(&receiver, "Brief", "firing", &format!("the switch is on {LOST}")).await;
    told_as(&receiver, "Stays", "firing", &format!("Stays {LOST}")).await;
    // It is evaluated every second, and told once; and its end to the same.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!((told(&receiver, "Brief").len(), told(&receiver, "Stays").len()), (1, 1));
    write(node, "brief", 0.0).await;
    told_as(&receiver, "Brief", "resolved", LOST).await;
    let before = told(&receiver, "Before");
    let again = before.iter().any(|body| body.to_string().contains("registry is lost"));
    assert!(!again, "its incident was open before: {before:?}");

    for node in &mut cluster.nodes[1..] {
        node.start();
    }
    cluster.ready().await;
    told_as(&receiver, "WatchkeepRegistryLost", "resolved", "told twice").await;
    told_as(&receiver, "Stays", "resolved", LOST).await;
}
