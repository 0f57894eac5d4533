//! A real Prometheus scrapes a running cluster, and every query of every dashboard returns data, from there and from the
//! cluster's own query API; promtool has
//! nothing against any metrics page.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

mod common;
use common::{
    Cluster, Node,
    dashboard::{queries, substitute, variables},
    eventually, http,
    mail::MailServer,
    nginx::Nginx,
    pki::Authority,
    prometheus::{Prometheus, ask, complaints},
    receiver::Receiver,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(30);
/// The dashboards are asked until all have data, or this long.
const LONG: Duration = Duration::from_secs(60);
/// Variables that Grafana knows by itself.
const BUILT_IN: [(&str, &str); 6] = [
    ("__rate_interval", "15s"),
    ("__interval", "5s"),
    ("__range", "5m"),
    ("__range_s", "300"),
    ("__range_ms", "300000"),
    ("__interval_ms", "5000"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_returns_data() {
    let dir = TempDir::new().expect("temporary folder");
    let (mail, sink) = (MailServer::start(dir.path()).await, Receiver::start().await);
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let own = json!({"self_scrape_interval_ms": 1_000});
    let cluster = Cluster::layout(3, &[("alerting", alerting(&mail, &sink)), ("collector", own)]);
    // Panels about certificates need some.
    let peers = Authority::new(dir.path(), "peers");
    cluster.configure_registry(|node| {
        let pair = peers.issue(dir.path(), &format!("peer-{}", node.id), &["127.0.0.1"]);
        json!({"peer_tls": {"cert": pair.cert, "key": pair.key, "ca": peers.file}})
    });
    let cluster = cluster.run().await;
    let begin = chrono::Utc::now();
    let prometheus = Prometheus::start(dir.path(), &cluster.nodes).await;
    fail_over(&cluster, &mut nginx, &sink).await;
    // A panel tells how late leases end: one has to.
    let url = format!("http://{}/v3/lease/grant", cluster.nodes[0].client);
    let granted = http::any(Method::POST, &url, Some(r#"{"TTL": 1}"#)).await;
    assert!(granted.0.is_success(), "{granted:?}");

    let files = dashboards();
    assert!(files.len() >= 2, "{files:?}");
    for (name, dashboard) in &files {
        let served = http::get(&cluster.nodes[1].url(&format!("/dashboards/{name}"))).await;
        assert_eq!(&served.expect("served"), dashboard, "{name}");
        let queries = queries(dashboard);
        assert!(queries.len() >= 5, "{name}: {} queries", queries.len());
        for query in &queries {
            let what = format!("{name}, panel {:?}: {}", query.panel, query.expr);
            for address in [prometheus.address(), cluster.nodes[0].http.as_str()] {
                eventually(&what, LONG, async || {
                    let mut tried = Vec::new();
                    for values in choices(address, dashboard).await? {
                        let expr = substitute(&query.expr, &values);
                        ensure(!expr.contains('$'), || format!("unknown variable in {expr}"))?;
                        if has_data(address, &expr, begin).await? {
                            return Ok(());
                        }
                        tried.push(expr);
                    }
                    Err(format!("no data at {address}: {tried:#?}"))
                })
                .await;
            }
        }
        let panels: std::collections::BTreeSet<_> = queries.iter().map(|q| &q.panel).collect();
        let (count, panels) = (queries.len(), panels.len());
        eprintln!(
            "{name}: {count} queries, all with data; {panels} / {panels} panels, from a node's own API too"
        );
    }
    for node in &cluster.nodes {
        clean(node).await;
    }
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
        "failover": [{"name": "web", "when": {"service": "web"}, "callback": {"url": sink.url("/callback")}}],
    })
}

/// One fault with everything that follows, and back.
async fn fail_over(cluster: &Cluster, nginx: &mut Nginx, sink: &Receiver) {
    let node = &cluster.nodes[0];
    let instance = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port, "role": "primary", "ttl_seconds": 600,
        "checks": [{"name": "home", "interval_ms": 500, "timeout_ms": 400, "http": {}}],
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

/// The dashboards of the repository: file name and content.
fn dashboards() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let files =
        fs::read_dir(folder).expect("dashboards").map(|entry| entry.expect("a file").path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("readable");
        (name, serde_json::from_str(&text).expect("JSON"))
    };
    files.filter(|path| path.extension().is_some_and(|end| end == "json")).map(read).collect()
}

/// Every choice a person has for the dashboard's variables: all values at once, then each by itself.
async fn choices(
    address: &str,
    dashboard: &Value,
) -> Result<Vec<BTreeMap<String, String>>, String> {
    let fixed = BUILT_IN.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut choices = vec![BTreeMap::from(fixed)];
    for (name, (metric, label)) in variables(dashboard) {
        let values =
            ask(address, &format!("label/{label}/values"), &[("match[]", &metric)]).await?;
        let values = values.as_array().cloned().unwrap_or_default();
        ensure(!values.is_empty(), || format!("${name}: {metric} has no label {label}"))?;
        let values = values.iter().filter_map(Value::as_str).map(str::to_owned);
        let values: Vec<String> = std::iter::once(".+".to_owned()).chain(values).collect();
        choices = choices
            .iter()
            .flat_map(|choice| {
                values.iter().map(|value| {
                    let mut choice = choice.clone();
                    choice.insert(name.clone(), value.clone());
                    choice
                })
            })
            .collect();
    }
    Ok(choices)
}

/// Whether a panel that shows the time from `begin` until now would show a point.
async fn has_data(
    address: &str,
    expr: &str,
    begin: chrono::DateTime<chrono::Utc>,
) -> Result<bool, String> {
    let (start, end) = (begin.timestamp().to_string(), chrono::Utc::now().timestamp().to_string());
    let query = [("query", expr), ("start", &start), ("end", &end), ("step", "1")];
    let data = ask(address, "query_range", &query).await?;
    let series = data["result"].as_array().cloned().unwrap_or_default();
    let mut points =
        series.iter().flat_map(|one| one["values"].as_array().cloned().unwrap_or_default());
    Ok(points.any(|point| point[1] != "NaN"))
}

async fn clean(node: &Node) -> String {
    let page = http::text(http::client().get(node.url("/metrics"))).await.expect("metrics");
    assert_eq!(complaints(&page), "", "{}", node.name);
    page
}
