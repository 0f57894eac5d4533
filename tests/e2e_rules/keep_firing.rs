//! `keep_firing_for` goes on where it was: after a restart, and under the next leader. (Prometheus begins anew with the
//! evaluation, and an alert whose condition has ended does not fire any more.)

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use watchkeep_collector::remote_write::encode;
use watchkeep_series::{Labels, Sample};

use super::{
    SOON,
    common::{Cluster, Node, eventually, http, wait::ensure},
};

/// Longer than a restart or a change of leader takes.
const KEEP: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn keep_firing_goes_on_after_a_restart_and_under_the_next_leader() {
    tokio::join!(after_a_restart(), under_the_next_leader());
}

async fn after_a_restart() {
    let dir = TempDir::new().expect("temporary folder");
    let mut cluster = Cluster::start(1, &[("alerting", alerting(dir.path()))]).await;
    let before = only_kept(&cluster, 0).await;
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.ready().await;
    goes_on(&cluster, &before).await;
}

async fn under_the_next_leader() {
    let dir = TempDir::new().expect("temporary folder");
    let mut cluster = Cluster::start(3, &[("alerting", alerting(dir.path()))]).await;
    let leader = cluster.alerting_leader().await;
    let before = only_kept(&cluster, leader).await;
    cluster.nodes[leader].kill();
    goes_on(&cluster, &before).await;
}

fn alerting(dir: &Path) -> Value {
    let file = dir.join("rules.yml");
    let rule = format!("{{alert: Spark, expr: 'spark > 0', keep_firing_for: {}s}}", KEEP.as_secs());
    fs::write(&file, format!("groups: [{{name: g, interval: 1s, rules: [{rule}]}}]\n"))
        .expect("rules");
    json!({"rule_files": [file]})
}

/// Lets the alert fire and its condition end; the alert, once it fires by `keep_firing_for` only.
async fn only_kept(cluster: &Cluster, leader: usize) -> Value {
    spark(cluster, 1.0).await;
    let firing = shown(&cluster.nodes[leader], |alert| alert["state"] == "firing").await;
    assert!(firing["keepFiringSince"].is_null(), "{firing}");
    spark(cluster, 0.0).await;
    shown(&cluster.nodes[leader], |alert| alert["keepFiringSince"].is_string()).await
}

/// Every node gets a sample of its own: whoever leads looks at those that it has.
async fn spark(cluster: &Cluster, value: f64) {
    let sample = Sample { timestamp_ms: chrono::Utc::now().timestamp_millis(), value };
    let body = encode(&[(Labels::new([("__name__", "spark")]), sample)]);
    for node in &cluster.nodes {
        let request = http::client().post(node.url("/api/v1/write")).body(body.clone());
        http::text(request).await.expect("taken");
    }
}

async fn shown(node: &Node, is: impl Fn(&Value) -> bool) -> Value {
    eventually("the alert is so", SOON, async || {
        let answer = http::get(&node.url("/api/v1/alerts")).await?;
        let alert = answer["data"]["alerts"][0].clone();
        ensure(is(&alert), || answer.to_string())?;
        Ok(alert)
    })
    .await
}

/// The rule, by the node that evaluates it.
async fn evaluated(cluster: &Cluster) -> Result<Value, String> {
    for node in cluster.nodes.iter().filter(|node| node.is_running()) {
        let answer = http::get(&node.url("/api/v1/rules")).await?;
        let rule = answer["data"]["groups"][0]["rules"][0].clone();
        if rule["health"] == "ok" {
            return Ok(rule);
        }
    }
    Err("nobody evaluates it".to_owned())
}

/// The alert fires on since the same time, and ends when that is long enough ago.
async fn goes_on(cluster: &Cluster, before: &Value) {
    let rule = eventually("the rule is evaluated", SOON, async || evaluated(cluster).await).await;
    let after = &rule["alerts"][0];
    for field in ["state", "activeAt", "keepFiringSince", "labels"] {
        assert_eq!(after[field], before[field], "{field} of {rule}, which was {before}");
    }
    let ended = eventually("the alert ends", SOON, async || {
        let rule = evaluated(cluster).await?;
        ensure(rule["state"] == "inactive", || rule.to_string())?;
        Ok(rule)
    })
    .await;
    let time = |value: &Value| {
        let text = value.as_str().expect("a time");
        chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339")
    };
    let kept = time(&ended["lastEvaluation"]) - time(&before["keepFiringSince"]);
    assert!(kept.to_std().is_ok_and(|kept| kept >= KEEP), "it ended after {kept}");
}
