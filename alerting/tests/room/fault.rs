//! A fault from opinion to callback, pages, acknowledgement and end, over a real etcd.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use watchkeep_catalog::{FailoverState, Incident, IncidentStatus, PageState, Status, keys};

use crate::support::{
    Node, TRACE_PARENT, World,
    etcd::Etcd,
    hooks::Hooks,
    smtp::{Mode, Sink},
    until,
};

const SECRET: &str = "a secret of the callback";

/// Alice is on call, by mail; `ops` is told by webhook; a critical primary of `db` is failed over.
fn config(hooks: &Hooks, sink: &Sink, secret_file: &str) -> Value {
    json!({
        "lease_ttl_seconds": 2,
        "smtp": {"host": "127.0.0.1", "port": sink.address.port(), "from": "Watch <watch@example.org>"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "receivers": [{"name": "ops", "webhook": hooks.url("/ops"), "secret_file": secret_file}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]}],
        "pages": {"schedule": "primary", "receivers": ["ops"]},
        "failover": [{
            "name": "db", "when": {"service": "db", "role": "primary", "status": "critical"},
            "callback": {"url": hooks.url("/failover"), "secret_file": secret_file,
                         "timeout_ms": 2000, "attempts_max": 2, "backoff_ms": 10},
        }],
    })
}

struct Scene {
    etcd: Etcd,
    hooks: Hooks,
    sink: Sink,
    config: Value,
    _files: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (etcd, hooks, sink) =
            (Etcd::start().await, Hooks::start().await, Sink::start(Mode::None).await);
        let files = tempfile::tempdir().unwrap();
        let secret = files.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        let config = config(&hooks, &sink, secret.to_str().unwrap());
        Self { etcd, hooks, sink, config, _files: files }
    }

    fn world(&self) -> World<'_> {
        World(&self.etcd.client)
    }
}

