//! Traces, logs and metrics by OTLP, as a receiver that is not ours has them: one trace follows a put from request to
//! apply, one follows a fault from the failed probe through opinion, verdict and decision to the delivered callback, and
//! both go through several processes. Lines of the logs carry the ids; a share of the traces is kept, and every fault's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::Duration,
};

use chrono::Utc;
use serde_json::{Value, json};
use tempfile::TempDir;

mod common;
use common::{
    Cluster, Node,
    cluster::encode,
    eventually, http,
    nginx::Nginx,
    otlp::{OtlpReceiver, Span, lines},
    receiver::Receiver,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(30);
/// From the probe that tips the scale to the callback, a span for each step.
const FAULT: [&str; 5] = ["probe", "opinion", "verdict", "decision", "callback"];
/// From a write's arrival to its being applied.
const WRITE: [&str; 3] = ["propose", "commit", "apply"];

/// Three members, and each room in a process of its own.
const ROLES: [&str; 5] = ["registry", "registry", "registry", "collector", "alerting"];
const MEMBERS: [&str; 3] = ["node-1", "node-2", "node-3"];
const COLLECTOR: &str = "node-4";
const ALERTING: &str = "node-5";

fn failover(sink: &Receiver) -> Value {
    json!({"failover": [
        {"name": "web", "when": {"service": "web"}, "callback": {"url": sink.url("/callback")}},
    ]})
}

async fn register(node: &Node, nginx: &Nginx) {
    let instance = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port, "role": "primary",
        "checks": [{"name": "home", "interval_ms": 300, "timeout_ms": 250, "http": {}}],
    });
    node.register("web", &instance).await;
    node.verdict("web", "web-1", "passing", SOON).await;
}

/// A put through the JSON gateway, in a trace of the caller's.
async fn put(node: &Node, key: &str, parent: Option<&str>) {
    let body = json!({"key": encode(key), "value": encode("1")});
    let mut request = http::client().post(format!("http://{}/v3/kv/put", node.client)).json(&body);
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    http::json(request).await.expect("put");
}

fn names<'a>(line: &[&'a Span]) -> Vec<&'a str> {
    line.iter().map(|span| span.name.as_str()).collect()
}

fn nodes<'a>(line: &[&'a Span]) -> Vec<&'a str> {
    line.iter().map(|span| span.node.as_str()).collect()
}

/// Lines that end with `apply` and go on from a span with this name: one for each member.
fn applied<'a>(spans: &'a [Span], from: &str) -> Result<Vec<Vec<&'a Span>>, String> {
    let mut found = lines(spans, "apply");
    found.retain(|line| line.iter().any(|span| span.name == from));
    let members: BTreeSet<&str> =
        found.iter().filter_map(|line| line.last()).map(|span| span.node.as_str()).collect();
    ensure(members == BTreeSet::from(MEMBERS), || format!("below {from} applied by {members:?}"))?;
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_and_a_put_are_one_trace_each_through_all_processes() {
    let (sink, dir) = (Receiver::start().await, TempDir::new().expect("temporary folder"));
    let otlp = OtlpReceiver::start(dir.path()).await;
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let telemetry = json!({"otlp_endpoint": otlp.url(), "otlp_metrics": true,
                           "otlp_metrics_interval_seconds": 1, "log_format": "json"});
    let sections = [("alerting", failover(&sink)), ("telemetry", telemetry)];
    let cluster = Cluster::layout_roles(&ROLES, None, &sections).run().await;

    a_put(&cluster, &otlp).await;
    register(&cluster.nodes[0], &nginx).await;
    let killed = Utc::now();
    nginx.kill();
    let callback = sink.wait("/callback", 1, SOON).await.remove(0);
    let parent: Vec<&str> = callback.header("traceparent").split('-').collect();
    let [_, trace, id, "01"] = parent[..] else { panic!("{parent:?} is not a kept trace") };
    let spans = eventually("the trace of the fault", SOON, async || {
        let spans = otlp.of(trace);
        ensure(!lines(&spans, "callback").is_empty(), || format!("{spans:#?}"))?;
        writes_hang_below(&spans)?;
        Ok(spans)
    })
    .await;
    let line = lines(&spans, "callback").remove(0);
    assert_eq!(names(&line), FAULT);
    assert_eq!(nodes(&line), [COLLECTOR, COLLECTOR, ALERTING, ALERTING, ALERTING]);
    assert_eq!((line[4].id.as_str(), line[4].side.as_str()), (id, "SPAN_KIND_CLIENT"));
    assert_eq!(line[0].parent, "", "the probe is the beginning");
    assert_eq!(line[0].attributes["success"], json!(false), "{:?}", line[0]);
    let killed =
        u64::try_from(killed.timestamp_nanos_opt().expect("this century")).expect("since 1970");
    assert!(line[0].begin > killed, "the probe began after the fault");
    assert!(line.is_sorted_by_key(|span| span.begin), "{line:#?}");
    logs_have_the_ids(&cluster, trace, &line);
    metrics_are_those_of_the_page(&cluster, &otlp).await;
}

