//! The name server, asked by a real `dig`: the instances that pass and only those, as they come and go.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Cluster, Node, eventually, http, nginx::Nginx, wait::ensure};

/// Everything here happens within a second or two; a machine that is busy may need longer.
const SOON: Duration = Duration::from_secs(20);

/// What dig prints.
fn dig(port: u16, arguments: &str) -> String {
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port.to_string(), "+tries=2", "+time=2"])
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|e| panic!("dig: {e}; `cargo xtask peers` installs it"));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The lines of `+short`, in order.
fn short(port: u16, arguments: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        dig(port, &format!("+short {arguments}")).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn register(node: &Node, service: &str, instance: Value) {
    let url = node.url(&format!("/v1/services/{service}/instances"));
    http::post(&url, &instance).await.expect("registered");
}

async fn answers(port: u16, arguments: &str, expected: &[&str]) {
    eventually(&format!("dig {arguments} finds {expected:?}"), SOON, async || {
        let found = short(port, arguments);
        ensure(found == expected, || format!("{found:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_finds_what_passes_and_only_that() {
    let dir = TempDir::new().expect("temporary folder");
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let cluster = Cluster::layout(1, &[("dns", json!({"ttl_seconds": 3}))]);
    let (_, dns) = cluster.listen_for_dns()[0];
    let cluster = cluster.run().await;
    let node = &cluster.nodes[0];

    let check = json!([{"name": "home", "interval_ms": 200, "timeout_ms": 1000, "rise": 1, "fall": 1,
                        "http": {"path": "/"}}]);
    let first = json!({"id": "web-1", "address": "127.0.0.1", "port": nginx.port, "weight": 7, "tags": ["blue"],
                       "metadata": {"version": "2"}, "checks": check});
    register(node, "web", first).await;
    register(node, "web", json!({"id": "web-2", "address": "127.0.0.2", "port": 81})).await;
    register(node, "web", json!({"id": "web-3", "address": "fd00::3", "port": 82})).await;
    register(node, "mail", json!({"id": "mx", "address": "mail.example.org", "port": 25})).await;

    answers(dns, "web.service.watchkeep A", &["127.0.0.1", "127.0.0.2"]).await;
    answers(dns, "web.service.watchkeep AAAA", &["fd00::3"]).await;
    answers(dns, "blue.web.service.watchkeep A +tcp", &["127.0.0.1"]).await;
    answers(dns, "mail.service.watchkeep A", &["mail.example.org."]).await;
    let blue = format!("1 7 {} web-1.web.instance.watchkeep.", nginx.port);
    answers(dns, "_web._blue.service.watchkeep SRV", &[&blue]).await;
    answers(dns, "web-1.web.instance.watchkeep TXT", &[r#""id=web-1" "tag=blue" "version=2""#])
        .await;
    let said = dig(dns, "_web._tcp.service.watchkeep SRV");
    for part in [
        "status: NOERROR",
        "flags: qr aa rd",
        "ANSWER: 3",
        "ADDITIONAL: 4",
        "web-3.web.instance.watchkeep. 3\tIN\tAAAA",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (question, code, authority) in [
        ("db.service.watchkeep A", "NXDOMAIN", 1),
        ("web.service.watchkeep MX", "NOERROR", 1),
        ("example.org A", "REFUSED", 0),
        ("watchkeep SOA", "NOERROR", 0),
    ] {
        let said = dig(dns, question);
        assert!(said.contains(&format!("status: {code}")), "{question}: {said}");
        assert!(said.contains(&format!("AUTHORITY: {authority}")), "{question}: {said}");
    }

    // What fails disappears; what is left stays, and the name exists all the same.
    nginx.kill();
    answers(dns, "web.service.watchkeep A", &["127.0.0.2"]).await;
    let said = dig(dns, "blue.web.service.watchkeep A");
    assert!(said.contains("status: NOERROR") && said.contains("ANSWER: 0"), "{said}");
    nginx.restart().await;
    answers(dns, "web.service.watchkeep A", &["127.0.0.1", "127.0.0.2"]).await;

    let page = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    for part in [
        r#"watchkeep_dns_queries_total{rcode="NXDOMAIN",transport="udp",type="A"} "#,
        r#"watchkeep_dns_queries_total{rcode="NOERROR",transport="tcp",type="A"} "#,
        "watchkeep_dns_answer_seconds_count ",
        "watchkeep_dns_messages_dropped_total 0",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_a_datagram_comes_by_tcp() {
    let cluster = Cluster::layout(1, &[("dns", json!({"domain": "sd.example"}))]);
    let (_, dns) = cluster.listen_for_dns()[0];
    let cluster = cluster.run().await;
    let node = &cluster.nodes[0];
    for n in 1..=60 {
        let instance = json!({"id": format!("w{n}"), "address": format!("10.0.0.{n}"), "port": 80});
        register(node, "web", instance).await;
    }
    eventually("all by TCP", SOON, async || {
        let found = short(dns, "+noedns web.service.sd.example A");
        ensure(found.len() == 60, || format!("{}", found.len()))
    })
    .await;
    let said = dig(dns, "+noedns +ignore web.service.sd.example A");
    assert!(said.contains("flags: qr aa tc rd"), "{said}");
    // With room for all there is no need; the order is drawn by lot.
    let whole = || dig(dns, "+short +bufsize=1232 +ignore web.service.sd.example A");
    let first = whole();
    assert_eq!(first.lines().count(), 60);
    assert!((0..5).any(|_| whole() != first), "always in the same order");
    let page = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    let truncated =
        page.lines().find_map(|l| l.strip_prefix("watchkeep_dns_answers_truncated_total "));
    assert!(truncated.is_some_and(|n| n != "0"), "{truncated:?}");
}