fn all_delivered(incident: &Incident, pages: usize) -> bool {
    incident.pages.len() == pages
        && incident.pages.iter().all(|page| page.state == PageState::Delivered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_opinion_to_callback_and_pages_and_back() {
    let mut scene = Scene::new().await;
    let node = Node::start("a", scene.config.clone(), &scene.etcd.client);
    let term = node.leads().await;
    let follower = Node::start("b", scene.config.clone(), &scene.etcd.client);
    let world = World(&scene.etcd.client);
    world.register("db", "one", "primary").await;
    for collector in ["c1", "c2", "c3"] {
        world.opine("db", "one", collector, Status::Passing).await;
    }
    world.verdict("db", "one", Status::Passing).await;

    // One collector alone decides nothing; two of three do.
    world.opine("db", "one", "c1", Status::Critical).await;
    world.opine("db", "one", "c2", Status::Critical).await;
    let verdict = world.verdict("db", "one", Status::Critical).await;
    assert_eq!((verdict.agree, verdict.opinions), (2, 3));
    let mut callback = scene.hooks.next().await;
    let mut page = scene.hooks.next().await;
    if callback.path != "/failover" {
        std::mem::swap(&mut callback, &mut page);
    }
    assert_eq!((callback.path.as_str(), page.path.as_str()), ("/failover", "/ops"));
    callback.verify(SECRET);
    page.verify(SECRET);
    let (journal, kv) = world.failover("a failover", |_| true).await;
    assert_eq!(journal.state, FailoverState::Pending);
    assert!(kv.create_revision > term);
    assert_eq!(callback.header("idempotency-key"), journal.id);
    assert_eq!(callback.header("watchkeep-fencing-token"), kv.create_revision.to_string());
    assert_eq!(callback.header("traceparent"), TRACE_PARENT);
    let body = callback.json();
    assert_eq!(body["fencing_token"], kv.create_revision);
    assert_eq!((&body["service"], &body["instance"]), (&json!("db"), &json!("one")));
    callback.answer(204);
    let alerts = page.json();
    assert_eq!((&alerts["version"], &alerts["status"]), (&json!("4"), &json!("firing")));
    page.answer(200);
    let mail = scene.sink.next().await;
    assert_eq!(
        (mail.from.as_str(), mail.to.as_str()),
        ("<watch@example.org>", "<alice@example.org>")
    );
    assert!(mail.header("Subject").contains("[FIRING] db/one is critical"));
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");

    let (journal, _) = world.failover("delivery", |f| f.state == FailoverState::Delivered).await;
    assert_eq!((journal.attempts.len(), journal.attempts[0].status), (1, Some(204)));
    let incident = world.incident("both pages", |i| all_delivered(i, 2)).await;
    assert_eq!(incident.failover.as_ref(), Some(&journal.id));
    assert_eq!(incident.on_call.as_deref(), Some("alice"));

    // Taken on a node that does not lead.
    let path = format!("/v1/incidents/{}", incident.id);
    let (status, taken) =
        follower.post(&path, json!({"action": "acknowledge", "by": "alice"})).await;
    assert_eq!((status, &taken["status"]), (StatusCode::OK, &json!("acknowledged")));
    assert_eq!(taken["acknowledged_by"], "alice");

    for collector in ["c1", "c2"] {
        world.opine("db", "one", collector, Status::Passing).await;
    }
    let page = scene.hooks.next().await;
    assert_eq!(page.json()["status"], "resolved");
    page.answer(200);
    let end = scene.sink.next().await;
    assert!(end.header("Subject").contains("[RESOLVED]"));
    assert_eq!(end.header("In-Reply-To"), mail.header("In-Reply-To"));
    assert_ne!(end.header("Message-ID"), mail.header("Message-ID"));
    let over = world.incident("the end", |i| all_delivered(i, 4)).await;
    assert_eq!(over.status, IncidentStatus::Resolved);
    let (status, problem) =
        follower.post(&path, json!({"action": "acknowledge", "by": "bob"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["error"].as_str().unwrap().contains("was resolved"));

    // Once is once: nothing else was sent, and the metrics say the same.
    assert!(scene.hooks.waiting().is_none());
    until("the last outcome in the metrics", async || {
        (node.metric("watchkeep_alerting_pending_pages") == 0.0).then_some(())
    })
    .await;
    for (series, value) in [
        ("watchkeep_alerting_is_leader", 1.0),
        ("watchkeep_alerting_leader_changes_total", 1.0),
        ("watchkeep_alerting_verdicts{status=\"passing\"}", 1.0),
        ("watchkeep_alerting_verdict_changes_total{status=\"critical\"}", 1.0),
        ("watchkeep_alerting_verdict_changes_total{status=\"passing\"}", 2.0),
        ("watchkeep_alerting_callbacks_total{policy=\"db\",result=\"delivered\"}", 1.0),
        ("watchkeep_alerting_callbacks_total{policy=\"db\",result=\"failed\"}", 0.0),
        ("watchkeep_alerting_fault_to_callback_seconds_count", 1.0),
        ("watchkeep_alerting_notifications_total{channel=\"email\",result=\"delivered\"}", 2.0),
        ("watchkeep_alerting_notifications_total{channel=\"webhook\",result=\"delivered\"}", 2.0),
        ("watchkeep_alerting_incidents{status=\"resolved\"}", 1.0),
        ("watchkeep_alerting_failovers{state=\"delivered\"}", 1.0),
    ] {
        assert_eq!(node.metric(series), value, "{series}");
    }
    assert_eq!(follower.metric("watchkeep_alerting_is_leader"), 0.0);
    assert!(!node.metrics().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_fails_is_paged() {
    let mut scene = Scene::new().await;
    let node = Node::start("a", scene.config.clone(), &scene.etcd.client);
    node.leads().await;
    let world = scene.world();
    world.register("db", "one", "primary").await;
    world.opine("db", "one", "c1", Status::Critical).await;
    let (mut attempts, mut pages) = (Vec::new(), Vec::new());
    while attempts.len() < 2 || pages.len() < 2 {
        let hook = scene.hooks.next().await;
        if hook.path == "/failover" {
            attempts.push((hook.header("idempotency-key").to_owned(), hook.body.clone()));
            hook.answer(503);
        } else {
            let summary = hook.json()["commonAnnotations"]["summary"].as_str().unwrap().to_owned();
            pages.push(summary);
            hook.answer(200);
        }
    }
    assert_eq!(attempts[0], attempts[1]);
    assert!(pages[1].starts_with("failover failed, act by hand"), "{pages:?}");
    let (journal, _) =
        scene.world().failover("the end", |f| f.state == FailoverState::Failed).await;
    assert_eq!(journal.attempts.len(), 2);
    let incident = scene.world().incident("four pages", |i| all_delivered(i, 4)).await;
    assert!(incident.timeline.iter().any(|note| note.text.contains("answered 503")));
    assert_eq!(incident.status, IncidentStatus::Triggered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_calls_a_failover_off_by_resolving() {
    let mut scene = Scene::new().await;
    scene.config["failover"][0]["callback"]["attempts_max"] = json!(100);
    scene.config["failover"][0]["callback"]["backoff_ms"] = json!(1000);
    scene.config["pages"] = json!({});
    let node = Node::start("a", scene.config.clone(), &scene.etcd.client);
    node.leads().await;
    let world = World(&scene.etcd.client);
    world.register("db", "one", "primary").await;
    world.opine("db", "one", "c1", Status::Critical).await;
    let first = scene.hooks.next().await;
    let incident = world.incident("an incident", |_| true).await;
    let path = format!("/v1/incidents/{}", incident.id);
    let (status, _) = node.post(&path, json!({"action": "resolve", "by": "alice"})).await;
    assert_eq!(status, StatusCode::OK);
    first.answer(500);
    let (journal, _) = world.failover("its end", |f| f.state == FailoverState::CalledOff).await;
    assert_eq!(journal.attempts.len(), 1);
    let incident = world.incident("a note", |_| true).await;
    assert!(incident.timeline.last().unwrap().text.contains("called off"), "{incident:?}");
    assert!(incident.pages.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_nobody() {
    let mut scene = Scene::new().await;
    scene.config["receivers"] = json!([
        {"name": "hangs", "webhook": scene.hooks.url("/hangs")},
        {"name": "ops", "webhook": scene.hooks.url("/ops")},
    ]);
    scene.config["pages"] = json!({"receivers": ["hangs", "ops"]});
    // All of a service critical at once is what this is about.
    scene.config["panic_threshold_percent"] = json!(0);
    let node = Node::start("a", scene.config.clone(), &scene.etcd.client);
    node.leads().await;
    let world = World(&scene.etcd.client);
    // More incidents than a receiver may have pages on the wire.
    let count = 20;
    for number in 0..count {
        let id = format!("web-{number}");
        world.register("web", &id, "").await;
        world.opine("web", &id, "c1", Status::Critical).await;
    }
    let (mut hanging, mut taken) = (Vec::new(), 0);
    while taken < count {
        let hook = scene.hooks.next().await;
        if hook.path == "/hangs" {
            hanging.push(hook);
        } else {
            taken += 1;
            hook.answer(200);
        }
    }
    assert!(!hanging.is_empty() && hanging.len() < count, "{}", hanging.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_gone_keeps_its_incident_until_somebody_resolves_it() {
    let mut scene = Scene::new().await;
    scene.config["pages"] = json!({});
    let node = Node::start("a", scene.config.clone(), &scene.etcd.client);
    node.leads().await;
    let world = scene.world();
    world.register("web", "one", "").await;
    world.opine("web", "one", "c1", Status::Critical).await;
    world.verdict("web", "one", Status::Critical).await;
    scene.etcd.client.delete(&keys::instance("web", "one")).await.unwrap();
    let gone = |i: &Incident| i.timeline.last().unwrap().text.starts_with("deregistered");
    let open = world.incident("its note", gone).await;
    assert_eq!(open.status, IncidentStatus::Triggered);
    assert_eq!(scene.etcd.client.get(&keys::verdict("web", "one")).await.unwrap(), None);
    let resolve = r#"{"action":"resolve","by":"alice"}"#;
    let (status, _) = node.call(Method::POST, &format!("/v1/incidents/{}", open.id), resolve).await;
    assert_eq!(status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_refusals_over_http() {
    let scene = Scene::new().await;
    let node = Node::start("a", scene.config.clone(), &scene.etcd.client);
    for (path, expected, part) in [
        ("/v1/oncall", 200, "\"alice@example.org\""),
        ("/v1/oncall?at=2026-01-05T09:00:00Z", 200, "\"since\":\"2026-01-05T09:00:00Z\""),
        (
            "/v1/oncall?at=2026-01-05T09:00:00Z&schedule=primary",
            200,
            "\"until\":\"2026-01-12T09:00:00Z\"",
        ),
        ("/v1/oncall?at=tomorrow", 400, "2026-01-05T09:00:00Z"),
        ("/v1/oncall?at=2200-01-05T09:00:00Z", 400, "1970 to 2098"),
        ("/v1/oncall?schedule=dba", 404, "defined: primary"),
        ("/v1/oncall?when=now", 400, "there is no parameter `when`"),
        ("/v1/incidents", 200, "{\"incidents\":[]}"),
        ("/v1/incidents?status=open", 400, "triggered, acknowledged or resolved"),
        ("/v1/incidents/none", 404, "incident none does not exist"),
        ("/v1/incidents/a%2Fb", 400, "not allowed"),
        ("/v1/failovers", 200, "{\"failovers\":[]}"),
        ("/v1/failovers/none", 404, "failover none does not exist"),
    ] {
        let (status, body) = node.get(path).await;
        assert_eq!(status.as_u16(), expected, "{path}: {body}");
        let body = serde_json::to_string(&body).unwrap().replace("\\\"", "\"");
        assert!(body.contains(part), "{path}: {body}");
    }
    let alice = r#"{"action":"acknowledge","by":"alice"}"#;
    for (id, body, expected, part) in [
        ("none", alice, 404, "does not exist"),
        ("none", "", 400, "the body is wrong"),
        ("none", r#"{"action":"dance","by":"alice"}"#, 400, "unknown variant `dance`"),
        ("none", r#"{"action":"resolve"}"#, 400, "missing field `by`"),
        ("none", r#"{"action":"resolve","by":""}"#, 400, "by: person name"),
        ("none", r#"{"action":"resolve","by":"alice","why":"x"}"#, 400, "unknown field `why`"),
    ] {
        let (status, answer) = node.call(Method::POST, &format!("/v1/incidents/{id}"), body).await;
        assert_eq!(status.as_u16(), expected, "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(part), "{body}: {answer}");
    }
    node.stop().await;
}
