//! What a rule file may say beside rules, and what metrics and the API tell of rules that do not go well.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use watchkeep_collector::remote_write::encode;
use watchkeep_series::{Labels, Sample};

use super::{
    SOON,
    common::{Cluster, Node, eventually, http, wait::ensure},
};

/// Files are looked at every 15 s anyway: of three signals at least one is answered in time only if they are heard.
const AT_ONCE: Duration = Duration::from_secs(5);
const RULES: &str = "
groups:
  - name: good
    interval: 1s
    query_offset: 1h
    labels: {team: db, tier: '1'}
    rules:
      - alert: Earlier
        expr: vector(time()) > 0
        labels: {tier: '2'}
  - name: bad
    interval: 1s
    limit: 1
    rules:
      - {alert: Two, expr: twin > 0}
      - {record: product, expr: twin * on () twin}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_and_a_signal_reads_the_files_again() {
    let dir = TempDir::new().expect("temporary folder");
    let file = dir.path().join("rules.yml");
    fs::write(&file, RULES).expect("rules");
    let mut cluster = Cluster::start(1, &[("alerting", json!({"rule_files": [file]}))]).await;
    let id = cluster.nodes[0].process().id().to_string();
    let node = &cluster.nodes[0];
    two_of_a_kind(node).await;
    for (name, words) in
        [("Two", "2 alerts are more than the group's limit of 1"), ("product", "many-to-many")]
    {
        eventually(&format!("{name} fails"), SOON, async || {
            let rule = rule(node, name).await?;
            let error = rule["lastError"].as_str().unwrap_or_default();
            ensure(rule["health"] == "err" && error.contains(words), || rule.to_string())
        })
        .await;
    }
    eventually("failures are counted", SOON, async || {
        let (bad, good) = (failures(node, "bad").await?, failures(node, "good").await?);
        ensure(bad >= 2.0 && good == 0.0, || format!("{bad} and {good}"))
    })
    .await;

    // The group's labels, its rule's above them; and the time that was asked for.
    let answer = http::get(&node.url("/api/v1/alerts")).await.expect("alerts");
    let alerts = answer["data"]["alerts"].as_array().expect("a list");
    assert_eq!(alerts.len(), 1, "those beyond the limit are none: {answer}");
    let labels = json!({"alertname": "Earlier", "team": "db", "tier": "2"});
    assert_eq!(alerts[0]["labels"], labels, "{answer}");
    let asked_for: f64 = alerts[0]["value"].as_str().expect("text").parse().expect("a number");
    let ago = chrono::Utc::now().timestamp() as f64 - asked_for;
    assert!((3_599.0..3_660.0).contains(&ago), "{ago} s ago");

    // A signal: other rules; a wrong file, which changes nothing; and the way back.
    for (text, name, successful) in [
        (RULES.replace("Earlier", "Former"), "Former", 1.0),
        (RULES.replace("time()", "time("), "Former", 0.0),
        (RULES.to_owned(), "Earlier", 1.0),
    ] {
        fs::write(&file, text).expect("rules");
        assert!(Command::new("kill").args(["-HUP", &id]).status().expect("kill").success());
        eventually(&format!("{name} is in force"), AT_ONCE, async || {
            let is = metric(node, "watchkeep_alerting_rules_last_reload_successful").await?;
            let rule = rule(node, name).await?;
            ensure(is == successful && rule["name"] == name, || format!("{is} {rule}"))
        })
        .await;
    }
}

/// A rule as the API shows it.
async fn rule(node: &Node, name: &str) -> Result<Value, String> {
    let answer = http::get(&node.url(&format!("/api/v1/rules?rule_name[]={name}"))).await?;
    Ok(answer["data"]["groups"][0]["rules"][0].clone())
}

/// Two series with one name: products of all with all are refused.
async fn two_of_a_kind(node: &Node) {
    let sample = Sample { timestamp_ms: chrono::Utc::now().timestamp_millis(), value: 1.0 };
    let twins = ["1", "2"].map(|n| (Labels::new([("__name__", "twin"), ("n", n)]), sample));
    let request = http::client().post(node.url("/api/v1/write")).body(encode(&twins));
    http::text(request).await.expect("taken");
}

async fn failures(node: &Node, group: &str) -> Result<f64, String> {
    let page = http::text(http::client().get(node.url("/metrics"))).await?;
    let is_it = |line: &&str| {
        line.starts_with("prometheus_rule_evaluation_failures_total{")
            && line.contains(&format!(";{group}\"}}"))
    };
    value(page.lines().find(is_it), group)
}

async fn metric(node: &Node, name: &str) -> Result<f64, String> {
    let page = http::text(http::client().get(node.url("/metrics"))).await?;
    value(page.lines().find(|line| line.starts_with(&format!("{name} "))), name)
}

fn value(line: Option<&str>, name: &str) -> Result<f64, String> {
    let text = line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| format!("no {name}"))
}
