//! The main job: nginx dies of SIGKILL, is failed over by a signed callback, the person on call gets a mail
//! from a real mail server and a webhook, acknowledges, and the report shows the downtime as it was.

use std::{process::Command, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Cluster, Node, eventually, http, mail::MailServer, nginx::Nginx, receiver::Receiver, signature,
    wait::ensure,
};

const SECRET: &str = "a secret of the failover's receiver";
/// Interval of the check: the precision that the report owes us.
const INTERVAL: Duration = Duration::from_millis(500);
/// Everything here happens within seconds; a machine that is busy may need longer.
const SOON: Duration = Duration::from_secs(20);
/// The registration's TTL, far below what the test takes: it lives by its heartbeats.
const TTL_SECONDS: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_killed_and_everything_follows() {
    let dir = TempDir::new().expect("temporary folder");
    let mail = MailServer::start(dir.path()).await;
    let sink = Receiver::start().await;
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).expect("secret");
    let alerting = json!({
        "smtp": {"host": "127.0.0.1", "port": mail.port, "tls": "none", "from": "watchkeep@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "receivers": [{"name": "ops-hook", "webhook": sink.url("/webhook")}],
        "schedules": [{"name": "primary", "time_zone": "Europe/Berlin", "handoff": "0 0 9 * * Mon *",
                       "start": "2026-01-05", "rotation": ["alice"]}],
        "pages": {"schedule": "primary", "receivers": ["ops-hook"]},
        "failover": [{"name": "web", "when": {"service": "web", "role": "primary", "status": "critical"},
                      "callback": {"url": sink.url("/callback"), "secret_file": secret}}],
    });
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];

    register_with_curl(node, &nginx);
    let heartbeats =
        tokio::spawn(heartbeats(node.url("/v1/services/web/instances/web-1/heartbeat")));
    node.verdict("web", "web-1", "passing", SOON).await;
    assert_eq!(instances(node, "?healthy=true").await, ["web-1"]);
    measured_for_a_while(node).await;

    let killed = Utc::now();
    nginx.kill();
    let callbacks = sink.wait("/callback", 1, SOON).await;
    let called_at = Utc::now();
    let fault = node.verdict("web", "web-1", "critical", SOON).await;
    assert!(instances(node, "?healthy=true").await.is_empty());
    assert_eq!(instances(node, "").await, ["web-1"], "its registration is alive all the same");
    signature::verify(&callbacks[0], SECRET.as_bytes());
    let id = callback_is_right(node, &callbacks[0], &fault).await;

    let page = mail.wait(&["To: ", "alice@example.org", "web-1"], SOON).await;
    assert!(page.contains("Subject: "), "{page}");
    let hook = sink.wait("/webhook", 1, SOON).await[0].json();
    webhook_is_version_4(&hook, "firing");

    let url = node.url(&format!("/v1/incidents/{id}"));
    let open = http::get(&url).await.expect("the incident");
    assert_eq!(
        (&open["status"], &open["on_call"]),
        (&json!("triggered"), &json!("alice")),
        "{open}"
    );
    let taken = json!({"action": "acknowledge", "by": "alice"});
    http::post(&url, &taken).await.expect("acknowledge");
    let taken = http::get(&url).await.expect("the incident");
    assert_eq!(
        (&taken["status"], &taken["acknowledged_by"]),
        (&json!("acknowledged"), &json!("alice"))
    );

    nginx.restart().await;
    let restored = Utc::now();
    node.verdict("web", "web-1", "passing", SOON).await;
    eventually("resolved", SOON, async || {
        let incident = http::get(&url).await?;
        ensure(incident["status"] == "resolved", || incident.to_string())
    })
    .await;
    let hooks = sink.wait("/webhook", 2, SOON).await;
    webhook_is_version_4(&hooks[1].json(), "resolved");
    mail.wait(&["alice@example.org", "web-1", "esolved"], SOON).await;
    assert_eq!(sink.at("/callback").len(), 1, "one fault, one callback");

    report_is_true(node, killed, restored).await;
    let refused = http::any(Method::POST, &url, Some(r#"{"action":"explode","by":"bob"}"#)).await;
    assert_eq!(refused.0, StatusCode::BAD_REQUEST, "{}", refused.1);
    heartbeats_end(node, heartbeats).await;
    eprintln!("fault to callback: {} ms", (called_at - killed).num_milliseconds());
}

/// As the README shows it.
fn register_with_curl(node: &Node, nginx: &Nginx) {
    let body = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port, "role": "primary",
        "ttl_seconds": TTL_SECONDS,
        "checks": [{"name": "home", "interval_ms": INTERVAL.as_millis(), "timeout_ms": 400, "fall": 2,
                    "http": {"path": "/", "expected_status": [200], "expected_body": "^welcome"}}],
    });
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail-with-body", "--header"])
        .args(["content-type: application/json", "--data", &body.to_string()])
        .arg(node.url("/v1/services/web/instances"))
        .output()
        .expect("curl");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let created: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(created["ttl_seconds"], TTL_SECONDS, "{said}");
}

