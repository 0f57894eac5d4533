//! Every guard of a failover over a running node: each alone holds it, and without it the same failover is done.

use chrono::{Datelike, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{
    Cluster, Node, failover,
    failover::{SOON, dead_port, rehearse},
    http,
    receiver::Receiver,
};

/// Every guard is there and lets a failure of one of three instances pass.
fn guards(changed: Value) -> Value {
    let mut guards = json!({
        "minimum_healthy": 2, "maximum_share_percent": 50, "cooldown_seconds": 600,
        "rate_per_hour": 2, "quorum": 1, "zone": "same", "one_at_a_time": true,
        "time_windows": [{"from": "00:00", "to": "00:00"}],
    });
    for (name, value) in changed.as_object().expect("an object") {
        guards[name] = value.clone();
        if value.is_null() {
            guards.as_object_mut().expect("an object").remove(name);
        }
    }
    guards
}

/// A policy that nothing triggers.
fn policy(name: &str, sink: &Receiver, changed: Value) -> Value {
    json!({"name": name, "when": {"service": "nobody"}, "mode": "automatic", "guards": guards(changed),
           "steps": [{"callback": {"url": sink.url("/callback")}}]})
}

/// Exactly this guard holds.
async fn alone(node: &Node, guard: &str, policy: &str, service: &str) {
    let held = rehearse(node, policy, service, &format!("{service}-1")).await;
    assert_eq!(held["state"], "held", "{guard}: {held}");
    let results = held["guards"].as_array().expect("guards");
    let holding: Vec<_> = results.iter().filter(|result| result["held"] == true).collect();
    assert_eq!(holding.len(), 1, "{guard}: {held}");
    assert_eq!(holding[0]["guard"], guard, "{held}");
    assert!(held["steps"].is_null() && held["attempts"] == json!([]), "{guard}: {held}");
}

/// A failover of the past.
async fn seed(node: &Node, id: &str, policy: &str, service: &str) {
    let at = |seconds| (Utc::now() - TimeDelta::seconds(seconds)).to_rfc3339();
    let record = json!({"id": id, "policy": policy, "service": service, "instance": "x", "reason": "r",
        "decided_at": at(61), "started_at": at(60), "finished_at": at(55), "state": "delivered", "incident": ""});
    let key = crate::common::cluster::encode(&format!("/watchkeep/failovers/{id}"));
    let value = crate::common::cluster::encode(&record.to_string());
    node.v3("kv/put", &json!({"key": key, "value": value})).await.expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_guard_alone_holds() {
    let (sink, gate) = (Receiver::start().await, Receiver::start_gated(false).await);
    let another_day = Utc::now().weekday().succ().succ().to_string();
    let busy = json!({"name": "busy", "when": {"service": "busy"},
        "callback": {"url": gate.url("/callback"), "timeout_ms": 60_000}});
    let policies = [
        busy,
        policy("open", &sink, json!({})),
        policy("minimum", &sink, json!({"minimum_healthy": 3})),
        policy("share", &sink, json!({"maximum_share_percent": 30})),
        policy("quorum", &sink, json!({"quorum": 2})),
        policy("hours", &sink, json!({"time_windows": [{"days": [another_day]}]})),
        policy("no-cooldown", &sink, json!({"cooldown_seconds": null})),
        policy("rate", &sink, json!({})),
        policy("proven", &sink, json!({"has_passed": true})),
    ];
    let cluster = Cluster::start(1, &[("alerting", json!({"failover": policies}))]).await;
    let node = &cluster.nodes[0];
    for service in ["db", "cold", "far", "mnt", "busy"] {
        failover::register(node, service, dead_port()).await;
        node.verdict(service, &format!("{service}-1"), "critical", SOON).await;
    }
    // In another zone than all the others.
    let moved =
        json!({"id": "far-2", "address": "127.0.0.1", "port": 1, "zone": "b", "role": "standby"});
    node.register("far", &moved).await;
    let window = json!({"scope": {"service": "mnt"}, "duration_seconds": 3600, "author": "alice"});
    http::post(&node.url("/v1/maintenance"), &window).await.expect("a window");

    let open = rehearse(node, "open", "db", "db-1").await;
    assert_eq!(open["state"], "delivered", "{open}");
    let said = sink.at("/callback");
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0].json()["rehearsal"].clone(), said[0].header("watchkeep-rehearsal")),
        (json!(true), "true")
    );

    alone(node, "minimum_healthy", "minimum", "db").await;
    alone(node, "maximum_share_percent", "share", "db").await;
    alone(node, "quorum", "quorum", "db").await;
    // It was dead when it was registered.
    alone(node, "has_passed", "proven", "db").await;
    alone(node, "time_windows", "hours", "db").await;
    alone(node, "zone", "open", "far").await;
    crate::common::eventually("the window is open", SOON, async || {
        let known = rehearse(node, "open", "mnt", "mnt-1").await;
        crate::common::wait::ensure(known["state"] == "held", || known.to_string())
    })
    .await;
    alone(node, "maintenance", "open", "mnt").await;
    // One is under way: its receiver does not answer.
    gate.wait("/callback", 1, SOON).await;
    alone(node, "one_at_a_time", "no-cooldown", "busy").await;
    gate.open();
    failover::of_service(node, "busy", "delivered").await;
    let after = rehearse(node, "no-cooldown", "busy", "busy-1").await;
    assert_eq!(after["state"], "delivered", "{after}");
    seed(node, "before.cold", "other", "cold").await;
    alone(node, "cooldown_seconds", "open", "cold").await;
    for number in 0..2 {
        seed(node, &format!("rate-{number}"), "rate", "elsewhere").await;
    }
    alone(node, "rate_per_hour", "rate", "db").await;

    failover::command(node, &["stop", "--reason", "a migration"]);
    let switch = http::get(&node.url("/v1/failover-stop")).await.expect("the switch");
    assert_eq!((&switch["stopped"], &switch["by"]), (&json!(true), &json!("alice")), "{switch}");
    alone(node, "kill_switch", "open", "db").await;
    failover::command(node, &["resume"]);
    let said = failover::command(node, &["rehearse", "open", "db/db-1"]);
    assert!(said.contains("(rehearsal)") && said.contains("delivered"), "{said}");
    // Rehearsals have no incident, and hold nothing.
    let metrics = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    assert!(!metrics.contains("failovers_over_total{outcome=\"held\""), "rehearsals do not count");
    let (status, _) =
        http::any(Method::POST, &node.url("/v1/failovers/rehearsals"), Some("{}")).await;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_failover_and_a_stop_hand_over_to_a_person() {
    let (sink, gate) = (Receiver::start().await, Receiver::start_gated(false).await);
    let alerting = json!({
        "receivers": [{"name": "ops", "webhook": sink.url("/page")}],
        "pages": {"receivers": ["ops"]},
        "failover": [
            {"name": "careful", "when": {"service": "db"}, "mode": "automatic",
             "guards": {"quorum": 9}, "steps": [{"callback": {"url": sink.url("/callback")}}]},
            {"name": "slow", "when": {"service": "web"}, "mode": "automatic", "steps": [
                {"name": "first", "callback": {"url": gate.url("/first"), "timeout_ms": 60_000}},
                {"name": "second", "callback": {"url": sink.url("/second")}}]},
            {"name": "direct", "when": {"service": "api"}, "callback": {"url": sink.url("/direct")}},
        ],
    });
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    let (up, port) = failover::listener();
    failover::register(node, "api", port).await;
    node.verdict("api", "api-1", "passing", SOON).await;
    failover::register(node, "db", dead_port()).await;
    let held = failover::of_service(node, "db", "held").await;
    assert_eq!(held["guards"].as_array().expect("guards").last().expect("one")["guard"], "quorum");
    let paged = |text: &'static str| {
        let sink = &sink;
        async move {
            crate::common::eventually(text, SOON, async || {
                let pages = sink.at("/page");
                let said = |page: &crate::common::receiver::Received| {
                    page.json().to_string().contains(text)
                };
                crate::common::wait::ensure(pages.iter().any(said), || {
                    format!("{} pages", pages.len())
                })
            })
            .await;
        }
    };
    paged("failover held back, act by hand").await;
    assert!(sink.at("/callback").is_empty());

    failover::register(node, "web", dead_port()).await;
    gate.wait("/first", 1, SOON).await;
    failover::command(node, &["stop", "--reason", "enough"]);
    gate.open();
    let stopped = failover::of_service(node, "web", "failed").await;
    let outcome = stopped["outcome"].as_str().expect("an outcome");
    assert!(
        outcome.contains("stopped by alice") && outcome.contains("done before: first"),
        "{outcome}"
    );
    paged("failover failed, act by hand").await;
    assert!(sink.at("/second").is_empty());
    // Even a policy without any guard does nothing now.
    drop(up);
    failover::of_service(node, "api", "held").await;
    assert!(sink.at("/direct").is_empty());
    let metrics = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    for series in [
        "failovers_held_total{guard=\"quorum\",policy=\"careful\"} 1",
        "failovers_held_total{guard=\"kill_switch\",policy=\"direct\"} 1",
        "failover_stopped 1",
    ] {
        let series = format!("watchkeep_alerting_{series}\n");
        assert!(metrics.contains(&series), "{series}: {metrics}");
    }
}
