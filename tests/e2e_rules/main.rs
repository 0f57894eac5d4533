//! Prometheus's rules in a running cluster: their state outlives the leader and a restart, wrong files change nothing, and
//! what fires becomes an incident.

use std::{fs, path::Path, process::Command, time::Duration};

use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use watchkeep_catalog::prompb;

#[path = "../common/mod.rs"]
mod common;

mod keep_firing;
mod metrics;

use common::{
    Cluster, Node, cluster::WATCHKEEP, eventually, http, receiver::Receiver, wait::ensure,
};

const SOON: Duration = Duration::from_secs(40);
/// One alert that is pending for a while, one that fires at once, one series.
const RULES: &str = r#"
groups:
  - name: always
    interval: 1s
    rules:
      - record: one
        expr: vector(1)
      - alert: Patient
        expr: one > 0
        for: 12s
        labels: {severity: critical}
        annotations: {summary: "one is {{ $value }}"}
"#;

fn alerting(dir: &Path, sink: &Receiver) -> Value {
    let file = dir.join("rules.yml");
    fs::write(&file, RULES).expect("rules");
    json!({
        "rule_files": [file],
        "receivers": [{"name": "ops", "webhook": sink.url("/page")}],
        "pages": {"receivers": ["ops"]},
    })
}

/// The only active alert, once it is in this state.
async fn alert(node: &Node, state: &str) -> Value {
    eventually(&format!("an alert is {state}"), SOON, async || {
        let answer = http::get(&node.url("/api/v1/alerts")).await?;
        let alert = answer["data"]["alerts"][0].clone();
        ensure(alert["state"] == state, || answer.to_string())?;
        Ok(alert)
    })
    .await
}