/// What an agent beside the service does: it renews the registration, whether nginx lives or not.
async fn heartbeats(url: String) {
    loop {
        tokio::time::sleep(Duration::from_millis(TTL_SECONDS * 1000 / 4)).await;
        let (status, body) = http::any(Method::PUT, &url, None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
}

async fn heartbeats_end(node: &Node, heartbeats: tokio::task::JoinHandle<()>) {
    assert!(!heartbeats.is_finished(), "a heartbeat was refused");
    heartbeats.abort();
    eventually("the registration ends with its heartbeats", SOON, async || {
        let left = instances(node, "").await;
        ensure(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

async fn instances(node: &Node, query: &str) -> Vec<String> {
    let url = node.url(&format!("/v1/services/web/instances{query}"));
    let answer = http::get(&url).await.expect("instances");
    let list = answer["instances"].as_array().expect("a list");
    list.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

/// Until the report has seen it up for some probes, so that the downtime has a beginning.
async fn measured_for_a_while(node: &Node) {
    eventually("samples of web", SOON, async || {
        let report = http::get(&node.url("/v1/slo/web")).await?;
        let probes = window(&report, "1h")["probes"]["good"].as_u64().unwrap_or(0);
        ensure(probes >= 4, || report.to_string())
    })
    .await;
}

/// Checks the callback against the journal in the registry; gives the incident's id.
async fn callback_is_right(
    node: &Node,
    request: &crate::common::receiver::Received,
    fault: &Value,
) -> String {
    let body = request.json();
    for (field, expected) in [
        ("version", json!(1)),
        ("policy", json!("web")),
        ("service", json!("web")),
        ("instance", json!("web-1")),
        ("reason", fault["reason"].clone()),
    ] {
        assert_eq!(body[field], expected, "{field} of {body}");
    }
    let id = body["idempotency_key"].as_str().expect("an idempotency key");
    assert_eq!(request.header("idempotency-key"), id);
    let key = crate::common::cluster::encode(&format!("/watchkeep/failovers/{id}"));
    let stored = node.v3("kv/range", &json!({"key": key})).await.expect("the journal");
    let token = stored["kvs"][0]["create_revision"].as_str().expect("it is in the registry");
    assert_eq!(request.header("watchkeep-fencing-token"), token);
    assert_eq!(body["fencing_token"].to_string().trim_matches('"'), token);
    assert_eq!(request.header("traceparent").len(), 55, "{:?}", request.headers);
    let url = node.url(&format!("/v1/failovers/{id}"));
    eventually("the outcome is recorded", SOON, async || {
        let failover = http::get(&url).await?;
        let attempts = failover["attempts"].as_array().map_or(0, Vec::len);
        ensure(failover["state"] == "delivered" && attempts == 1, || failover.to_string())
    })
    .await;
    body["incident"].as_str().expect("an incident").to_owned()
}

/// The fields of Alertmanager's webhook data, version 4, that receivers rely on.
fn webhook_is_version_4(body: &Value, status: &str) {
    assert_eq!((&body["version"], &body["status"]), (&json!("4"), &json!(status)), "{body}");
    for field in ["groupKey", "receiver", "externalURL"] {
        assert!(body[field].is_string(), "{field} of {body}");
    }
    for field in ["groupLabels", "commonLabels", "commonAnnotations"] {
        assert!(body[field].is_object(), "{field} of {body}");
    }
    assert!(body["truncatedAlerts"].is_u64(), "{body}");
    let alert = &body["alerts"][0];
    assert_eq!(alert["status"], status);
    assert_eq!(alert["labels"]["service"], "web");
    assert_eq!(alert["labels"]["instance"], "web-1");
    assert!(alert["labels"]["alertname"].is_string() && alert["annotations"].is_object(), "{body}");
    let time = |field: &str| -> DateTime<Utc> {
        alert[field].as_str().expect("a time").parse().expect("RFC 3339")
    };
    assert!(time("startsAt") <= Utc::now());
    assert_eq!(time("endsAt") > time("startsAt"), status == "resolved", "{alert}");
    assert!(alert["fingerprint"].is_string() && alert["generatorURL"].is_string(), "{alert}");
}

/// The downtime in the report is what our own clock saw, within one interval.
async fn report_is_true(node: &Node, killed: DateTime<Utc>, restored: DateTime<Utc>) {
    let truth = (restored - killed).as_seconds_f64();
    let url = node.url("/v1/slo/web");
    let report = eventually("the downtime is over", SOON, async || {
        let report = http::get(&url).await?;
        let downtimes = report["downtimes"].as_array().cloned().unwrap_or_default();
        ensure(downtimes.len() == 1 && downtimes[0]["end"].is_string(), || report.to_string())?;
        Ok(report)
    })
    .await;
    let hour = window(&report, "1h");
    let down = hour["downtime"]["seconds"].as_f64().expect("seconds");
    let listed = report["downtimes"][0]["duration_seconds"].as_f64().expect("seconds");
    assert!((down - listed).abs() < 0.001, "{report}");
    let off = (down - truth).abs();
    assert!(off <= INTERVAL.as_secs_f64(), "{down} s down in the report, {truth} s in truth");
    eprintln!("downtime: {down:.3} s in the report, {truth:.3} s in truth");
    assert!(hour["availability"]["ratio"].as_f64().expect("a share") < 1.0, "{hour}");
    assert_eq!(report["downtimes"][0]["instance"], "web-1", "{report}");
    let request = http::client().get(&url).header("accept", "text/html");
    let page = http::text(request).await.expect("HTML");
    assert!(page.contains("<html") && page.contains("web"), "{page}");
    let all = http::get(&node.url("/v1/slo")).await.expect("all reports");
    assert!(all.to_string().contains("\"web\""), "{all}");
}

/// One window of a report.
fn window<'a>(report: &'a Value, name: &str) -> &'a Value {
    let windows = report["windows"].as_array().expect("windows");
    windows.iter().find(|window| window["window"] == name).expect("the window")
}
