//! The journal of failovers, and the list of incidents, when they are long: a page at a time by API, command line and console,
//! whole and in order, and quick.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

mod common;
use common::{
    Cluster, Node,
    cluster::{WATCHKEEP, encode},
    eventually,
    failover::command,
    http,
    wait::ensure,
};

const RECORDS: usize = 5_000;
/// Records of one transaction: all of them have one token.
const AT_ONCE: usize = 20;

/// Failovers of the past hour, the first of them a rare service's.
async fn seed(node: &Node) {
    let ids: Vec<usize> = (0..RECORDS).collect();
    for chunk in ids.chunks(AT_ONCE) {
        let put = |number: &usize| {
            let at = (Utc::now() - TimeDelta::seconds(60)).to_rfc3339();
            let service = if *number < 3 { "rare" } else { "usual" };
            let record = json!({"id": format!("f-{number}"), "policy": "p", "service": service, "instance": "x",
                "reason": "r".repeat(1_500), "decided_at": at, "started_at": at, "finished_at": at,
                "state": "delivered", "incident": ""});
            let key = encode(&format!("/watchkeep/failovers/f-{number}"));
            json!({"request_put": {"key": key, "value": encode(&record.to_string())}})
        };
        let puts: Vec<_> = chunk.iter().map(put).collect();
        node.v3("kv/txn", &json!({"success": puts})).await.expect("written");
    }
}

async fn page(node: &Node, query: &str) -> Value {
    http::get(&node.url(&format!("/v1/failovers{query}"))).await.expect("failovers")
}

fn list(answer: &Value) -> &[Value] {
    answer["failovers"].as_array().expect("a list")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_journal_is_read_in_pages() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    eventually("alerting is ready", Duration::from_secs(40), async || {
        http::get(&node.url("/v1/slo")).await
    })
    .await;
    assert_eq!(page(node, "").await, json!({"failovers": []}));
    seed(node).await;

    let began = Instant::now();
    let latest = page(node, "").await;
    println!("{} of {RECORDS} in {:?}", list(&latest).len(), began.elapsed());
    assert_eq!(list(&latest).len(), 100);
    assert!(latest.to_string().len() < 400_000, "{} bytes", latest.to_string().len());

    // Every record once, the latest first, none of one transaction on two pages.
    let (mut seen, mut query, mut last) = (BTreeSet::new(), "?limit=410".to_owned(), i64::MAX);
    loop {
        let answer = page(node, &query).await;
        for known in list(&answer) {
            let token = known["fencing_token"].as_i64().expect("a token");
            assert!(token <= last, "{token} behind {last}");
            last = token;
            assert!(seen.insert(known["id"].to_string()), "{} twice", known["id"]);
        }
        let Some(next) = answer["next"].as_i64() else { break };
        assert_eq!(list(&answer).len(), 420, "as many as a transaction ends with");
        query = format!("?limit=410&before={next}");
    }
    assert_eq!(seen.len(), RECORDS);

    // What is sought is found however old it is.
    let rare = page(node, "?service=rare&limit=10").await;
    assert_eq!((list(&rare).len(), &rare["next"]), (3, &Value::Null));
    let one = page(node, "?service=usual&state=delivered&policy=p&limit=1").await;
    assert!(list(&one).len() == AT_ONCE && one["next"].is_i64(), "{}", list(&one).len());
    assert_eq!(list(&page(node, "?state=held").await).len(), 0);

    for (query, part) in [
        ("?limit=0", "limit 0 is out of range: give 1 to 1000"),
        ("?limit=1001", "limit 1001"),
        ("?limit=many", "limit"),
        ("?before=0", "before 0"),
        ("?after=1", "after"),
    ] {
        let url = node.url(&format!("/v1/failovers{query}"));
        let (status, said) = http::any(Method::GET, &url, None).await;
        assert!(status == StatusCode::BAD_REQUEST && said.contains(part), "{query}: {said}");
    }

    let said = command(node, &["list", "--limit", "40"]);
    let lines: Vec<_> = said.lines().collect();
    let hint = lines.last().and_then(|line| line.strip_prefix("there are older ones: --before "));
    let before = hint.unwrap_or_else(|| panic!("no way to older ones: {said}"));
    assert_eq!(lines.len(), 1 + 40 + 1);
    let older = command(node, &["list", "--limit", "40", "--before", before]);
    ensure(older.lines().nth(1) != said.lines().nth(1), || older.clone()).expect("others");
    let last = command(node, &["list", "--service", "rare"]);
    assert!(last.lines().count() == 4 && last.contains("f-0 "), "{last}");
}

