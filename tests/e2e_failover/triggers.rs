//! What triggers failovers but verdicts, over a running node with its own probes, samples and rules: a budget that burns, an
//! alert that fires; and the backtest over the same samples.

use std::fs;

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::common::{
    Cluster, Node, eventually, failover, failover::SOON, http, receiver::Receiver, wait::ensure,
};

const RULES: &str = r#"
groups:
  - name: queue
    interval: 1s
    rules:
      - alert: QueueFull
        expr: vector(1)
        labels: {severity: critical, service: queue, instance: "10.0.0.1:9100"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_burns_and_an_alert_that_fires() {
    let (dir, sink) = (TempDir::new().expect("temporary folder"), Receiver::start().await);
    let rules = dir.path().join("rules.yml");
    fs::write(&rules, RULES).expect("rules");
    let alerting = json!({"rule_files": [rules], "failover": [
        // Twice as fast as the service's own promise allows: more than a fifth of its probes fail.
        {"name": "burns", "when": {"service": "shop", "burn_rate": {"above": 2, "window": "1m"}},
         "mode": "automatic", "steps": [{"scale": {"add": 1, "callback": {"url": sink.url("/burns")}}}]},
        {"name": "full", "when": {"alert": ["alertname=QueueFull"]}, "mode": "automatic",
         "steps": [{"callback": {"url": sink.url("/full")}}]},
    ]});
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    let began = Utc::now() - TimeDelta::seconds(1);
    let promise = json!({"slo": {"availability": 0.9}}).to_string();
    let (status, said) =
        http::any(Method::PUT, &node.url("/v1/services/shop"), Some(&promise)).await;
    assert!(status.is_success(), "{said}");
    let (up, port) = failover::listener();
    failover::register(node, "shop", port).await;
    node.verdict("shop", "shop-1", "passing", SOON).await;

    // The rule fires from the start; its instance is an address, and none of ours.
    let done = failover::of_service(node, "queue", "delivered").await;
    assert_eq!((&done["policy"], &done["instance"]), (&json!("full"), &json!("")), "{done}");
    assert!(sink.at("/burns").is_empty(), "nothing burns yet");

    drop(up);
    let done = failover::of_service(node, "shop", "delivered").await;
    let reason = done["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("burn rate") && reason.ends_with("over 1m, above 2"), "{done}");
    // It began when it was seen to burn, and not where the window that it is reckoned over begins.
    let incident = format!("/v1/incidents/{}", done["incident"].as_str().expect("an incident"));
    let incident = http::get(&node.url(&incident)).await.expect("the incident");
    let started: chrono::DateTime<Utc> =
        incident["started_at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    assert!(started >= began, "{incident}");
    let call = sink.at("/burns")[0].json();
    assert_eq!((&call["wanted"], &call["instance"]), (&json!(4), &json!("")), "{call}");

    replays(node, began, &["--policy", "burns"], "burns (automatic): 1 faults, 1 failovers").await;
    replays(node, began, &["--policy", "full"], "full (automatic): 1 faults, 1 failovers").await;
    let other = dir.path().join("other.yml");
    let policy = "name: other\nwhen: {alert: ['alertname=\"QueueFull\"'], service: shop}\n\
                  callback: {url: \"http://127.0.0.1:9/\"}\n";
    fs::write(&other, policy).expect("written");
    let other = other.display().to_string();
    let nothing = "other (automatic): 0 faults, 0 failovers";
    replays(node, began, &["--policy-file", &other], nothing).await;
    assert_eq!(
        (sink.at("/burns").len(), sink.at("/full").len()),
        (1, 1),
        "they go on, and are answered"
    );
}

/// What the backtest says of the time since then.
async fn replays(node: &Node, began: chrono::DateTime<Utc>, policy: &[&str], says: &str) {
    eventually(says, SOON, async || {
        let (from, to) = (began.to_rfc3339(), Utc::now().to_rfc3339());
        let mut args = vec!["replay", "--from", &from, "--to", &to];
        args.extend(policy);
        let said = failover::command(node, &args);
        ensure(said.contains(says), || said.clone())
    })
    .await;
}