/// A put at a follower in a trace of our own: from there to the leader, and applied by all.
async fn a_put(cluster: &Cluster, otlp: &OtlpReceiver) {
    let leader = cluster.nodes[..3].iter();
    let leader = eventually("a leader", SOON, async || {
        for node in leader.clone() {
            let status = node.v3("maintenance/status", &json!({})).await?;
            if status["leader"] == status["header"]["member_id"] {
                return Ok(node);
            }
        }
        Err("nobody leads".to_owned())
    })
    .await;
    let follower = cluster.nodes[..3].iter().find(|node| node.id != leader.id).expect("a follower");
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    put(follower, "traced", Some(&format!("00-{trace}-{caller}-01"))).await;
    let spans = eventually("the put's trace", SOON, async || {
        let spans = otlp.of(trace);
        applied(&spans, "etcd.put").map(drop)?;
        Ok(spans)
    })
    .await;
    for line in applied(&spans, "etcd.put").expect("as before") {
        assert_eq!(names(&line), [&["grpc", "etcd.put"][..], &WRITE].concat());
        let (follower, leader) = (follower.name.as_str(), leader.name.as_str());
        assert_eq!(nodes(&line)[..4], [follower, follower, follower, leader]);
        assert_eq!((line[0].parent.as_str(), line[0].side.as_str()), (caller, "SPAN_KIND_SERVER"));
        assert!(line.is_sorted_by_key(|span| span.begin), "{line:#?}");
    }
}

/// The opinion and the decision are writes like any other: of another process, and applied by every member.
fn writes_hang_below(spans: &[Span]) -> Result<(), String> {
    for (above, call) in [(&FAULT[..2], "etcd.put"), (&FAULT[..4], "etcd.txn")] {
        let whole = [above, &["grpc", call], &WRITE].concat();
        let mut lines = lines(spans, "apply");
        lines.retain(|line| names(line) == whole);
        let members: BTreeSet<&str> =
            lines.iter().map(|line| line[whole.len() - 1].node.as_str()).collect();
        ensure(members == BTreeSet::from(MEMBERS), || {
            format!("{whole:?} by {members:?}: {spans:#?}")
        })?;
        let asked = lines.iter().all(|line| MEMBERS.contains(&nodes(line)[above.len()]));
        ensure(asked, || format!("another process: {lines:#?}"))?;
    }
    Ok(())
}

/// What was logged in a span says in which: each node's own lines.
fn logs_have_the_ids(cluster: &Cluster, trace: &str, line: &[&Span]) {
    for (at, message) in [(1, "opinion"), (3, "verdict")] {
        let node = cluster.nodes.iter().find(|node| node.name == line[at].node).expect("the node");
        let log = fs::read_to_string(node.log()).expect("its log");
        let read = |line| serde_json::from_str::<Value>(line).ok();
        let mut records = log.lines().filter_map(read);
        let found = records.find(|r| r["message"] == message && r["trace_id"] == trace);
        let found = found.unwrap_or_else(|| panic!("no {message} in {trace}: {log}"));
        assert_eq!(found["span_id"], line[at].id, "{found}");
    }
}

