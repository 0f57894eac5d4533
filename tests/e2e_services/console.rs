//! The console's pages of services and failovers with what stands behind their buttons, and the commands that say the same.

use std::{net::TcpListener, process::Command};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{
    Cluster, Node, cluster::WATCHKEEP, eventually, failover, failover::SOON, http,
    receiver::Receiver, wait::ensure,
};

async fn page(node: &Node, path: &str) -> String {
    http::text(http::client().get(node.url(path))).await.expect("a page")
}

async fn press(node: &Node, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    http::send(http::client().post(node.url(path)).form(fields)).await.expect("an answer")
}

async fn refused(node: &Node, method: Method, path: &str, body: &Value) -> String {
    let (status, said) = http::any(method, &node.url(path), Some(&body.to_string())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {said}");
    said
}

/// What `watchkeep service …` says.
fn service(node: &Node, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(WATCHKEEP);
    let output = command.arg("service").args(args).args(["--http", &node.url("")]).output();
    let output = output.expect("watchkeep");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_all_that_is_known_of_it() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    node.register(
        "web",
        &json!({"id": "web-1", "address": "127.0.0.1", "port": port, "zone": "eu-1", "tags": ["blue"],
                "checks": [{"name": "open", "interval_ms": 300, "timeout_ms": 200, "tcp": {}}]}),
    )
    .await;
    node.register("web", &json!({"id": "web-2", "address": "127.0.0.1", "port": port})).await;
    node.verdict("web", "web-1", "passing", SOON).await;

    // What is said of a service a part at a time stays.
    service(node, &["set", "web", "--description", "the <shop>", "--depends-on", "db"])
        .expect("set");
    service(node, &["set", "web", "--availability", "0.99"]).expect("set");
    let record = http::get(&node.url("/v1/services/web")).await.expect("the service");
    assert_eq!(record["depends_on"], json!(["db"]), "{record}");
    assert_eq!(record["slo"], json!({"availability": 0.99}), "{record}");
    let said = service(node, &["set", "web"]).expect_err("nothing is said");
    assert!(said.contains("nothing is to be set"), "{said}");

    let drain = json!({"by": "bob", "reason": "a new disk"}).to_string();
    let (status, said) =
        http::any(Method::PUT, &node.url("/v1/drains/web/web-2"), Some(&drain)).await;
    assert!(status.is_success(), "{said}");
    let window = json!({"id": "move", "scope": {"service": "web"}, "duration_seconds": 600});
    http::post(&node.url("/v1/maintenance"), &window).await.expect("a window");

    let shown = page(node, "/services/web").await;
    for part in [
        "the &lt;shop&gt;",
        "href=\"/services/db\"",
        "0.99 available",
        "eu-1",
        "blue",
        ">tcp</span>",
        "<td>node-1</td>",
        "<b>drained</b> by bob",
        "a new disk",
        "<td>move</td>",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let home = page(node, "/").await;
    assert!(home.contains("href=\"/services/web\"") && home.contains("drained</b> by bob"));
    let list = service(node, &["list", "web"]).expect("the list");
    assert!(list.contains("drained by bob"), "{list}");
    let (status, said) = http::any(Method::GET, &node.url("/services/absent"), None).await;
    assert!(status == StatusCode::NOT_FOUND && said.contains("is not known"), "{said}");

    // What was said goes; the instances stay.
    service(node, &["forget", "web"]).expect("forgotten");
    let record = http::get(&node.url("/v1/services/web")).await.expect("the service");
    assert_eq!((&record["instances"], &record["slo"]), (&json!(2), &Value::Null), "{record}");
    let said = service(node, &["forget", "web"]).expect_err("it has no record");
    assert!(said.contains("has no record"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_its_remedy() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    for address in ["10.0.0.7:80", "http://db", "not a host"] {
        let instance = json!({"id": "a", "address": address, "port": 80});
        let said = refused(node, Method::POST, "/v1/services/web/instances", &instance).await;
        assert!(said.contains(address) && said.contains("neither a host name"), "{said}");
    }
    for (window, words) in [
        (
            json!({"scope": {"all": true}, "schedule": "0 3 31 2 *", "duration_seconds": 60}),
            "never comes",
        ),
        (json!({"scope": {"all": true}, "duration_seconds": 0}), "duration_seconds is 0"),
        (json!({"scope": {"all": true}, "to": "2036-01-05"}), "write it as 2026-01-05T09:00:00Z"),
        (
            json!({"scope": {"all": true}, "schedule": "0 0 3 * * * 2020", "duration_seconds": 60}),
            "is to come",
        ),
    ] {
        let said = refused(node, Method::POST, "/v1/maintenance", &window).await;
        assert!(said.contains(words), "{window}: {said}");
    }
    let (status, said) = http::any(Method::GET, &node.url("/v1/failovers?state=done"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    assert!(said.contains("done") && said.contains("give one of deciding, "), "{said}");
    let mut command = Command::new(WATCHKEEP);
    let output = command.args(["service", "list", "--http", &node.http]).output();
    let said = String::from_utf8_lossy(&output.expect("watchkeep").stderr).into_owned();
    assert!(said.contains(&format!("write it as http://{}", node.http)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failovers_are_confirmed_and_stopped_with_buttons() {
    let sink = Receiver::start().await;
    let alerting = json!({"failover": [
        {"name": "asks", "when": {"service": "asks", "role": "primary"}, "mode": "approve",
         "guards": {"minimum_healthy": 1}, "steps": [{"callback": {"url": sink.url("/asks")}}]},
    ]});
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    failover::register(node, "asks", failover::dead_port()).await;
    let asked = failover::of_service(node, "asks", "awaiting_approval").await;
    let id = asked["id"].as_str().expect("an id");
    let one = format!("/failovers/{id}");
    for path in ["/", "/failovers", "/services/asks"] {
        let shown = page(node, path).await;
        assert!(shown.contains("awaiting approval"), "{path}: {shown}");
        assert!(shown.contains(&format!("href=\"{one}\"")), "{path}: {shown}");
    }
    let all = page(node, "/failovers").await;
    assert!(all.contains("minimum_healthy 1") && all.contains("role primary"), "{all}");
    let shown = page(node, &one).await;
    assert!(shown.contains("value=\"approve\"") && shown.contains("minimum_healthy"), "{shown}");

    let (status, said) = press(node, &one, &[("action", "explode"), ("by", "alice")]).await;
    assert!(status == StatusCode::BAD_REQUEST && said.contains("explode"), "{said}");
    let (status, said) = press(node, &one, &[("action", "approve"), ("by", " alice ")]).await;
    assert!(status.is_success(), "{status}: {said}");
    failover::of_service(node, "asks", "delivered").await;
    assert_eq!(sink.at("/asks").len(), 1);
    let shown = page(node, &one).await;
    for part in ["<b>Confirmed by</b></td><td>alice", "answered 200", "attempt 1", "delivered"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert!(!shown.contains("value=\"abort\""), "it is over: {shown}");
    let (status, said) = press(node, &one, &[("action", "abort"), ("by", "alice")]).await;
    assert!(status == StatusCode::CONFLICT && said.contains("is over"), "{status}: {said}");
    let filtered = page(node, "/failovers?state=held").await;
    assert!(!filtered.contains(id), "{filtered}");

    let fields = [("by", "alice"), ("reason", "a <move>")];
    let (status, shown) = press(node, "/failovers/stop", &fields).await;
    assert!(status.is_success(), "{status}: {shown}");
    assert!(shown.contains("are stopped by alice") && shown.contains("a &lt;move&gt;"), "{shown}");
    assert!(page(node, "/").await.contains("are stopped by alice"), "on the first page, too");
    let (status, shown) = press(node, "/failovers/resume", &[]).await;
    assert!(status.is_success() && shown.contains("They happen"), "{status}: {shown}");
    eventually("nothing is stopped", SOON, async || {
        let home = page(node, "/").await;
        ensure(!home.contains("are stopped"), || home)
    })
    .await;
}
