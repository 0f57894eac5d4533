//! The journal of failovers when it is long: a page at a time by API and command line, whole and in order, and quick.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

mod common;
use common::{Cluster, Node, cluster::encode, eventually, failover::command, http, wait::ensure};

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