/// Every family of `/metrics` came by OTLP too, with its kind, from each node.
async fn metrics_are_those_of_the_page(cluster: &Cluster, otlp: &OtlpReceiver) {
    for node in &cluster.nodes {
        let page = http::text(http::client().get(node.url("/metrics"))).await.expect("/metrics");
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let expected: BTreeMap<&str, &str> = types
            .map(|(name, kind)| (name, if kind == "counter" { "sum" } else { kind }))
            .collect();
        assert!(expected.len() > 20, "{page}");
        eventually(&format!("the metrics of {}", node.name), SOON, async || {
            let points = otlp.points();
            let of_node = points.iter().filter(|point| point.node == node.name);
            let got: BTreeMap<&str, &str> =
                of_node.map(|point| (point.name.as_str(), point.shape.as_str())).collect();
            let missing: Vec<_> =
                expected.iter().filter(|(name, kind)| got.get(*name) != Some(*kind)).collect();
            ensure(missing.is_empty(), || format!("{missing:?}"))
        })
        .await;
    }
    let points = otlp.points();
    let mut counts = points
        .iter()
        .filter(|point| point.name == "watchkeep_http_requests_total" && point.node == "node-1");
    assert!(counts.any(|point| point.value >= 1.0), "what counts has counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_none_keeps_faults_and_what_callers_keep() {
    let (sink, dir) = (Receiver::start().await, TempDir::new().expect("temporary folder"));
    let otlp = OtlpReceiver::start(dir.path()).await;
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let telemetry = json!({"otlp_endpoint": otlp.url(), "sampling_ratio": 0.0});
    let cluster =
        Cluster::start(1, &[("alerting", failover(&sink)), ("telemetry", telemetry)]).await;
    let node = &cluster.nodes[0];

    let (kept, left) = ("1af7651916cd43dd8448eb211c80319c", "2af7651916cd43dd8448eb211c80319c");
    put(node, "of nobody", None).await;
    put(node, "left", Some(&format!("00-{left}-b7ad6b7169203331-00"))).await;
    put(node, "kept", Some(&format!("00-{kept}-b7ad6b7169203331-01"))).await;
    register(node, &nginx).await;
    nginx.kill();
    let callback = sink.wait("/callback", 1, SOON).await.remove(0);
    let fault = callback.header("traceparent").split('-').nth(1).expect("a trace").to_owned();
    eventually("both traces", SOON, async || {
        for (trace, end) in [(kept, "apply"), (fault.as_str(), "callback")] {
            ensure(!lines(&otlp.of(trace), end).is_empty(), || format!("no {end} in {trace}"))?;
        }
        Ok(())
    })
    .await;
    for span in otlp.spans().iter().filter(|span| span.parent.is_empty()) {
        let edge = span.attributes.get("edge");
        assert_eq!(edge, Some(&json!(true)), "kept without a reason: {span:?}");
    }
    assert!(otlp.of(left).is_empty(), "the caller did not keep it");
    let log = fs::read_to_string(node.log()).expect("its log");
    let line = log.lines().find(|line| line.contains(" verdict ") && line.contains("critical"));
    assert!(
        line.is_some_and(|line| line.contains(&format!(" trace_id={fault} span_id="))),
        "{log}"
    );
    assert!(otlp.points().is_empty(), "metrics were not asked for");
}

/// Opinions that have to wait for the registry are written together, with a link to the trace of each.
#[tokio::test(flavor = "multi_thread")]
async fn opinions_that_wait_are_one_write_linked_with_their_traces() {
    const COUNT: usize = 40;
    let dir = TempDir::new().expect("temporary folder");
    let otlp = OtlpReceiver::start(dir.path()).await;
    let mut nginx = Nginx::start(dir.path(), "web-1").await;
    let telemetry = json!({"otlp_endpoint": otlp.url()});
    let layout =
        Cluster::layout_roles(&["registry", "collector"], None, &[("telemetry", telemetry)]);
    let mut cluster = layout.run().await;
    for number in 0..COUNT {
        let check =
            json!({"name": "home", "interval_ms": 300, "timeout_ms": 250, "fall": 1, "http": {}});
        let instance = json!({"id": format!("web-{number}"), "address": "127.0.0.1", "port": nginx.port,
                              "checks": [check]});
        cluster.nodes[0].register("web", &instance).await;
    }
    let page = cluster.nodes[1].url("/metrics");
    let probed = async |success: &str| {
        let page = http::text(http::client().get(&page)).await?;
        let lines = page.lines().filter(|line| line.starts_with("probe_success{"));
        let found =
            lines.filter(|line| line.contains("\"web\"") && line.ends_with(success)).count();
        ensure(found == COUNT, || format!("{found} of {COUNT} have{success}"))
    };
    eventually("all pass", SOON, async || probed(" 1").await).await;
    let id = cluster.nodes[0].process().id();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &id.to_string()]).status();
        assert!(sent.expect("kill").success(), "{name}");
    };
    signal("-STOP");
    nginx.kill();
    eventually("all fail", SOON, async || probed(" 0").await).await;
    signal("-CONT");
    let written = eventually("a write of many", SOON, async || {
        let writes = otlp.spans().into_iter().filter(|span| span.name == "write");
        let most = writes.max_by_key(|span| span.links.len());
        most.filter(|most| most.links.len() >= 8).ok_or("no write of many".to_owned())
    })
    .await;
    let others: BTreeSet<&String> = written.links.iter().collect();
    assert!(others.len() >= 8 && !others.contains(&written.trace), "{written:?}");
    let keys = (written.links.len() + 1).to_string();
    assert_eq!(written.attributes["keys"], json!(keys), "{written:?}");
}
