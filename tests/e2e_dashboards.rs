//! Every panel of every dashboard has data, from a real Prometheus that scrapes a cluster at work and from the cluster's own
//! query API; every metric has a panel or an alert; promtool has nothing against any metrics page.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

mod common;
use common::{
    Cluster, Node,
    cluster::{WATCHKEEP, encode},
    eventually, http,
    mail::MailServer,
    nginx::Nginx,
    pki::Authority,
    prometheus::{Prometheus, ask, complaints},
    receiver::Receiver,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(90);
/// The dashboards are asked until all have data, or this long.
const LONG: Duration = Duration::from_secs(180);
/// Names that etcd has for what stands on a panel by another: its own dashboards ask for them, and so does
/// `tests/e2e_etcd/metrics.rs`.
const ETCDS: [&str; 16] = [
    "etcd_debugging_mvcc_compact_revision",
    "etcd_debugging_mvcc_current_revision",
    "etcd_debugging_mvcc_db_total_size_in_bytes",
    "etcd_debugging_mvcc_delete_total",
    "etcd_debugging_mvcc_keys_total",
    "etcd_debugging_mvcc_pending_events_total",
    "etcd_debugging_mvcc_put_total",
    "etcd_debugging_mvcc_range_total",
    "etcd_debugging_mvcc_slow_watcher_total",
    "etcd_debugging_mvcc_txn_total",
    "etcd_debugging_mvcc_watch_stream_total",
    "etcd_debugging_mvcc_watcher_total",
    "etcd_debugging_server_lease_expired_total",
    "etcd_server_id",
    "os_fd_limit",
    "os_fd_used",
];
const ALERTMANAGER: &str = "route: {receiver: hook, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n\
                            receivers: [{name: hook, webhook_configs: [{url: \"URL\"}]}]\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_returns_data() {
    let dir = TempDir::new().expect("temporary folder");
    let (mail, sink) = (MailServer::start(dir.path()).await, Receiver::start().await);
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let own = json!({"self_scrape_interval_ms": 1_000});
    let cluster = Cluster::layout(3, &[("alerting", alerting(&mail, &sink)), ("collector", own)]);
    for node in &cluster.nodes {
        let configuration = ALERTMANAGER.replace("URL", &sink.url("/alertmanager"));
        fs::write(node.dir.join("am.yml"), configuration).expect("written");
    }
    // Panels about certificates need some, and those about DNS a name server.
    let names = cluster.listen_for_dns();
    let peers = Authority::new(dir.path(), "peers");
    cluster.configure_registry(|node| {
        let pair = peers.issue(dir.path(), &format!("peer-{}", node.id), &["127.0.0.1"]);
        json!({"peer_tls": {"cert": pair.cert, "key": pair.key, "ca": peers.file}})
    });
    let mut cluster = cluster.run().await;
    let begin = Utc::now();
    let prometheus = Prometheus::start(dir.path(), &cluster.nodes).await;
    change_leader(&mut cluster).await;
    let load = load(cluster.nodes.iter().map(|node| node.client.clone()).collect());
    fail_over(&cluster, &mut nginx, &sink).await;
    notify(&cluster.nodes[0], &sink).await;
    for (host, port) in names {
        let question =
            ["+short", &format!("@{host}"), "-p", &port.to_string(), "web.service.watchkeep"];
        let dig = Command::new("dig").args(question).status();
        assert!(dig.expect("dig; `cargo xtask peers` installs it").success());
    }

    let served = http::get(&cluster.nodes[1].url("/dashboards/overview.json")).await;
    assert_eq!(served.expect("served"), dashboards()[2].1);
    for (who, address) in [("Prometheus", prometheus.address()), ("a node", &cluster.nodes[0].http)]
    {
        let counts = eventually(&format!("all panels have data at {who}"), LONG, async || {
            check(address, begin)
        })
        .await;
        eprintln!("{who}:\n{counts}");
        marks_have_data(address, begin).await;
    }
    load.abort();
    let mut pages = String::new();
    for node in &cluster.nodes {
        pages += &clean(node).await;
    }
    every_metric_has_a_panel_or_an_alert(&pages);
}

/// What `watchkeep dashboards check` prints when every query of every panel has data.
fn check(address: &str, begin: DateTime<Utc>) -> Result<String, String> {
    let range = format!("{}s", (Utc::now() - begin).num_seconds().max(1));
    let output = Command::new(WATCHKEEP)
        .args(["dashboards", "check", "--every-query", "--rate-interval", "15s", "--range", &range])
        .arg("--url")
        .arg(format!("http://{address}"))
        .output()
        .expect("watchkeep");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout);
    ensure(output.status.success(), || format!("{said}{}", text(&output.stderr)))?;
    ensure(said.contains("\n8 dashboards: "), || said.clone())?;
    Ok(said)
}

/// What is shown as marks: leader changes and failovers.
async fn marks_have_data(address: &str, begin: DateTime<Utc>) {
    let board = &dashboards()[0].1;
    let marks = board["annotations"]["list"].as_array().expect("annotations");
    let asked: Vec<&str> = marks.iter().filter_map(|mark| mark["expr"].as_str()).collect();
    assert_eq!(asked.len(), 3);
    for expr in asked {
        let expr = expr.replace("$job", ".+").replace("$instance", ".+");
        eventually(&expr, SOON, async || {
            let (start, end) = (begin.timestamp().to_string(), Utc::now().timestamp().to_string());
            let query = [("query", &*expr), ("start", &start), ("end", &end), ("step", "5")];
            let data = ask(address, "query_range", &query).await?;
            ensure(data["result"].as_array().is_some_and(|rows| !rows.is_empty()), || {
                format!("no mark: {data}")
            })
        })
        .await;
    }
}