/// The history says what fired, and who would have been paged. A killed node has lost its last second, so the series may be
/// younger than the alert.
async fn replays(node: &Node, rules: &Path) {
    let fired = eventually("the replay fires", SOON, async || {
        let now = chrono::Utc::now();
        let output = Command::new(WATCHKEEP)
            .args(["rules", "replay", "--json", "--http", &node.url("")])
            .args(["--from", &(now - chrono::TimeDelta::minutes(2)).to_rfc3339()])
            .args(["--to", &now.to_rfc3339()])
            .arg("--config")
            .arg(node.config())
            .arg("--rules")
            .arg(rules)
            .output()
            .expect("replay runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().next().unwrap_or_default();
        serde_json::from_str::<Value>(line).map_err(|error| format!("{error}: {said} {why}"))
    })
    .await;
    assert_eq!(fired["labels"]["alertname"], "Patient", "{fired}");
    assert_eq!(fired["pages"], json!(["ops (firing)"]), "{fired}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_rules_are_evaluated() {
    let sections = [("alerting", json!({"shipped_rules": true, "evaluation_interval": "3s"}))];
    let cluster = Cluster::start(1, &sections).await;
    let node = &cluster.nodes[0];
    eventually("every shipped rule is evaluated", SOON, async || {
        let answer = http::get(&node.url("/api/v1/rules")).await?;
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<&Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        ensure(rules.len() >= 22, || answer.to_string())?;
        let wrong = rules.iter().find(|rule| rule["health"] != "ok");
        ensure(wrong.is_none(), || wrong.map(ToString::to_string).unwrap_or_default())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_alert_goes_on_under_the_next_leader() {
    let dir = TempDir::new().expect("temporary folder");
    let sink = Receiver::start().await;
    let mut cluster = Cluster::start(3, &[("alerting", alerting(dir.path(), &sink))]).await;
    let leader = cluster.alerting_leader().await;
    let before = alert(&cluster.nodes[leader], "pending").await;
    cluster.nodes[leader].kill();

    let survivor = &cluster.nodes[(leader + 1) % 3];
    let after = alert(survivor, "firing").await;
    assert_eq!(after["activeAt"], before["activeAt"], "its `for` did not begin again");
    // The dead node is an incident of its own, with its own page.
    eventually("its page comes", SOON, async || {
        let pages: Vec<Value> = sink.at("/page").iter().map(|page| page.json()).collect();
        let told = pages.iter().any(|page| page.to_string().contains("one is 1"));
        ensure(told, || format!("{pages:#?}"))
    })
    .await;
    let incidents = survivor.list("/watchkeep/incidents/").await.expect("incidents");
    let patient: Vec<_> = incidents.iter().filter(|i| i["alert"] == "Patient").collect();
    assert_eq!(patient.len(), 1, "{incidents:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_a_wrong_file_and_the_end() {
    let dir = TempDir::new().expect("temporary folder");
    let sink = Receiver::start().await;
    let mut cluster = Cluster::start(1, &[("alerting", alerting(dir.path(), &sink))]).await;
    let before = alert(&cluster.nodes[0], "pending").await;
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.ready().await;
    let node = &cluster.nodes[0];
    let after = alert(node, "firing").await;
    assert_eq!(after["activeAt"], before["activeAt"], "its `for` did not begin again");
    sink.wait("/page", 1, SOON).await;

    replays(node, &dir.path().join("rules.yml")).await;

    let file = dir.path().join("rules.yml");
    let reload = async || http::any(Method::POST, &node.url("/-/reload"), None).await;
    fs::write(&file, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: '('\n").expect("rules");
    let (status, said) = reload().await;
    assert!(status.is_server_error() && said.contains("rules.yml:5: expr: "), "{status} {said}");
    let rules = http::get(&node.url("/api/v1/rules?type=alert")).await.expect("rules");
    assert_eq!(rules["data"]["groups"][0]["rules"][0]["name"], "Patient", "{rules}");

    fs::write(&file, RULES.replace("one > 0", "one > 1")).expect("rules");
    let (status, said) = reload().await;
    assert!(status.is_success(), "{said}");
    let pages = sink.wait("/page", 2, SOON).await;
    assert_eq!(pages[1].json()["status"], "resolved", "{}", pages[1].json());
}

/// Writes native histograms of two instances to a node.
async fn write_histograms(node: &Node) {
    let histogram = prompb::Histogram {
        count_int: Some(9),
        zero_count_int: Some(1),
        sum: 18.5,
        positive_spans: vec![prompb::BucketSpan { offset: 0, length: 3 }],
        positive_deltas: vec![2, 1, -1],
        timestamp: chrono::Utc::now().timestamp_millis(),
        ..prompb::Histogram::default()
    };
    let label = |name: &str, value: &str| prompb::Label { name: name.into(), value: value.into() };
    let series = |instance: &str| prompb::TimeSeries {
        labels: vec![label("__name__", "latency"), label("instance", instance), label("job", "a")],
        samples: vec![],
        histograms: vec![histogram.clone()],
    };
    let request = prompb::WriteRequest { timeseries: vec![series("1"), series("2")] };
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("small");
    let request = http::client()
        .post(node.url("/api/v1/write"))
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body);
    http::text(request).await.expect("taken");
}

/// Waits until an expression has one value, on a node.
async fn is(node: &Node, query: &str, value: &str) {
    eventually(&format!("{query} on {}", node.name), SOON, async || {
        let asked = http::client().get(node.url("/api/v1/query")).query(&[("query", query)]);
        let answer = http::json(asked).await?;
        let found = &answer["data"]["result"][0]["value"][1];
        ensure(found == value, || answer.to_string())
    })
    .await;
}

/// A rule that records native histograms.
fn native_rules(dir: &Path) -> Value {
    let file = dir.join("rules.yml");
    let rule = "{record: 'job:latency:sum', expr: 'sum by (job) (latency)'}";
    fs::write(&file, format!("groups: [{{name: native, interval: 1s, rules: [{rule}]}}]\n"))
        .expect("rules");
    json!({"rule_files": [file]})
}

/// A rule of histograms makes histograms: what it recorded is asked for as such.
#[tokio::test]
async fn native_histograms_are_recorded() {
    let dir = TempDir::new().expect("temporary folder");
    let cluster = Cluster::start(1, &[("alerting", native_rules(dir.path()))]).await;
    let node = &cluster.nodes[0];
    write_histograms(node).await;
    is(node, "histogram_count(job:latency:sum{job=\"a\"})", "18").await;
    is(node, "histogram_sum(job:latency:sum)", "37").await;
    is(node, "histogram_fraction(0, 2, job:latency:sum) > bool 0", "1").await;
}

/// What one node records the others have, too, and so has whoever is configured to take it; also after an absence.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_native_histograms_reach_the_other_members() {
    let dir = TempDir::new().expect("temporary folder");
    let sink = Receiver::start().await;
    let to = |name: &str, more: Value| {
        let mut to = json!({"name": name, "url": sink.url(&format!("/{name}")),
            "write_relabel_configs": [{"source_labels": ["__name__"], "regex": "job:.*", "action": "keep"}]});
        to.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("an object"));
        to
    };
    let collector = json!({"remote_write": [to("floats", json!({})), to("all", json!({"send_native_histograms": true}))]});
    let sections = [("alerting", native_rules(dir.path())), ("collector", collector)];
    let mut cluster = Cluster::start(3, &sections).await;
    let leader = cluster.alerting_leader().await;
    let registry = cluster.raft_leader().await;
    let away = (0..3).find(|at| ![leader, registry].contains(at)).expect("one of three");
    let stays = (0..3).filter(|at| *at != away).collect::<Vec<_>>();
    cluster.nodes[away].kill();
    write_histograms(&cluster.nodes[leader]).await;
    for at in stays {
        is(&cluster.nodes[at], "histogram_count(job:latency:sum{job=\"a\"})", "18").await;
    }
    let taken = sink.wait("/all", 1, SOON).await;
    let plain = snap::raw::Decoder::new().decompress_vec(&taken[0].body).expect("snappy");
    let request = prompb::WriteRequest::decode(&*plain).expect("remote write 1.0");
    let sent = &request.timeseries[0].histograms[0];
    assert_eq!((sent.count_float, sent.sum), (Some(18.0), 37.0), "{request:?}");
    assert!(sink.at("/floats").is_empty(), "it does not take them");
    // Who was away gets what was recorded meanwhile.
    cluster.nodes[away].start();
    cluster.nodes[away].ready().await;
    is(&cluster.nodes[away], "histogram_sum(job:latency:sum)", "37").await;
}

/// The runbooks of what is shipped are where people reach them, not where the rule file's author was.
#[tokio::test(flavor = "multi_thread")]
async fn shipped_rules_link_runbooks_that_people_reach() {
    for url in ["", "https://watch.example.org/w/"] {
        let alerting = json!({"external_url": url, "shipped_rules": true});
        let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
        let node = &cluster.nodes[0];
        let rules = node.url("/api/v1/rules?type=alert&rule_name[]=WatchkeepNoLeader");
        let rule = eventually("the rule", SOON, async || {
            let answer = http::get(&rules).await?;
            let rule = answer["data"]["groups"][0]["rules"][0].clone();
            ensure(rule["name"] == "WatchkeepNoLeader", || answer.to_string())?;
            Ok(rule)
        })
        .await;
        let own = node.url("/");
        let base = if url.is_empty() { &own } else { url };
        let expected = format!("{base}runbooks/WatchkeepNoLeader");
        assert_eq!(rule["annotations"]["runbook_url"], expected.as_str(), "{rule}");
    }
}
