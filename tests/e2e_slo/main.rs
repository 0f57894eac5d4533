//! Promises through their doors: reports in every form, the gate, the badge, OpenSLO documents, and reports by mail and
//! webhook that are sent once. When burn alerts fire is in [`burn`].

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use chrono::{TimeDelta, Timelike, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "../common/mod.rs"]
mod common;

mod burn;

use common::{
    Cluster, Node, cluster::WATCHKEEP, eventually, http, mail::MailServer, ports,
    receiver::Receiver, wait::ensure,
};

const SOON: Duration = Duration::from_secs(60);

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn run(program: &str, args: &[&str], dir: &Path) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command prints; it must succeed.
fn said(program: &str, args: &[&str], dir: &Path) -> String {
    let output = run(program, args, dir);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {out}{err}");
    out
}

/// A service of one instance whose only check asks this port.
async fn register(node: &Node, service: &str, port: u16) {
    let instance = json!({
        "id": format!("{service}-1"), "address": "127.0.0.1", "port": port,
        "checks": [{"name": "open", "interval_ms": 300, "timeout_ms": 200, "tcp": {}}],
    });
    node.register(service, &instance).await;
}

async fn status(node: &Node, path: &str) -> (u16, Value) {
    let got = http::send(http::client().get(node.url(path))).await;
    let (status, body) = got.expect("an answer");
    (status.as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// An OpenSLO document over what the node itself counts.
const PROBES: &str = "apiVersion: openslo/v1
kind: SLO
metadata: {name: probes}
spec:
  service: watchkeep
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Watchkeep, spec: {query: 'watchkeep_collector_probes_total{result!=\"success\"}'}}}
        total: {metricSource: {type: Watchkeep, spec: {query: watchkeep_collector_probes_total}}}
  timeWindow: [{duration: 7d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
";

#[tokio::test(flavor = "multi_thread")]
async fn reports_the_gate_and_the_badge() {
    let dir = TempDir::new().expect("a folder");
    let document = dir.path().join("probes.yaml");
    fs::write(&document, PROBES).expect("written");
    let slo = json!({
        "openslo_files": [document],
        "policies": [{"name": "strict", "services": ["down"], "window": "24h", "warn_below": 0.5, "freeze_below": 0.1}],
    });
    let cluster = Cluster::start(1, &[("slo", slo)]).await;
    let node = &cluster.nodes[0];
    let sink = Receiver::start().await;
    let open: u16 = sink
        .url("")
        .rsplit(':')
        .next()
        .and_then(|p| p.trim_end_matches('/').parse().ok())
        .expect("a port");
    register(node, "up", open).await;
    register(node, "down", ports::free()).await;

    // A service without a working instance spends its budget, and nothing is to be released.
    let gate = eventually("the gate is shut", SOON, async || {
        let (code, gate) = status(node, "/v1/slo/down/gate").await;
        ensure(code == 409, || format!("{code} {gate}"))?;
        Ok(gate)
    })
    .await;
    assert_eq!((&gate["verdict"], &gate["policy"]), (&json!("frozen"), &json!("strict")), "{gate}");
    assert!(gate["reason"].as_str().is_some_and(|r| r.contains("freezes at 10.0 %")), "{gate}");
    let cli = |args: &[&str]| {
        let args: Vec<_> = args.iter().copied().chain(["--http"]).collect();
        let url = node.url("");
        let args: Vec<_> = args.into_iter().chain([url.as_str()]).collect();
        run(WATCHKEEP, &args, dir.path())
    };
    let shut = cli(&["slo", "gate", "down"]);
    assert!(!shut.status.success() && text(&shut.stdout).starts_with("down: frozen: "), "{shut:?}");
    eventually("the other one is open", SOON, async || {
        let (code, gate) = status(node, "/v1/slo/up/gate").await;
        let judged = gate["budget_left_ratio"].is_number();
        ensure(code == 200 && judged, || format!("{code} {gate}"))
    })
    .await;
    let open = cli(&["slo", "gate", "up"]);
    assert!(open.status.success() && text(&open.stdout).starts_with("up: "), "{open:?}");

    // In every form, by format and by Accept.
    let (code, report) = status(node, "/v1/slo/down/report?window=24h").await;
    assert_eq!(code, 200, "{report}");
    assert_eq!(report["status"], "breached", "{report}");
    assert!(report["availability"]["bad_probes"].as_u64() > Some(2), "{report}");
    let budget = |name: &str| report["availability"][name].as_f64().expect(name);
    assert!(budget("remaining_probes") < 0.0, "{report}");
    // It is seconds old: they are those that count, and the same share of them is spent as of the probes.
    let (total, left) = (budget("budget_total_seconds"), budget("budget_left_seconds"));
    assert!(left < 0.0 && (left / total - budget("remaining_ratio")).abs() < 1e-6, "{report}");
    assert!(total < 0.0001 * 3_600.0, "it has not been probed for an hour: {report}");
    assert_eq!(report["availability"]["status"], "breached", "{report}");
    assert_eq!(report["burn"].as_array().map(Vec::len), Some(8), "{report}");
    assert_eq!(report["downtimes"][0]["ongoing"], true, "{report}");
    assert!(report["sparse"].is_object(), "a probe each 300 ms is sparse at 99.99 %: {report}");
    eventually("the downtime's cause is known", SOON, async || {
        let (_, report) = status(node, "/v1/slo/down/report?window=24h").await;
        let cause = &report["downtimes"][0];
        let known = cause["instance"] == "down-1" && cause["incident"].is_string();
        ensure(known && cause["reason"].is_string(), || cause.to_string())
    })
    .await;
    for (path, accept, begins) in [
        ("/v1/slo/down/report?format=html", "", "<!doctype html>"),
        ("/v1/slo/down/report", "text/html,*/*;q=0.8", "<!doctype html>"),
        ("/v1/slo/down/report?format=csv", "", "row,name,from,to,probes,"),
        ("/v1/slo/down/report?format=md&time_zone=Asia/Tokyo", "", "# SLO of down: BREACHED"),
        ("/v1/slo/up/badge.svg?window=7d", "", "<svg "),
    ] {
        let request = http::client().get(node.url(path)).header("accept", accept);
        let (code, body) = http::send(request).await.expect("an answer");
        assert!(code.is_success() && body.starts_with(begins), "{path}: {code} {body}");
    }
    let table = cli(&["report", "down", "--window", "24h", "--format", "csv"]);
    assert!(
        text(&table.stdout).lines().last().is_some_and(|l| l.starts_with("range,24h,")),
        "{table:?}"
    );
    let today = Utc::now().format("%Y-%m-%d").to_string();
    let shown = cli(&["report", "down", "--from", &today, "--time-zone", "UTC"]);
    assert!(text(&shown.stdout).contains("## Month by month"), "{shown:?}");

    // What is asked wrongly is told what is right.
    for (path, code, part) in [
        ("/v1/slo/absent/report", 404, "is not known"),
        ("/v1/slo/absent/gate", 404, "is not known"),
        ("/v1/slo/absent/badge.svg", 404, "is not known"),
        ("/v1/slo/up/report?window=5y", 400, "kept for 100 days"),
        ("/v1/slo/up/report?window=soon", 400, "give a duration"),
        ("/v1/slo/up/report?format=pdf", 400, "use json, html, csv or md"),
        ("/v1/slo/up/report?time_zone=Mars", 400, "Europe/Berlin"),
        ("/v1/slo/up/report?when=now", 400, "give one of `window`, `from`, `to`"),
        (
            "/v1/slo/up/report?window=last_day&to=-262143-01-01",
            400,
            "is neither a moment nor a day",
        ),
        ("/v1/slo/up/report?to=%2B262142-12-31T23:59:59Z", 400, "is neither a moment nor a day"),
        ("/v1/slo/up/report?from=2020-01-01", 400, "raise slo.retention_days"),
    ] {
        let (found, answer) = status(node, path).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(found == code && error.contains(part), "{path}: {found} {answer}");
    }

    // What is in maintenance does not count, and is shown.
    let window = json!({"scope": {"service": "down"}, "to": Utc::now() + TimeDelta::hours(1), "from": Utc::now(), "comment": "moved"});
    http::post(&node.url("/v1/maintenance"), &window).await.expect("a window");
    eventually("probes are excluded", SOON, async || {
        let (_, report) = status(node, "/v1/slo/down/report?window=24h").await;
        let (excluded, state) = (&report["maintenance"], &report["state"]);
        let shown =
            excluded["spans"][0]["reason"].as_str().is_some_and(|why| why.contains("moved"));
        ensure(excluded["probes"].as_u64() > Some(3) && state == "maintenance" && shown, || {
            format!("{state} {excluded}")
        })
    })
    .await;

    // The document's counts come from the node's own metrics.
    eventually("the document is counted", Duration::from_secs(150), async || {
        let (code, report) = status(node, "/v1/slo/openslo.probes/report").await;
        let counted = report["probes"]["total"].as_u64() > Some(5);
        ensure(code == 200 && counted && report["window"] == "7d", || format!("{code} {report}"))
    })
    .await;
    // Nobody probes what it measures: its report speaks of events, and of nothing that only probes could tell.
    for format in ["md", "html"] {
        let (_, said) =
            status(node, &format!("/v1/slo/openslo.probes/report?format={format}")).await;
        let said = said.as_str().unwrap_or_default();
        assert!(said.contains(" events in "), "{said}");
        assert!(!said.contains("Answer times") && !said.contains("Downtimes</h2>"), "{said}");
    }
    let rules = http::get(&node.url("/api/v1/rules")).await.expect("rules");
    assert!(rules.to_string().contains("slo:sli_error:ratio_rate5m"), "{rules}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_sent_once() {
    let dir = TempDir::new().expect("a folder");
    let (mail, sink) = (MailServer::start(dir.path()).await, Receiver::start().await);
    // Once, as soon as the nodes surely run.
    let due = Utc::now() + TimeDelta::seconds(30);
    let schedule = format!("{} {} {} * * *", due.second(), due.minute(), due.hour());
    let alerting = json!({
        "smtp": {"host": "127.0.0.1", "port": mail.port, "tls": "none", "from": "watchkeep@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "receivers": [{"name": "ops", "webhook": sink.url("/reports")}],
    });
    let slo = json!({"reports": [{"name": "often", "schedule": schedule, "window": "24h",
        "services": ["watchkeep"], "to": ["alice", "ops"]}]});
    let mut cluster = Cluster::start(2, &[("alerting", alerting), ("slo", slo)]).await;
    let sent = mail.wait(&["To: alice@example.org", "Subject: [SLO often]"], SOON).await;
    assert!(sent.contains("/v1/slo/watchkeep/report?"), "{sent}");
    let hooks = sink.wait("/reports", 1, SOON).await;
    let body = hooks[0].json();
    assert_eq!((&body["report"], &body["window"]), (&json!("often"), &json!("24h")), "{body}");
    assert_eq!(body["services"][0]["service"], "watchkeep", "{body}");
    assert!(
        hooks[0].header("idempotency-key").starts_with("report.often."),
        "{:?}",
        hooks[0].headers
    );

    let delivered = async |node: &Node| {
        eventually("it is on record", SOON, async || {
            let record = node.get("/watchkeep/slo-reports/often").await?;
            let record = record.ok_or_else(|| "not there".to_owned())?;
            let all = record["deliveries"].as_array().cloned().unwrap_or_default();
            let good = all.len() == 2 && all.iter().all(|d| d["state"] == "delivered");
            ensure(good, || record.to_string())
        })
        .await;
    };
    delivered(&cluster.nodes[0]).await;
    // Neither a restart nor another leader sends it again.
    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    cluster.ready().await;
    let leader = cluster.alerting_leader().await;
    delivered(&cluster.nodes[leader]).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((mail.mails().len(), sink.at("/reports").len()), (1, 1));
}

#[test]
fn documents_are_judged() {
    let dir = TempDir::new().expect("a folder");
    let good = data("data/openslo");
    let good = good.to_str().expect("UTF-8");
    let listed = said(WATCHKEEP, &["slo", "check", good], dir.path());
    assert!(listed.contains("checkout-availability: ok, 99.9 % of checkout"), "{listed}");

    // What it prints is a rule file for both.
    let rules = said(WATCHKEEP, &["slo", "rules", good], dir.path());
    fs::write(dir.path().join("slo.rules.yml"), rules).expect("written");
    said("promtool", &["check", "rules", "slo.rules.yml"], dir.path());
    said(WATCHKEEP, &["rules", "check", "slo.rules.yml"], dir.path());

    let text_of = fs::read_to_string(data("data/openslo/checkout.yaml")).expect("the document");
    for (from, to, expected) in [
        ("targetPercent: 99.9", "targetPercent: 100", "bad.yaml:53: 100 leaves no budget"),
        (
            "type: Prometheus\n  conn",
            "type: Datadog\n  conn",
            "data source type \"Datadog\" is not supported",
        ),
        ("query: receipts_sent_ratio", "query: sum(", "is not PromQL"),
        (
            "conditionRef: fast-burn",
            "conditionRef: slow-burn",
            "AlertCondition \"slow-burn\" is not defined; defined: fast-burn",
        ),
    ] {
        assert!(text_of.contains(from), "{from}");
        fs::write(dir.path().join("bad.yaml"), text_of.replace(from, to)).expect("written");
        let output = run(WATCHKEEP, &["slo", "check", "bad.yaml"], dir.path());
        let error = text(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{expected}: {error}");
        // A node does not start with it, either.
        fs::write(dir.path().join("watchkeep.yaml"), "slo: {openslo_files: [bad.yaml]}\n")
            .expect("written");
        let output = run(WATCHKEEP, &["check"], dir.path());
        assert!(!output.status.success() && text(&output.stderr).contains(expected), "{output:?}");
    }
}

#[test]
fn a_window_is_no_longer_than_counts_are_kept() {
    let dir = TempDir::new().expect("a folder");
    fs::write(dir.path().join("long.yaml"), PROBES.replace("duration: 7d", "duration: 120d"))
        .expect("written");
    said(WATCHKEEP, &["slo", "check", "long.yaml"], dir.path());
    for (kept, refused) in [(100, true), (120, false)] {
        let config = format!("slo: {{openslo_files: [long.yaml], retention_days: {kept}}}\n");
        fs::write(dir.path().join("watchkeep.yaml"), config).expect("written");
        let output = run(WATCHKEEP, &["check"], dir.path());
        let error = text(&output.stderr);
        assert_eq!(output.status.success(), !refused, "{error}");
        let named =
            "long.yaml:1: the window of \"probes\" has 120 days, and counts are kept for 100";
        assert!(!refused || error.contains(named), "{error}");
    }
}