/// Incidents that were, and before them a few that somebody has taken.
async fn seed_incidents(node: &Node, count: usize) {
    let ids: Vec<usize> = (0..count).collect();
    for chunk in ids.chunks(AT_ONCE) {
        let put = |number: &usize| {
            let at = (Utc::now() - TimeDelta::seconds(60)).to_rfc3339();
            let mut record = json!({"id": format!("i-{number}"), "title": format!("no. {number}"), "alert": "Test",
                "severity": "warning", "labels": {}, "status": "resolved", "started_at": at, "opened_at": at,
                "resolved_at": at, "source": "api"});
            if *number < 3 {
                record["status"] = json!("acknowledged");
                record["acknowledged_by"] = json!("alice");
                record.as_object_mut().expect("an object").remove("resolved_at");
            }
            let key = encode(&format!("/watchkeep/incidents/i-{number}"));
            json!({"request_put": {"key": key, "value": encode(&record.to_string())}})
        };
        let puts: Vec<_> = chunk.iter().map(put).collect();
        node.v3("kv/txn", &json!({"success": puts})).await.expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_are_read_in_pages() {
    const COUNT: usize = 1_000;
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    eventually("alerting is ready", Duration::from_secs(40), async || {
        http::get(&node.url("/v1/slo")).await
    })
    .await;
    seed_incidents(node, COUNT).await;
    let page = async |query: &str| {
        let answer = http::get(&node.url(&format!("/v1/incidents{query}"))).await;
        let answer = answer.expect("incidents");
        let list = answer["incidents"].as_array().expect("a list").clone();
        (list, answer["next"].as_i64())
    };
    let (latest, next) = page("").await;
    assert!(latest.len() == 100 && next.is_some(), "{}", latest.len());

    // Every one once.
    let (mut seen, mut query) = (BTreeSet::new(), "?limit=130".to_owned());
    loop {
        let (list, next) = page(&query).await;
        seen.extend(list.iter().map(|one| one["id"].to_string()));
        let Some(next) = next else { break };
        assert_eq!(list.len(), 140, "as many as a transaction ends with");
        query = format!("?limit=130&before={next}");
    }
    assert_eq!(seen.len(), COUNT);

    // What is sought is found however old it is.
    let (taken, next) = page("?status=acknowledged&limit=10").await;
    assert_eq!((taken.len(), next), (3, None));
    for (query, part) in [
        ("?limit=0", "limit 0 is out of range: give 1 to 1000"),
        ("?limit=many", "limit is \"many\": give a whole number"),
        ("?before=0", "before 0 is out of range: give the `next` of the answer before"),
        ("?after=1", "there is no parameter `after`; give one of `status`, `limit`, `before`"),
        ("?status=open", "status \"open\" is not known: give triggered, acknowledged or resolved"),
    ] {
        let url = node.url(&format!("/v1/incidents{query}"));
        let (status, said) = http::any(Method::GET, &url, None).await;
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!((status, said["error"].as_str()), (StatusCode::BAD_REQUEST, Some(part)));
    }

    let list = |args: &[&str]| {
        let mut command = Command::new(WATCHKEEP);
        command.args(["incident", "list", "--http", &node.url("")]).args(args);
        let output = command.output().expect("watchkeep");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = list(&["--limit", "40"]);
    let hint = said.lines().last().and_then(|l| l.strip_prefix("there are older ones: --before "));
    let older = list(&["--limit", "40", "--before", hint.expect("a way to older ones")]);
    assert_eq!((said.lines().count(), older.lines().count()), (1 + 40 + 1, 1 + 40 + 1));
    assert_ne!(said.lines().nth(1), older.lines().nth(1));
    assert_eq!(list(&["--status", "acknowledged"]).lines().count(), 1 + 3);

    // The console: open ones first on its first page, all of them a page at a time.
    let look = async |path: &str| {
        let (status, said) = http::any(Method::GET, &node.url(path), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {said}");
        said
    };
    let home = look("/").await;
    assert!(home.contains("no. 0<") && home.contains("href=\"/incidents\""), "{home}");
    let shown = look("/incidents?status=resolved").await;
    let link = shown.split_once("href=\"/incidents?status=resolved&amp;before=").expect("older");
    let before = link.1.split('"').next().expect("a number");
    let older = look(&format!("/incidents?status=resolved&before={before}")).await;
    assert!(shown.contains("no. 999<") && !older.contains("no. 999<"), "{older}");
}
