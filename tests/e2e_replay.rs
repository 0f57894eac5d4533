//! `watchkeep rules replay` over a past that was written for it: at which times rules ask, who would have been told, and why nobody.

use std::{fs, path::Path, process::Command};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;
use watchkeep_catalog::prompb;

mod common;
use common::{Cluster, Node, cluster::WATCHKEEP, http};

/// Two groups that ask later than they are evaluated, by a time that is no multiple of their interval.
const RULES: &str = r#"
groups:
  - name: late
    interval: 30s
    query_offset: 10s
    rules:
      - record: 'replay:never'
        expr: sum(replayed) > 100
      - alert: Down
        expr: replayed == 0
        for: 1m
        labels: {severity: info}
        annotations: {summary: "{{ $labels.job }} is {{ $value }}, {{ (now | toTime).Format \"15:04:05\" }} in {{ $externalLabels.region }}"}
      - alert: Quiet
        expr: replayed == 0
        labels: {severity: none}
      - alert: Wide
        expr: latency
"#;

/// Ten minutes: `replayed` is 0 in the three minutes before the last four, `latency` is a histogram in the last two.
struct Past {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Past {
    /// A minute's begin, so that times are the same in every run.
    fn new() -> Self {
        let now = Utc::now().timestamp() / 60 * 60;
        let to = DateTime::from_timestamp(now, 0).expect("a time");
        Self { from: to - TimeDelta::minutes(10), to }
    }

