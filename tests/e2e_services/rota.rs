//! Whose turn it is and by which way, by every door: round robin, what is not urgent, layers with hours, a temporary schedule,
//! events as PagerDuty has them, and a heartbeat that does not come.

use std::{fs, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::oncall::{node, report};
use crate::common::{Cluster, Node, eventually, http, receiver::Receiver, wait::ensure};

const SOON: Duration = Duration::from_secs(30);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Two people with a webhook each.
fn people(receiver: &Receiver) -> Value {
    json!([{"name": "alice", "webhook": receiver.url("/alice")},
           {"name": "bob", "webhook": receiver.url("/bob")}])
}

#[tokio::test]
async fn of_three_incidents_each_calls_the_next() {
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "people": people(&receiver),
        "escalations": [{"name": "turns", "steps": [
            {"targets": [{"person": "alice"}, {"person": "bob"}], "round_robin": true, "wait_seconds": 3600},
        ]}],
        "pages": {"escalation": "turns"},
    }))
    .await;
    let told = |name: &str| receiver.at(&format!("/{name}")).len();
    for (number, expected) in [(0, (1, 0)), (1, (1, 1)), (2, (2, 1))] {
        report(
            &cluster.nodes[0],
            json!({"title": format!("fault {number}"), "dedup_key": format!("f{number}")}),
        )
        .await;
        eventually("the next one is called", SOON, async || {
            let found = (told("alice"), told("bob"));
            ensure(found == expected, || format!("fault {number}: {found:?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_not_urgent_goes_another_way() {
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "smtp": {"host": "127.0.0.1", "port": 9, "from": "watch@example.org"},
        "people": [{"name": "alice", "webhook": receiver.url("/alice"), "email": "alice@example.org",
                    "notify": {"urgent": [{"channel": "webhook"}],
                               "not_urgent": [{"channel": "webhook", "after_seconds": 3600}]}}],
        "pages": {"schedule": "primary", "urgent": ["critical"]},
    }))
    .await;
    let node = &cluster.nodes[0];
    let open = async |severity: &str| {
        let body = json!({"title": severity, "dedup_key": severity, "severity": severity});
        text(&report(node, body).await["id"])
    };
    let (warning, critical) = (open("warning").await, open("critical").await);
    let told = receiver.wait("/alice", 1, SOON).await;
    assert!(told[0].json().to_string().contains(&critical));
    let waiting = http::get(&node.url(&format!("/v1/incidents/{warning}"))).await.expect("it");
    let page = &waiting["pages"][0];
    assert_eq!((&page["state"], &page["channel"]), (&json!("pending"), &json!("webhook")));
    assert!(page["not_before"].is_string(), "{page}");
    assert_eq!(receiver.at("/alice").len(), 1);
}

/// The person at an instant.
async fn at(node: &Node, instant: &str) -> String {
    let url = node.url(&format!("/v1/oncall?schedule=hours&at={instant}"));
    let found = http::get(&url).await.expect("an answer");
    let person = &found["person"];
    person.as_str().unwrap_or("nobody").to_owned()
}

#[tokio::test]
async fn layers_with_hours_and_a_temporary_schedule() {
    let receiver = Receiver::start().await;
    let office = json!({"name": "office", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["bob"],
                        "restrictions": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}]});
    let always = json!({"every": {"weeks": 1}, "start": "2026-01-05", "time": "09:00", "rotation": ["alice"]});
    let cluster = Cluster::start(
        1,
        &[("alerting", json!({
            "people": people(&receiver),
            "schedules": [{"name": "hours", "time_zone": "Europe/Berlin", "layers": [always, office]}],
            "pages": {"schedule": "hours"},
        }))],
    )
    .await;
    cluster.alerting_leader().await;
    let node = &cluster.nodes[0];
    // Winter and summer, a working day and a Saturday.
    for (instant, person) in [
        ("2098-01-06T07:59:59Z", "alice"),
        ("2098-01-06T08:00:00Z", "bob"),
        ("2098-01-06T15:59:59Z", "bob"),
        ("2098-01-06T16:00:00Z", "alice"),
        ("2098-07-01T07:00:00Z", "bob"),
        ("2098-07-01T15:00:00Z", "alice"),
        ("2098-01-04T10:00:00Z", "alice"),
    ] {
        assert_eq!(at(node, instant).await, person, "{instant}");
    }
    let changes = node.url("/v1/oncall/schedules/hours/changes");
    let temporary = |shifts: Value| {
        json!({"kind": "temporary", "from": "2098-01-06T00:00:00Z", "to": "2098-01-07T00:00:00Z", "by": "alice",
               "comment": "moving", "shifts": shifts})
    };
    let shift = |person: &str, from: &str, to: &str| json!({"person": person, "from": format!("2098-01-06T{from}Z"), "to": format!("2098-01-06T{to}Z")});
    // Overlapping shifts and people who are not there are refused.
    for (shifts, part) in [
        (
            json!([shift("alice", "08:00:00", "12:00:00"), shift("bob", "11:00:00", "13:00:00")]),
            "it is that of",
        ),
        (json!([shift("carol", "08:00:00", "12:00:00")]), "carol"),
    ] {
        let body = temporary(shifts).to_string();
        let (status, answer) = http::any(Method::POST, &changes, Some(&body)).await;
        assert!(status.is_client_error() && answer.contains(part), "{status}: {answer}");
    }
    let shifts =
        json!([shift("alice", "08:00:30", "12:00:00"), shift("bob", "12:00:00", "13:00:00")]);
    let made = http::post(&changes, &temporary(shifts)).await.expect("it is taken");
    for (instant, person) in [
        ("2098-01-05T23:59:59Z", "alice"),
        ("2098-01-06T08:00:29Z", "nobody"),
        ("2098-01-06T08:00:30Z", "alice"),
        ("2098-01-06T12:00:00Z", "bob"),
        ("2098-01-06T13:00:00Z", "nobody"),
        ("2098-01-07T00:00:00Z", "alice"),
    ] {
        eventually(instant, SOON, async || {
            let found = at(node, instant).await;
            ensure(found == person, || format!("{found}, not {person}"))
        })
        .await;
    }
    let id = text(&made["id"]);
    let (status, _) = http::any(Method::DELETE, &format!("{changes}/{id}"), None).await;
    assert!(status.is_success(), "{status}");
    eventually("it is as it was", SOON, async || {
        let found = at(node, "2098-01-06T13:00:00Z").await;
        ensure(found == "bob", || found)
    })
    .await;
}