/// Whatever a node shows is of use to somebody.
fn every_metric_has_a_panel_or_an_alert(pages: &str) {
    let mut known = fs::read_to_string(root().join("alerting/rules/watchkeep.yml")).expect("rules");
    for (_, board) in dashboards() {
        known += &board.to_string();
    }
    let words: BTreeSet<&str> =
        known.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let shown: BTreeSet<&str> = pages
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_whitespace().next())
        .collect();
    let suffixes = ["", "_bucket", "_sum", "_count"];
    let is_used =
        |name: &str| suffixes.iter().any(|s| words.contains(format!("{name}{s}").as_str()));
    let unused: Vec<_> =
        shown.iter().filter(|name| !ETCDS.contains(name) && !is_used(name)).collect();
    assert!(unused.is_empty(), "on no panel and in no alert: {unused:#?}");
    let needless: Vec<_> =
        ETCDS.iter().filter(|name| is_used(name) || !shown.contains(*name)).collect();
    assert!(needless.is_empty(), "need no exception: {needless:#?}");
    assert!(shown.len() > 150, "{} metrics", shown.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_one_role_has_a_clean_metrics_page() {
    let roles = ["registry", "collector", "alerting"];
    let cluster = Cluster::layout_roles(&roles, None, &[]).run().await;
    for (node, role) in cluster.nodes.iter().zip(roles) {
        let page = clean(node).await;
        for other in roles {
            let has = page.contains(&format!("\nwatchkeep_{other}_"));
            assert_eq!(has, role == other, "{role} has metrics of {other}:\n{page}");
        }
    }
}

fn alerting(mail: &MailServer, sink: &Receiver) -> Value {
    json!({
        "smtp": {"host": "127.0.0.1", "port": mail.port, "from": "watchkeep@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "receivers": [{"name": "ops-hook", "webhook": sink.url("/webhook")}],
        "schedules": [{"name": "primary", "handoff": "0 0 9 * * Mon *", "start": "2026-01-05",
                       "rotation": ["alice"]}],
        "pages": {"schedule": "primary", "receivers": ["ops-hook"]},
        "shipped_rules": true,
        "evaluation_interval": "2s",
        "alertmanager_config": "am.yml",
        "failover": [{"name": "web", "when": {"service": "web"}, "callback": {"url": sink.url("/callback")}}],
    })
}

/// One fault with everything that follows, and back.
async fn fail_over(cluster: &Cluster, nginx: &mut Nginx, sink: &Receiver) {
    let node = &cluster.nodes[0];
    let instance = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port, "role": "primary", "ttl_seconds": 600,
        "checks": [{"name": "home", "interval_ms": 1000, "timeout_ms": 1000, "http": {}}],
        "scrape": {"interval_ms": 500, "timeout_ms": 400},
    });
    node.register("web", &instance).await;
    node.verdict("web", "web-1", "passing", SOON).await;
    nginx.kill();
    sink.wait("/callback", 1, SOON).await;
    sink.wait("/webhook", 1, SOON).await;
    nginx.restart().await;
    node.verdict("web", "web-1", "passing", SOON).await;
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The dashboards of the repository by file name, sorted.
fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(root().join("dashboards")).expect("dashboards");
    let paths = files.map(|entry| entry.expect("a file").path());
    let mut found: Vec<(String, Value)> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("readable");
            (name, serde_json::from_str(&text).expect("JSON"))
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// The member that leads dies and comes back.
async fn change_leader(cluster: &mut Cluster) {
    let leader = cluster.raft_leader().await;
    cluster.nodes[leader].kill();
    cluster.raft_leader().await;
    cluster.nodes[leader].start();
    cluster.ready().await;
    // So that alerting's leader changes for sure.
    let leader = cluster.alerting_leader().await;
    cluster.nodes[leader].kill();
    eventually("another alerting leader", SOON, async || {
        let now = cluster.alerting_leader().await;
        ensure(now != leader, || "still the same".to_owned())
    })
    .await;
    cluster.nodes[leader].start();
    cluster.ready().await;
}

/// Puts, reads, deletes, transactions and leases on all members, and how they are, until aborted.
fn load(members: Vec<String>) -> JoinHandle<()> {
    tokio::spawn(async move {
        for at in 0_u64.. {
            let member = &members[usize::try_from(at).unwrap_or(0) % members.len()];
            let (key, value) = (encode(&format!("/jobs/{}", at % 50)), encode("value"));
            let put = json!({"key": key, "value": value});
            let txn = json!({"success": [{"request_put": put}, {"request_put": {"key": encode("/t"), "value": value}}]});
            for (call, body) in [
                ("kv/put", put.clone()),
                ("kv/range", json!({"key": key})),
                ("kv/txn", txn),
                ("kv/deleterange", json!({"key": key})),
                ("lease/grant", json!({"TTL": 1})),
            ] {
                // What fails is made up for by the next.
                let _ = http::post(&format!("http://{member}/v3/{call}"), &body).await;
            }
            for check in ["health", "livez", "readyz"] {
                let _ = http::text(http::client().get(format!("http://{member}/{check}"))).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// An alert comes in and is told of.
async fn notify(node: &Node, sink: &Receiver) {
    let alerts = r#"[{"labels": {"alertname": "DiskFull"}}]"#;
    let url = node.url("/api/v2/alerts");
    let (status, said) = http::any(Method::POST, &url, Some(alerts)).await;
    assert!(status.is_success(), "{said}");
    sink.wait("/alertmanager", 1, SOON).await;
}

async fn clean(node: &Node) -> String {
    let page = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    assert_eq!(complaints(&page), "", "{}", node.name);
    page
}
