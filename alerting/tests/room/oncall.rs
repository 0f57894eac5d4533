//! Duty over a real etcd: incidents by key, escalation, a mail that another library reads, and its links; calendars that
//! another library reads.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use watchkeep_catalog::{Incident, IncidentStatus, PageState};

use crate::support::{
    Node, World,
    etcd::Etcd,
    smtp::{Mode, Sink},
    until,
};

/// Runs a Python program over `input`; it prints JSON.
fn python(interpreter: &str, program: &str, input: &str) -> Value {
    let mut child = Command::new(interpreter)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{interpreter}: {e}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The parts of a mail, by Python's own library.
const READ_MAIL: &str = r#"
import sys, json, email, email.policy
mail = email.message_from_string(sys.stdin.read(), policy=email.policy.default)
assert not mail.defects, mail.defects
parts = [{"type": p.get_content_type(), "text": p.get_content() if p.get_content_maintype() == "text" else ""}
         for p in mail.walk() if not p.is_multipart()]
print(json.dumps({"subject": mail["subject"], "to": mail["to"], "id": mail["message-id"],
                  "references": mail["references"], "parts": parts,
                  "defects": [str(d) for p in mail.walk() for d in p.defects]}))
"#;

/// A calendar's events, by the library `icalendar` of PyPI.
const READ_CALENDAR: &str = r#"
import sys, json, icalendar
calendar = icalendar.Calendar.from_ical(sys.stdin.read())
print(json.dumps([{"summary": str(e["summary"]), "from": e["dtstart"].dt.isoformat(), "to": e["dtend"].dt.isoformat(),
                   "uid": str(e["uid"])} for e in calendar.walk("VEVENT")]))
"#;

async fn raw(node: &Node, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let answer = node.alerting.router().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 22).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn config(sink: &Sink, secret: &std::path::Path) -> Value {
    json!({
        "lease_ttl_seconds": 2,
        "smtp": {"host": "localhost", "port": sink.address.port(), "from": "Watchkeep <watch@example.org>",
                 "tls": "starttls", "ca_file": sink.ca_file},
        "people": [{"name": "alice", "email": "alice@example.org"}, {"name": "bob", "email": "bob@example.org"}],
        "schedules": [{"name": "primary", "time_zone": "Europe/Berlin", "layers": [
            {"every": {"days": 1}, "start": "2026-01-05", "time": "09:00", "rotation": ["alice"]},
        ]}],
        "escalations": [{"name": "db", "steps": [
            {"targets": [{"schedule": "primary"}], "wait_seconds": 1},
            {"targets": [{"person": "bob"}], "wait_seconds": 600},
        ]}],
        "pages": {"escalation": "db", "link_secret_file": secret,
                  "dead_man_url": "http://127.0.0.1:1/alive"},
        "heartbeats": [{"name": "backup", "interval_seconds": 1}],
        "integrations": [{"name": "legacy", "routing_key_file": secret}],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_another_library_reads_and_its_link_stops_the_escalation() {
    let (etcd, mut sink) = (Etcd::start().await, Sink::start(Mode::Starttls).await);
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, "a-secret").unwrap();
    let node = Node::start("a", config(&sink, &secret), &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    let report = json!({"title": "the cellar is under water: größer & <b>", "dedup_key": "cellar", "by": "janitor",
        "description": "40 cm", "details": {"dashboard_url": "http://grafana.example.org/d/1"}});
    // At once on one node: one incident.
    let (first, second) = tokio::join!(
        node.post("/v1/incidents", report.clone()),
        node.post("/v1/incidents", report.clone())
    );
    assert_eq!(first.1["id"], second.1["id"]);
    assert_eq!(world.all::<Incident>(watchkeep_catalog::keys::INCIDENTS).await.len(), 1);

    let mail = sink.next().await;
    assert!(mail.encrypted);
    let read = python("python3", READ_MAIL, &mail.data);
    assert_eq!(read["subject"], "[FIRING] the cellar is under water: größer & <b>");
    assert_eq!(read["to"], "alice@example.org");
    assert_eq!(read["defects"], json!([]));
    let parts = read["parts"].as_array().unwrap();
    assert_eq!((&parts[0]["type"], &parts[1]["type"]), (&json!("text/plain"), &json!("text/html")));
    let html = parts[1]["text"].as_str().unwrap();
    assert!(
        html.contains("größer &amp; &lt;b&gt;") && html.contains("http://grafana.example.org/d/1")
    );
    let text = parts[0]["text"].as_str().unwrap();
    let link = text.lines().find_map(|line| line.strip_prefix("Take it:    ")).unwrap().trim();
    assert!(html.contains(link));
    let path = link.strip_prefix("http://a.example.org:8480").unwrap();

    // A second later bob is called, too, in the same thread.
    let next = python("python3", READ_MAIL, &sink.next().await.data);
    assert_eq!(next["to"], "bob@example.org");
    assert_eq!(next["references"], read["references"]);
    assert_ne!(next["id"], read["id"]);

    // A scanner follows the link: nothing happens.
    for _ in 0..3 {
        let (status, page) = raw(&node, Method::GET, path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            page.contains("<form method=\"post\">") && page.contains("Acknowledge as alice"),
            "{page}"
        );
    }
    let all: Vec<Incident> = world.all(watchkeep_catalog::keys::INCIDENTS).await;
    assert_eq!(all[0].status, IncidentStatus::Triggered);
    // Forged ones are refused, the button works, once.
    let (status, _) = raw(&node, Method::POST, &path.replace("~alice~", "~mallory~")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, page) = raw(&node, Method::POST, path).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(page.contains("alice has taken it"));
    let (status, page) = raw(&node, Method::POST, path).await;
    assert_eq!(status, StatusCode::CONFLICT, "{page}");
    let all: Vec<Incident> = world.all(watchkeep_catalog::keys::INCIDENTS).await;
    assert_eq!(all[0].acknowledged_by.as_deref(), Some("alice"));
    let (_, report) = raw(&node, Method::GET, &format!("/v1/incidents/{}/report", all[0].id)).await;
    assert!(report.contains("**alice** acknowledged"), "{report}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_and_events_open_and_end_incidents() {
    let (etcd, sink) = (Etcd::start().await, Sink::start(Mode::Starttls).await);
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, "routing-key").unwrap();
    let node = Node::start("a", config(&sink, &secret), &etcd.client);
    node.leads().await;
    let world = World(&etcd.client);
    let calls = || node.metric("watchkeep_alerting_dead_man_calls_total{result=\"failed\"}");
    until("nobody takes the dead man's call", async || (calls() == 1.0).then_some(())).await;
    let (status, answer) = node.post("/v1/heartbeats/backup", json!(null)).await;
    assert_eq!((status, &answer["late"]), (StatusCode::OK, &json!(false)), "{answer}");
    assert_eq!(node.post("/v1/heartbeats/other", json!(null)).await.0, StatusCode::NOT_FOUND);
    let missed = world.incident("a missed heartbeat", |i| i.source == "heartbeat").await;
    assert_eq!(
        (missed.alert.as_str(), missed.status),
        ("HeartbeatMissed", IncidentStatus::Triggered)
    );
    until("it is over", async || {
        node.post("/v1/heartbeats/backup", json!(null)).await;
        let all: Vec<Incident> = world.all(watchkeep_catalog::keys::INCIDENTS).await;
        all.iter().any(|i| i.id == missed.id && i.status == IncidentStatus::Resolved).then_some(())
    })
    .await;

    // Missed again, and resolved by somebody: so it stays until the next one has come.
    let open = async || {
        let all: Vec<Incident> = world.all(watchkeep_catalog::keys::INCIDENTS).await;
        let is_open =
            |i: &Incident| i.source == "heartbeat" && i.status != IncidentStatus::Resolved;
        all.into_iter().find(is_open)
    };
    let again = until("it is missed again", &open).await;
    let resolve = json!({"action": "resolve", "by": "alice"});
    let (status, answer) = node.post(&format!("/v1/incidents/{}", again.id), resolve).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert_eq!(open().await, None);
    node.post("/v1/heartbeats/backup", json!(null)).await;
    until("the next one is missed", &open).await;

    let event = |action: &str| {
        json!({"routing_key": "routing-key", "event_action": action, "dedup_key": "disk",
               "payload": {"summary": "disk full", "source": "web-1", "severity": "warning"}})
    };
    for action in ["trigger", "trigger", "acknowledge", "resolve", "resolve"] {
        let (status, answer) = node.post("/v2/enqueue", event(action)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        assert_eq!(
            answer,
            json!({"status": "success", "message": "Event processed", "dedup_key": "disk"})
        );
    }
    let disk = world.incident("the event's incident", |i| i.source == "events").await;
    assert_eq!((disk.status, disk.severity.as_str()), (IncidentStatus::Resolved, "warning"));
    assert_eq!(disk.acknowledged_by.as_deref(), Some("legacy"));
    let mut wrong = event("trigger");
    wrong["routing_key"] = json!("guess");
    let (status, answer) = node.post("/v2/enqueue", wrong).await;
    assert_eq!((status, &answer["status"]), (StatusCode::BAD_REQUEST, &json!("invalid event")));
    assert!(disk.pages.iter().all(|page| page.state != PageState::Failed));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_schedule_and_a_calendar_another_library_reads() {
    let (etcd, sink) = (Etcd::start().await, Sink::start(Mode::Starttls).await);
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let node = Node::start("a", config(&sink, &secret), &etcd.client);
    let changes = "/v1/oncall/schedules/primary/changes";
    let now = chrono::Utc::now();
    let at = |hours: i64| (now + chrono::TimeDelta::hours(hours)).to_rfc3339();
    let offer =
        json!({"kind": "swap", "giver": "alice", "from": at(24), "to": at(48), "by": "alice"});
    let (status, offered) = node.post(changes, offer).await;
    assert_eq!(status, StatusCode::CREATED, "{offered}");
    let who = async |hours: i64| {
        let at = at(hours).replace('+', "%2B");
        node.get(&format!("/v1/oncall?schedule=primary&at={at}")).await.1["person"].clone()
    };
    assert_eq!(who(30).await, "alice");
    let take = format!("{changes}/{}/take", offered["id"].as_str().unwrap());
    assert_eq!(node.post(&take, json!({"by": "mallory"})).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(node.post(&take, json!({"by": "bob"})).await.0, StatusCode::OK);
    assert_eq!(node.post(&take, json!({"by": "bob"})).await.0, StatusCode::CONFLICT);
    assert_eq!(
        (who(23).await, who(30).await, who(49).await),
        (json!("alice"), json!("bob"), json!("alice"))
    );
    let nonsense =
        json!({"kind": "override", "person": "bob", "from": at(2), "to": at(1), "by": "alice"});
    assert_eq!(node.post(changes, nonsense).await.0, StatusCode::BAD_REQUEST);

    let (status, ics) = raw(&node, Method::GET, "/v1/oncall/people/bob/calendar.ics").await;
    assert_eq!(status, StatusCode::OK);
    let python_of_tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python");
    let events = python(python_of_tests, READ_CALENDAR, &ics);
    let whole = |time: &str| time.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
    let shift = &events[0];
    assert_eq!(shift["summary"], "bob is on call (primary)");
    assert_eq!(whole(shift["from"].as_str().unwrap()), whole(&at(24)));
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!(whole(last["to"].as_str().unwrap()), whole(&at(48)));
    let (_, of_all) = raw(&node, Method::GET, "/v1/oncall/schedules/primary/calendar.ics").await;
    let events = python(python_of_tests, READ_CALENDAR, &of_all);
    assert!(events.as_array().unwrap().len() > 200, "{events}");
    node.stop().await;
}
