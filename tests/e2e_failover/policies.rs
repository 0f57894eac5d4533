//! Failover policies over a running node: modes, promotion and drains as clients see them, next candidates, roll-back, alerts
//! as triggers, and the backtest of what happened.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::common::{
    Cluster, Node, eventually, failover, failover::SOON, http, receiver::Receiver, wait::ensure,
};

fn step(journal: &Value, name: &str) -> Value {
    let steps = journal["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["name"] == name).cloned().unwrap_or_default()
}

async fn timeline(node: &Node, journal: &Value) -> String {
    let id = journal["incident"].as_str().expect("an incident");
    let incident = http::get(&node.url(&format!("/v1/incidents/{id}"))).await.expect("it is there");
    incident["timeline"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_steps_and_what_clients_see() {
    let sink = Receiver::start().await;
    let to_nobody = json!({"promql": "vector(0) > 1", "within_seconds": 1, "every_ms": 100});
    let alerting = json!({
        "receivers": [{"name": "ops", "webhook": sink.url("/page")}],
        "pages": {"receivers": ["ops"]},
        "failover": [
            {"name": "looks", "when": {"service": "looks"},
             "steps": [{"callback": {"url": sink.url("/looks")}}, {"promote": {}}]},
            {"name": "asks", "when": {"service": "asks", "tag": "blue"}, "mode": "approve", "approval_seconds": 60,
             "hooks": {"before": {"url": sink.url("/before")}, "after": {"url": sink.url("/after")}},
             "steps": [
                {"promote": {"zone": "other"}}, {"drain": {}},
                {"wait": {"promql": "vector(1)"}},
                {"callback": {"url": sink.url("/asks"), "expect": {"status": [200]}}}]},
            {"name": "tries", "when": {"service": "tries"}, "mode": "automatic", "steps": [
                {"promote": {}}, {"verify": to_nobody.clone(), "on_failure": "next_candidate"}]},
            {"name": "undoes", "when": {"service": "undoes"}, "mode": "automatic", "steps": [
                {"name": "call", "callback": {"url": sink.url("/do"), "undo_url": sink.url("/undo")}},
                {"promote": {}}, {"drain": {}}, {"verify": to_nobody, "on_failure": "roll_back"}]},
            {"name": "alerted", "when": {"alert": ["alertname=\"QueueFull\"", "severity=~\"page|critical\""]},
             "mode": "automatic", "steps": [{"scale": {"add": 2, "callback": {"url": sink.url("/scale")}}}]},
            {"name": "aborts", "when": {"service": "aborts"}, "mode": "automatic", "steps": [
                {"wait": {"promql": "vector(0) > 1", "within_seconds": 60, "every_ms": 100}},
                {"callback": {"url": sink.url("/aborts")}}]},
        ],
    });
    let cluster = Cluster::layout(1, &[("alerting", alerting)]);
    let dns = cluster.listen_for_dns()[0].1;
    let cluster = cluster.run().await;
    let node = &cluster.nodes[0];
    let began = Utc::now() - TimeDelta::seconds(1);

    // A new policy says what it would do, and does nothing.
    failover::register(node, "looks", failover::dead_port()).await;
    let seen = failover::of_service(node, "looks", "observed").await;
    assert!(
        seen["outcome"].as_str().expect("an outcome").contains("it would have done: calling"),
        "{seen}"
    );
    assert!(timeline(node, &seen).await.contains("it would have done"));
    assert!(sink.at("/looks").is_empty());

    approved(node, &sink, dns).await;

    // Each candidate is tried; then a person is told.
    failover::register(node, "tries", failover::dead_port()).await;
    let tried = failover::of_service(node, "tries", "failed").await;
    assert_eq!(tried["tried"], json!(["tries-2", "tries-3"]), "{tried}");
    assert!(
        tried["outcome"].as_str().expect("an outcome").contains("no other instance"),
        "{tried}"
    );

    // What was done is undone, from the end.
    failover::register(node, "undoes", failover::dead_port()).await;
    let undone = failover::of_service(node, "undoes", "rolled_back").await;
    for name in ["call", "promote", "drain"] {
        assert_eq!(step(&undone, name)["state"], "undone", "{undone}");
    }
    let roles = failover::roles(node, "undoes").await;
    assert_eq!(
        roles[0],
        ("undoes-1".to_owned(), "primary".to_owned(), false),
        "critical, as before"
    );
    assert_eq!((&*roles[1].1, roles[1].2), ("standby", true));
    let call = &sink.at("/undo")[0].json();
    assert_eq!((&call["undo"], &call["step"]), (&json!(true), &json!("undo-call")), "{call}");

    alerted(node, &sink).await;
    aborted(node, &sink).await;
    replayed(node, began);
    let metrics = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    for series in [
        "failovers_over_total{outcome=\"delivered\",policy=\"asks\"} 1",
        "failovers_over_total{outcome=\"rolled_back\",policy=\"undoes\"} 1",
        "failovers{state=\"observed\"} 1",
        // What was observed has not begun.
        "failover_seconds_count 5",
    ] {
        let series = format!("watchkeep_alerting_{series}\n");
        assert!(metrics.contains(&series), "{series}: {metrics}");
    }
}

/// A person is asked and confirms; clients see the promotion and the drain.
async fn approved(node: &Node, sink: &Receiver, dns: u16) {
    failover::register(node, "asks", failover::dead_port()).await;
    let asked = failover::of_service(node, "asks", "awaiting_approval").await;
    let id = asked["id"].as_str().expect("an id");
    eventually("somebody is asked", SOON, async || {
        let pages = sink.at("/page");
        let asks = |page: &crate::common::receiver::Received| {
            page.json().to_string().contains("confirm the failover: asks/asks-1")
        };
        ensure(pages.iter().any(asks), || format!("{} pages", pages.len()))
    })
    .await;
    assert!(sink.at("/before").is_empty());
    let said = failover::command(node, &["approve", id]);
    assert!(said.contains("confirmed by alice"), "{said}");
    let done = failover::of_service(node, "asks", "delivered").await;
    assert_eq!(
        (&done["approved_by"], &done["candidate"]),
        (&json!("alice"), &json!("asks-3")),
        "{done}"
    );
    let expected = [
        ("asks-1".to_owned(), "standby".to_owned(), false),
        ("asks-2".to_owned(), "standby".to_owned(), true),
        ("asks-3".to_owned(), "primary".to_owned(), true),
    ];
    assert_eq!(failover::roles(node, "asks").await, expected);
    // DNS follows in the same moment, give or take the watch.
    eventually("the name of the primary", SOON, async || {
        let port = dns.to_string();
        let mut dig = std::process::Command::new("dig");
        dig.args(["@127.0.0.1", "-p", &port, "+short", "primary.asks.service.watchkeep", "SRV"]);
        let said = String::from_utf8_lossy(&dig.output().expect("dig").stdout).into_owned();
        ensure(said.contains("asks-3") && !said.contains("asks-2"), || said.clone())
    })
    .await;
    for path in ["/before", "/asks", "/after"] {
        assert_eq!(sink.at(path).len(), 1, "{path}");
    }
    let call = sink.at("/asks")[0].json();
    assert_eq!(
        (&call["candidate"], &call["step"]),
        (&json!("asks-3"), &json!("callback-2")),
        "{call}"
    );
    let shown = failover::command(node, &["show", id]);
    assert!(shown.contains("asks-3 is primary now") && shown.contains("attempt 1"), "{shown}");
    // It comes back, and still says of itself that it is the primary.
    let back = json!({"id": "asks-1", "address": "127.0.0.1", "port": 1, "role": "primary"});
    node.register("asks", &back).await;
    assert_eq!(failover::roles(node, "asks").await[0].1, "standby");
    assert!(failover::command(node, &["drains"]).contains("asks/asks-1"));
    failover::command(node, &["undrain", "asks/asks-1"]);
    assert!(failover::command(node, &["roles"]).contains("asks/primary"));
    failover::command(node, &["release", "asks/primary"]);
    assert_eq!(failover::roles(node, "asks").await[0].1, "primary");
}

/// A firing alert triggers one, once, and its end ends the incident.
async fn alerted(node: &Node, sink: &Receiver) {
    node.register("queue", &json!({"id": "queue-1", "address": "127.0.0.1", "port": 1})).await;
    let now = Utc::now().to_rfc3339();
    let alert = json!({"labels": {"alertname": "QueueFull", "severity": "page", "service": "queue"},
        "starts_at": now, "updated_at": now});
    let key = crate::common::cluster::encode("/watchkeep/alerts/0123456789abcdef");
    let value = crate::common::cluster::encode(&alert.to_string());
    node.v3("kv/put", &json!({"key": key, "value": value})).await.expect("written");
    let done = failover::of_service(node, "queue", "delivered").await;
    assert_eq!(sink.at("/scale")[0].json()["wanted"], 3);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(sink.at("/scale").len(), 1, "it fires still, and is answered");
    node.v3("kv/deleterange", &json!({"key": key})).await.expect("deleted");
    let id = done["incident"].as_str().expect("an incident");
    eventually("the incident ends with the alert", SOON, async || {
        let incident = http::get(&node.url(&format!("/v1/incidents/{id}"))).await?;
        ensure(incident["status"] == "resolved", || incident.to_string())
    })
    .await;
}

/// A person ends one that waits.
async fn aborted(node: &Node, sink: &Receiver) {
    failover::register(node, "aborts", failover::dead_port()).await;
    let waits = failover::of_service(node, "aborts", "pending").await;
    failover::command(node, &["abort", waits["id"].as_str().expect("an id")]);
    let ended = failover::of_service(node, "aborts", "aborted").await;
    assert_eq!(
        (&ended["aborted_by"], &step(&ended, "callback")["state"]),
        (&json!("alice"), &json!("skipped"))
    );
    assert!(sink.at("/aborts").is_empty());
}

/// What the policies would have done about all that.
fn replayed(node: &Node, began: chrono::DateTime<Utc>) {
    let (from, to) = (began.to_rfc3339(), Utc::now().to_rfc3339());
    let said =
        failover::command(node, &["replay", "--policy", "looks", "--from", &from, "--to", &to]);
    assert!(said.contains("looks/looks-1") && said.contains("acts "), "{said}");
    assert!(said.contains("looks (observe): 1 faults, 1 failovers, 0 held"), "{said}");
    let dir = tempfile::TempDir::new().expect("a folder");
    let file = dir.path().join("policy.yml");
    let policy =
        "name: new\nwhen: {role: primary}\nguards: {rate_per_hour: 1}\nsteps: [{promote: {}}]\n";
    std::fs::write(&file, policy).expect("written");
    let file = file.display().to_string();
    let said =
        failover::command(node, &["replay", "--policy-file", &file, "--from", &from, "--to", &to]);
    assert!(said.contains("held by rate_per_hour"), "{said}");
}