#[tokio::test]
async fn events_as_pagerduty_has_them_open_take_and_end_an_incident() {
    let (receiver, dir) = (Receiver::start().await, tempfile::tempdir().expect("a folder"));
    let key = dir.path().join("key");
    fs::write(&key, "r-key\n").expect("written");
    let cluster = node(json!({
        "people": people(&receiver),
        "integrations": [{"name": "backup", "routing_key_file": key}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let node = &cluster.nodes[0];
    let event = |action: &str| {
        json!({"routing_key": "r-key", "event_action": action, "dedup_key": "disk", "client": "cron",
               "payload": {"summary": "disk full", "source": "web-1", "severity": "critical",
                           "custom_details": {"free": "1 %"}},
               "links": [{"href": "https://wiki.example.org/disk", "text": "what to do"}]})
    };
    let send = async |event: &Value| {
        http::any(Method::POST, &node.url("/v2/enqueue"), Some(&event.to_string())).await
    };
    let mut foreign = event("trigger");
    foreign["routing_key"] = json!("another");
    let (status, answer) = send(&foreign).await;
    assert!(status.is_client_error(), "{status}: {answer}");
    // Twice the same is one incident.
    for _ in 0..2 {
        let (status, answer) = send(&event("trigger")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        assert!(answer.contains("\"dedup_key\":\"disk\""), "{answer}");
    }
    let call = receiver.wait("/alice", 1, SOON).await[0].json();
    assert_eq!(call["status"], "firing");
    let state = async |expected: &str| {
        eventually(expected, SOON, async || {
            let all = http::get(&node.url("/v1/incidents")).await?;
            let all = all["incidents"].as_array().cloned().unwrap_or_default();
            ensure(all.len() == 1 && all[0]["status"] == expected, || format!("{all:?}"))?;
            Ok(all[0].clone())
        })
        .await
    };
    let open = state("triggered").await;
    assert!(open["title"].as_str().is_some_and(|title| title.contains("disk full")), "{open}");
    assert_eq!(send(&event("acknowledge")).await.0, StatusCode::ACCEPTED);
    state("acknowledged").await;
    assert_eq!(send(&event("resolve")).await.0, StatusCode::ACCEPTED);
    state("resolved").await;
    let calls = receiver.wait("/alice", 2, SOON).await;
    assert_eq!((calls.len(), &calls[1].json()["status"]), (2, &json!("resolved")));
}

#[tokio::test]
async fn a_heartbeat_that_does_not_come_is_an_incident_until_it_comes() {
    let receiver = Receiver::start().await;
    let cluster = node(json!({
        "people": people(&receiver),
        "heartbeats": [{"name": "backup", "interval_seconds": 2, "grace_seconds": 1}],
        "pages": {"schedule": "primary"},
    }))
    .await;
    let node = &cluster.nodes[0];
    let beat = async || {
        let (status, answer) =
            http::any(Method::POST, &node.url("/v1/heartbeats/backup"), None).await;
        assert!(status.is_success(), "{answer}");
    };
    // As long as it comes nobody is called.
    for _ in 0..5 {
        beat().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(receiver.at("/alice").is_empty());
    let call = receiver.wait("/alice", 1, SOON).await[0].json();
    assert_eq!(call["commonLabels"]["alertname"], "HeartbeatMissed", "{call}");
    assert!(call.to_string().contains("backup"), "{call}");
    beat().await;
    let calls = receiver.wait("/alice", 2, SOON).await;
    assert_eq!(calls[1].json()["status"], "resolved");
    let (status, answer) = http::any(Method::POST, &node.url("/v1/heartbeats/absent"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
}

/// Whoever waits for its calls is to notice that nobody decides any more.
#[tokio::test]
async fn the_dead_mans_switch_stops_when_two_of_three_nodes_are_killed() {
    let receiver = Receiver::start().await;
    let alerting =
        json!({"pages": {"dead_man_url": receiver.url("/alive"), "dead_man_interval_seconds": 2}});
    let mut cluster = Cluster::start(3, &[("alerting", alerting)]).await;
    receiver.wait("/alive", 1, SOON).await;
    let leader = cluster.alerting_leader().await;
    for at in (0..3).filter(|at| *at != leader) {
        cluster.nodes[at].kill();
    }
    // One call may have been on its way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = receiver.at("/alive").len();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(receiver.at("/alive").len(), before, "it says that all is well");
    // One of them is back: there is a majority again, and a leader who says so.
    let back = (leader + 1) % 3;
    cluster.nodes[back].start();
    receiver.wait("/alive", before + 1, SOON).await;
}