    fn minute(&self, minute: i64) -> String {
        (self.from + TimeDelta::minutes(minute)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    async fn write(&self, node: &Node) {
        use prost::Message;
        let label =
            |name: &str, value: &str| prompb::Label { name: name.into(), value: value.into() };
        let labels = |name: &str| vec![label("__name__", name), label("job", "a")];
        let samples = (0..=600).step_by(15).map(|second| prompb::Sample {
            value: if (180..360).contains(&second) { 0.0 } else { 1.0 },
            timestamp: (self.from.timestamp() + second) * 1_000,
        });
        let histograms = (480..=600).step_by(15).map(|second| prompb::Histogram {
            count_int: Some(3),
            sum: 4.5,
            positive_spans: vec![prompb::BucketSpan { offset: 0, length: 2 }],
            positive_deltas: vec![1, 1],
            timestamp: (self.from.timestamp() + second) * 1_000,
            ..prompb::Histogram::default()
        });
        let floats = prompb::TimeSeries {
            labels: labels("replayed"),
            samples: samples.collect(),
            histograms: vec![],
        };
        let native = prompb::TimeSeries {
            labels: labels("latency"),
            samples: vec![],
            histograms: histograms.collect(),
        };
        let request = prompb::WriteRequest { timeseries: vec![floats, native] };
        let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("small");
        let request = http::client()
            .post(node.url("/api/v1/write"))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body);
        http::text(request).await.expect("taken");
    }

    fn replay(&self, node: &Node, more: &[&str]) -> (String, String) {
        let output = Command::new(WATCHKEEP)
            .args(["rules", "replay", "--http", &node.url("")])
            .args(["--from", &self.from.to_rfc3339(), "--to", &self.to.to_rfc3339()])
            .args(more)
            .output()
            .expect("replay runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (text(output.stdout), text(output.stderr))
    }

    /// The alerts by their names.
    fn alerts(&self, node: &Node, more: &[&str]) -> (Vec<Value>, String) {
        let (out, err) = self.replay(node, &[&["--json"], more].concat());
        let alerts: Vec<Value> =
            out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (alerts, err)
    }
}

fn named<'a>(alerts: &'a [Value], name: &str) -> &'a Value {
    let found = alerts.iter().find(|alert| alert["labels"]["alertname"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {alerts:#?}"))
}

/// Alice is on call and is called by mail at once where it is not urgent; Bob is next after two minutes.
fn duty(rules: &Path) -> Value {
    json!({
        "rule_files": [rules], "shipped_rules": false, "external_labels": {"region": "eu"},
        "smtp": {"host": "127.0.0.1", "port": 1, "from": "watchkeep@example.org"},
        "people": [
            {"name": "alice", "email": "alice@example.org", "webhook": "http://127.0.0.1:1/alice",
             "notify": {"urgent": [{"channel": "webhook"}], "not_urgent": [{"channel": "email"}]}},
            {"name": "bob", "email": "bob@example.org"}],
        "receivers": [{"name": "ops", "webhook": "http://127.0.0.1:1/ops"}],
        "schedules": [
            {"name": "primary", "handoff": "0 0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]},
            {"name": "other", "handoff": "0 0 9 * * mon", "start": "2026-01-05", "rotation": ["bob"]}],
        "escalations": [{"name": "steps", "steps": [
            {"targets": [{"schedule": "primary"}], "wait_seconds": 120}, {"targets": [{"person": "bob"}]}]}],
        "pages": {"escalation": "steps", "receivers": ["ops"]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_have_fired_and_who_would_have_known() {
    let dir = TempDir::new().expect("temporary folder");
    let rules = dir.path().join("rules.yml");
    fs::write(&rules, RULES).expect("rules");
    let cluster = Cluster::start(1, &[("alerting", duty(&rules))]).await;
    let (node, past) = (&cluster.nodes[0], Past::new());
    past.write(node).await;

    // The node's own rules, and its own configuration; then the same from files.
    let config = node.config();
    let (config, file) = (config.to_str().expect("UTF-8"), rules.to_str().expect("UTF-8"));
    for more in [&[][..], &["--config", config, "--rules", file]] {
        let (alerts, said) = past.alerts(node, more);
        assert_eq!(alerts.len(), 3, "{alerts:#?} {said}");
        // 0 since 3:00; asked for ten seconds before each evaluation; pending for a minute.
        let down = named(&alerts, "Down");
        assert_eq!(down["fired_at"], past.minute(4).replace(":00Z", ":30Z"), "{down}");
        assert_eq!(down["ended_at"], past.minute(6).replace(":00Z", ":30Z"), "{down}");
        let at = past.minute(4)[11..16].to_owned();
        assert_eq!(down["summary"], format!("a is 0, {at}:30 in eu"), "{down}");
        let pages = json!(["ops (firing, resolved)", "alice (firing, resolved)"]);
        assert_eq!(down["pages"], pages, "{down}");
        let told = &down["told"][1];
        assert_eq!((&told["whom"], &told["way"]), (&json!("alice"), &json!("email")), "{down}");
        let wide = named(&alerts, "Wide");
        assert_eq!(wide["ended_at"], Value::Null, "{wide}");
        assert_eq!(wide["pages"], json!(["ops (firing)", "alice (firing)"]), "{wide}");
        let warned = said.contains("rules.yml:7: warning: ") && said.contains("replay:never");
        assert_eq!(warned, !more.is_empty(), "{said}");
    }
    let (table, _) = past.replay(node, &[]);
    assert!(table.starts_with("FIRED"), "{table}");
    assert!(table.contains("ops (firing, resolved), alice (firing, resolved)"), "{table}");
    assert!(table.contains("Wide{job=\"a\"}") && table.contains("fires still"), "{table}");

    // Somebody else's duty: two schedules, and which of them is paged nobody has said.
    let mut other = duty(&rules);
    other["pages"] = json!({});
    let why = "pages.escalation, pages.schedule and pages.receivers are not set";
    expect(&past, node, dir.path(), &other, &format!("nobody: {why}"));
    // The day was taken over.
    other["pages"] = json!({"schedule": "primary"});
    expect(&past, node, dir.path(), &other, "alice (firing, resolved)");
    let change = json!({"kind": "override", "person": "bob", "by": "alice", "from": past.from, "to": past.to + TimeDelta::hours(1)}).to_string();
    let path = node.url("/v1/oncall/schedules/primary/changes");
    let (status, said) = http::any(reqwest::Method::POST, &path, Some(&change)).await;
    assert!(status.is_success(), "{said}");
    expect(&past, node, dir.path(), &other, "bob (firing, resolved)");
}

/// Routes instead of duty.
#[tokio::test(flavor = "multi_thread")]
async fn routes_and_silences_count() {
    let dir = TempDir::new().expect("temporary folder");
    let rules = dir.path().join("rules.yml");
    fs::write(&rules, RULES).expect("rules");
    let routes = dir.path().join("alertmanager.yml");
    let text = "route: {receiver: chat, group_by: [alertname], group_wait: 40s, group_interval: 1m, routes: [{matchers: [alertname=\"Wide\"], receiver: none}]}\n\
                receivers: [{name: chat, webhook_configs: [{url: \"http://127.0.0.1:1/\"}]}, {name: none}]\n";
    fs::write(&routes, text).expect("routes");
    let mut alerting = duty(&rules);
    alerting["alertmanager_config"] = json!(routes);
    let cluster = Cluster::start(1, &[("alerting", alerting.clone())]).await;
    let (node, past) = (&cluster.nodes[0], Past::new());
    past.write(node).await;
    for config in [None, Some(&alerting)] {
        let more = config.map(|config| configured(dir.path(), node, config));
        let more: Vec<&str> = more.iter().flat_map(|file| ["--config", file.as_str()]).collect();
        let (alerts, said) = past.alerts(node, &more);
        let down = named(&alerts, "Down");
        assert_eq!(
            down["pages"],
            json!(["chat (firing after 40s, resolved after 40s)"]),
            "{down} {said}"
        );
        let wide = named(&alerts, "Wide");
        assert_eq!(
            (&wide["pages"], &wide["nobody"]),
            (&json!([]), &json!("receiver none has no integrations"))
        );
    }
}

/// Writes the node's configuration with other settings of alerting; its name.
fn configured(dir: &Path, node: &Node, alerting: &Value) -> String {
    let text = fs::read_to_string(node.config()).expect("its configuration");
    let mut whole: Value = serde_saphyr::from_str(&text).expect("YAML");
    whole["alerting"] = alerting.clone();
    let file = dir.join("other.yaml");
    fs::write(&file, whole.to_string()).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

/// What the table says of the alert `Down` under other settings.
fn expect(past: &Past, node: &Node, dir: &Path, alerting: &Value, words: &str) {
    let file = configured(dir, node, alerting);
    let (table, said) = past.replay(node, &["--config", &file]);
    let line = table.lines().find(|line| line.contains("Down{"));
    let line = line.unwrap_or_else(|| panic!("{table} {said}"));
    assert!(line.contains(words), "{table}");
}
