//! Drains of instances that are not registered any more, over a running node: they wait, end after their time, and it is written down.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

mod common;
use common::{Cluster, Node, cluster::encode, eventually, failover::command, http, wait::ensure};

const SOON: Duration = Duration::from_secs(40);

async fn drains(node: &Node, query: &str) -> Result<Vec<Value>, String> {
    let answer = http::get(&node.url(&format!("/v1/drains{query}"))).await?;
    Ok(answer["drains"].as_array().cloned().unwrap_or_default())
}

async fn deregister(node: &Node, id: &str) {
    let url = node.url(&format!("/v1/services/db/instances/{id}"));
    let (status, said) = http::any(Method::DELETE, &url, None).await;
    assert!(status.is_success(), "{said}");
}

/// The one drain there is, of an instance that is gone.
async fn gone(node: &Node) -> Value {
    eventually("it is gone", SOON, async || {
        let mut found = drains(node, "").await?;
        ensure(found.len() == 1 && found[0]["gone_since"].is_string(), || {
            json!(found).to_string()
        })?;
        Ok(found.remove(0))
    })
    .await
}

fn time(text: &Value) -> DateTime<Utc> {
    text.as_str().expect("a time").parse().expect("a time")
}

/// As if so many hours had passed since it was drained, and one less since it went.
async fn long_ago(node: &Node, id: &str, by: &str, hours: i64) {
    let ago = |hours| (Utc::now() - TimeDelta::hours(hours)).to_rfc3339();
    let drain = json!({"service": "db", "instance": id, "since": ago(hours), "by": by, "reason": "new disks"});
    let absence = json!({"service": "db", "instance": id, "since": ago(hours - 1)});
    let put = |prefix: &str, record: &Value| {
        let key = encode(&format!("/watchkeep/{prefix}/db/{id}"));
        json!({"request_put": {"key": key, "value": encode(&record.to_string())}})
    };
    let puts = [put("drains", &drain), put("absent-drains", &absence)];
    node.v3("kv/txn", &json!({"success": puts})).await.expect("written");
}

async fn nothing_is_drained(node: &Node) {
    eventually("the drain ends", SOON, async || {
        let found = drains(node, "").await?;
        ensure(found.is_empty(), || json!(found).to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_when_its_instance_is_gone_for_long() {
    let cluster = Cluster::start(1, &[("alerting", json!({"drain_retention_hours": 48}))]).await;
    let node = &cluster.nodes[0];
    let one = json!({"id": "one", "address": "127.0.0.1", "port": 1});
    node.register("db", &one).await;
    command(node, &["drain", "db/one", "--reason", "new disks"]);
    deregister(node, "one").await;
    let found = gone(node).await;
    let waits = time(&found["ends_at"]) - time(&found["gone_since"]);
    assert_eq!((waits, &found["by"]), (TimeDelta::hours(48), &json!("alice")));

    // It comes back, and is still left out.
    node.register("db", &one).await;
    eventually("it is back", SOON, async || {
        let found = drains(node, "").await?;
        ensure(found.len() == 1 && found[0]["gone_since"].is_null(), || json!(found).to_string())
    })
    .await;
    let url = node.url("/v1/services/db/instances?healthy=true");
    assert_eq!(http::get(&url).await.expect("instances")["instances"], json!([]));
    deregister(node, "one").await;
    gone(node).await;

    // Just before its time it stands.
    long_ago(node, "one", "alice", 48).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(drains(node, "").await.expect("drains").len(), 1);
    long_ago(node, "one", "alice", 50).await;
    nothing_is_drained(node).await;
    let all = drains(node, "?all=true").await.expect("drains");
    assert!(
        all.len() == 1 && all[0]["by"] == "alice" && all[0]["reason"] == "new disks",
        "{all:?}"
    );
    assert!(Utc::now() - time(&all[0]["ended_at"]) < TimeDelta::minutes(1), "{all:?}");
    let said = command(node, &["drains", "--all"]);
    assert!(said.contains("db/one") && said.contains("ended 20"), "{said}");
    assert!(!command(node, &["drains"]).contains("db/one"));
    node.register("db", &one).await;
    let found = http::get(&url).await.expect("instances");
    assert_eq!(found["instances"].as_array().map(Vec::len), Some(1), "{found}");

    // Of one that a failover has drained its incident tells.
    let body = json!({"title": "db is down"});
    let incident = http::post(&node.url("/v1/incidents"), &body).await.expect("an incident");
    let at = Utc::now().to_rfc3339();
    let failover = json!({"id": "f-1", "policy": "p", "service": "db", "instance": "two", "reason": "r",
        "decided_at": at, "finished_at": at, "state": "delivered", "incident": incident["id"]});
    let key = encode("/watchkeep/failovers/f-1");
    let put = json!({"key": key, "value": encode(&failover.to_string())});
    node.v3("kv/put", &put).await.expect("written");
    long_ago(node, "two", "f-1", 50).await;
    nothing_is_drained(node).await;
    let id = incident["id"].as_str().expect("an id");
    let known = http::get(&node.url(&format!("/v1/incidents/{id}"))).await.expect("the incident");
    assert!(known["timeline"].to_string().contains("the drain of db/two has ended"), "{known}");

    let (status, said) = http::any(Method::GET, &node.url("/v1/drains?all=maybe"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
}
