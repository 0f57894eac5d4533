//! When burn alerts fire: held against the published formulae, reckoned by Python (`tests/slo/burn.py`), in promtool's unit
//! tests, in our own rule engine, and over the recorded series of a real Prometheus server.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{Router, routing::get};
use chrono::Utc;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    PROBES,
    common::{
        Cluster, cluster::WATCHKEEP, eventually, http, prometheus::Prometheus, receiver::Receiver,
        wait::ensure,
    },
    data, run, said, text,
};

/// Events a minute, and of which so many are bad, for so many minutes.
type Segments<'a> = &'a [(u32, u32, u32)];

const SCENARIOS: [(&str, Segments<'static>); 4] = [
    ("an outage", &[(400, 600, 0), (20, 600, 600), (100, 600, 0)]),
    ("one in ten fails", &[(400, 600, 0), (40, 600, 60), (200, 600, 0)]),
    ("seven in a thousand fail for hours", &[(401, 1_000, 0), (400, 1_000, 7), (120, 1_000, 0)]),
    (
        "seven in two thousand fail for a day",
        &[(1_501, 2_000, 0), (1_400, 2_000, 7), (300, 2_000, 0)],
    ),
];

/// In which minutes the published formulae fire, and end, when they are evaluated so many minutes behind each sample.
fn published(segments: Segments<'_>, left_open: bool, offset: f64, dir: &Path) -> Value {
    let minutes: Vec<_> = segments
        .iter()
        .map(|(minutes, events, bad)| json!({"minutes": minutes, "events": events, "bad": bad}))
        .collect();
    let question =
        json!({"objective": 0.999, "left_open": left_open, "offset": offset, "segments": minutes});
    fs::write(dir.join("question.json"), question.to_string()).expect("written");
    let script = data("slo/burn.py");
    let answer = said("python3", &[script.to_str().expect("UTF-8"), "question.json"], dir);
    serde_json::from_str(&answer).expect("JSON")
}

/// An OpenSLO document on the events of this shop.
fn document(name: &str, shop: &str) -> String {
    PROBES
        .replace("name: probes", &format!("name: {name}"))
        .replace(
            "watchkeep_collector_probes_total{result!=\"success\"}",
            &format!("bad_total{{service=\"{shop}\"}}"),
        )
        .replace(
            "query: watchkeep_collector_probes_total",
            &format!("query: 'all_total{{service=\"{shop}\"}}'"),
        )
}

/// Promtool's unit test: what fires when, by the published formulae, and not a minute before.
fn unit_test(segments: Segments<'_>, expected: &Value) -> String {
    let series = |of: fn(&(u32, u32, u32)) -> u32| {
        let (mut at, mut parts) = (0_u64, vec!["0".to_owned()]);
        for segment in segments {
            let step = u64::from(of(segment));
            parts.push(format!("{}+{step}x{}", at + step, segment.0 - 1));
            at += step * u64::from(segment.0);
        }
        parts.join(" ")
    };
    let mut tests = Vec::new();
    let mut expect = |alert: &str, minute: u64, firing: u8| {
        let expr =
            format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}) or vector(0)");
        tests.push(json!({"expr": expr, "eval_time": format!("{minute}m"), "exp_samples": [{"value": firing}]}));
    };
    for (name, alert) in [("page", "SloBudgetBurnFast"), ("ticket", "SloBudgetBurnSlow")] {
        if let Some(fires) = expected[name]["fires"].as_u64() {
            expect(alert, fires - 1, 0);
            expect(alert, fires, 1);
        }
        if let Some(ends) = expected[name]["ends"].as_u64() {
            expect(alert, ends - 1, 1);
            expect(alert, ends, 0);
        }
    }
    assert!(tests.len() >= 2, "{expected}");
    json!({
        "rule_files": ["burn.rules.yml"], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "promql_expr_test": tests, "input_series": [
            {"series": "all_total{service=\"shop\"}", "values": series(|s| s.1)},
            {"series": "bad_total{service=\"shop\"}", "values": series(|s| s.2)},
        ]}],
    })
    .to_string()
}

#[test]
fn burn_alerts_fire_in_the_minute_of_the_published_formulae() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path();
    fs::write(path.join("shop.yaml"), document("probes", "shop")).expect("written");
    let rules = said(WATCHKEEP, &["slo", "rules", "--documents-only", "shop.yaml"], path);
    fs::write(path.join("burn.rules.yml"), rules).expect("written");
    for (name, segments) in SCENARIOS {
        // Prometheus 2 (Debian's) takes the first moment of a range in, Prometheus 3 and we leave it out.
        for (program, args, left_open) in
            [("promtool", &["test", "rules"], false), (WATCHKEEP, &["rules", "test"], true)]
        {
            let expected = published(segments, left_open, 0.0, path);
            fs::write(path.join("burn.test.yml"), unit_test(segments, &expected)).expect("written");
            let output = run(program, &[args[0], args[1], "burn.test.yml"], path);
            let why = [text(&output.stdout), text(&output.stderr)].concat();
            assert!(output.status.success(), "{name}, {program}, {expected}: {why}");
        }
    }
}

/// The promise of every service, as `watchkeep slo rules` prints it: what is recorded, and the alert, by a real Prometheus's
/// rule engine and by ours.
#[test]
fn the_promise_of_every_service_as_rules() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path();
    let rules = said(WATCHKEEP, &["slo", "rules"], path);
    fs::write(path.join("promise.rules.yml"), rules).expect("written");
    said("promtool", &["check", "rules", "promise.rules.yml"], path);
    let labels = r#"job="watchkeep",instance="n1:8480",service="web",slo="availability""#;
    let rate = |window: &str, rate: u32| {
        let series = format!(r#"watchkeep_slo_burn_rate{{{labels},window="{window}"}}"#);
        json!({"series": series, "values": format!("{rate}x9")})
    };
    let confirmed = format!(r#"watchkeep_slo_burn_confirmed{{{labels},window="5m"}}"#);
    let left = format!(r#"watchkeep_slo_error_budget_remaining_ratio{{{labels},window="30d"}}"#);
    let series = [
        rate("5m", 40),
        rate("1h", 20),
        rate("24h", 2),
        json!({"series": confirmed, "values": "1x9"}),
        json!({"series": left, "values": "0.25x9"}),
        json!({"series": format!("watchkeep_slo_objective{{{labels}}}"), "values": "0.999x9"}),
    ];
    let is = |name: &str, value: f64| {
        let found = format!(r#"{name}{{service="web",slo="availability"}}"#);
        let expr = format!("count({found} > {} < {})", value - 1e-6, value + 1e-6);
        json!({"expr": expr, "eval_time": "5m", "exp_samples": [{"value": 1}]})
    };
    let firing = r#"count(ALERTS{alertstate="firing",alertname="WatchkeepSloBudgetBurnFast"})"#;
    let tests = [
        is("slo:objective:ratio", 0.999),
        is("slo:error_budget:ratio", 0.001),
        is("slo:sli_error:ratio_rate5m", 0.04),
        is("slo:sli_error:ratio_rate1h", 0.02),
        is("slo:sli_error:ratio_rate1d", 0.002),
        is("slo:current_burn_rate:ratio", 40.0),
        is("slo:period_error_budget_remaining:ratio", 0.25),
        json!({"expr": firing, "eval_time": "5m", "exp_samples": [{"value": 1}]}),
    ];
    let test = json!({
        "rule_files": ["promise.rules.yml"], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}],
    });
    fs::write(path.join("promise.test.yml"), test.to_string()).expect("written");
    for (program, args) in [("promtool", ["test", "rules"]), (WATCHKEEP, ["rules", "test"])] {
        let output = run(program, &[args[0], args[1], "promise.test.yml"], path);
        let why = [text(&output.stdout), text(&output.stderr)].concat();
        assert!(output.status.success(), "{program}: {why}");
    }
}

/// The samples of all scenarios in the exposition format of OpenMetrics: counters, once a minute from `begin` (in seconds) on.
fn openmetrics(begin: i64) -> String {
    let mut page = String::new();
    for family in ["all", "bad"] {
        let of = |segment: &(u32, u32, u32)| if family == "all" { segment.1 } else { segment.2 };
        page.push_str(&format!("# TYPE {family} counter\n"));
        for (number, (_, segments)) in SCENARIOS.iter().enumerate() {
            let (mut at, mut value) = (begin, 0);
            let mut line = |at: i64, value: u32| {
                page.push_str(&format!(
                    "{family}_total{{service=\"shop-{number}\"}} {value} {at}\n"
                ));
            };
            line(at, value);
            for segment in *segments {
                for _ in 0..segment.0 {
                    (at, value) = (at + 60, value + of(segment));
                    line(at, value);
                }
            }
        }
    }
    page + "# EOF\n"
}

/// Expressions of the alerts in a rule file, by the SLO that they are about and their name.
fn alerts(rules: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = rules.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            let expr = lines.next().and_then(|l| l.trim().strip_prefix("expr: ")).expect("expr");
            let expr = serde_json::from_str(expr).expect("a quoted expression");
            found.push((name.to_owned(), expr));
        }
    }
    found
}

/// A real server cannot be made to live through days in a test. So its database is filled with days of samples, promtool has
/// it evaluate the recording rules of the generated file over them as if it had lived through them, and the server, which
/// has all of that in its database, answers each minute whether the alert's expression holds.
#[tokio::test(flavor = "multi_thread")]
async fn burn_alerts_of_a_real_prometheus_fire_in_that_minute() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path();
    let documents: Vec<_> = (0..SCENARIOS.len())
        .map(|number| document(&format!("probes-{number}"), &format!("shop-{number}")))
        .collect();
    fs::write(path.join("shop.yaml"), documents.join("---\n")).expect("written");
    let rules = said(WATCHKEEP, &["slo", "rules", "--documents-only", "shop.yaml"], path);
    fs::write(path.join("burn.rules.yml"), &rules).expect("written");

    let longest: u32 = SCENARIOS
        .iter()
        .map(|(_, segments)| segments.iter().map(|segment| segment.0).sum::<u32>())
        .max()
        .expect("scenarios");
    let now = Utc::now().timestamp();
    let begin = now - now % 3_600 - (i64::from(longest) / 60 + 5) * 3_600;
    let end = begin + i64::from(longest + 2) * 60;
    fs::write(path.join("samples.om"), openmetrics(begin)).expect("written");
    let blocks = ["tsdb", "create-blocks-from", "openmetrics", "samples.om", "data"];
    said("promtool", &blocks, path);

    let server = Prometheus::over(path, "data");
    server.is_ready().await;
    let (url, from, to) =
        (format!("--url=http://{}", server.address()), begin.to_string(), end.to_string());
    let (from, to) = (format!("--start={from}"), format!("--end={to}"));
    let recorded = [
        "tsdb",
        "create-blocks-from",
        "rules",
        &from,
        &to,
        &url,
        "--output-dir=data",
        "burn.rules.yml",
    ];
    said("promtool", &recorded, path);
    // A server that starts anew has all blocks at once.
    drop(server);
    let server = Prometheus::over(path, "data");
    server.is_ready().await;

    for (number, (name, segments)) in SCENARIOS.iter().enumerate() {
        let slo = format!("slo=\"probes-{number}\"");
        // Each group has its second of the minute.
        let series = format!("timestamp(slo:sli_error:ratio_rate5m{{{slo}}})");
        let (at, step) = ((begin + 7_200).to_string(), "60");
        let found =
            server.get("query", &[("query", &series), ("time", &at)]).await.expect("recorded");
        let recorded =
            found["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
        let recorded = recorded.unwrap_or_else(|| panic!("{series} at {at}: {found}"));
        let offset = (recorded - begin as f64).rem_euclid(60.0);
        let minutes: u32 = segments.iter().map(|segment| segment.0).sum();
        let expected = published(segments, true, offset / 60.0, path);
        for (key, alert) in [("page", "SloBudgetBurnFast"), ("ticket", "SloBudgetBurnSlow")] {
            let all = alerts(&rules);
            let expr = all.iter().find(|(name, expr)| name == alert && expr.contains(&slo));
            let expr = &expr.expect("the alert").1;
            let (from, to) = (
                (begin as f64 + offset).to_string(),
                (begin as f64 + offset + f64::from(minutes) * 60.0).to_string(),
            );
            let query = [("query", expr.as_str()), ("start", &from), ("end", &to), ("step", step)];
            let answer = server.get("query_range", &query).await.expect("an answer");
            let points = answer["result"].as_array().into_iter().flatten();
            let points = points.flat_map(|row| row["values"].as_array().into_iter().flatten());
            let mut firing: Vec<_> = points
                .filter_map(|point| point[0].as_f64())
                .map(|at| ((at - begin as f64 - offset) / 60.0).round() as u64)
                .collect();
            firing.sort_unstable();
            firing.dedup();
            let fires = firing.first().copied();
            let ends = fires.and_then(|first| {
                let last = firing.iter().zip(first..).take_while(|(at, expected)| *at == expected);
                let end = last.last()?.1 + 1;
                (end <= u64::from(minutes)).then_some(end)
            });
            let found = json!({"fires": fires, "ends": ends});
            assert_eq!(found, expected[key], "{name}, {alert}, {offset} s behind the minute");
            println!("{name}: {alert}: {found}, evaluated {offset} s behind the minute");
        }
    }
}

/// Counters of a shop: a hundred more orders each time somebody looks, half of which fail from the tenth look on. Prometheus
/// finds its Alertmanagers after five seconds, and drops what fires before.
async fn failing_shop() -> String {
    static ORDERS: AtomicU64 = AtomicU64::new(0);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address").to_string();
    let page = || async {
        let all = ORDERS.fetch_add(100, Ordering::Relaxed);
        format!(
            "# TYPE all_total counter\nall_total{{service=\"shop\"}} {all}\n\
             # TYPE bad_total counter\nbad_total{{service=\"shop\"}} {}\n",
            all.saturating_sub(1_000) / 2
        )
    };
    let router = Router::new().route("/metrics", get(page));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serve") });
    address
}

/// A Prometheus evaluates our rules and delivers to us: its alert becomes a notification, and an incident for whoever is on
/// call. Nothing is shortened but the pause between two evaluations.
#[tokio::test(flavor = "multi_thread")]
async fn a_burn_alert_of_a_live_prometheus_reaches_whoever_is_on_call() {
    let receiver = Receiver::start().await;
    let alerting = json!({
        "alertmanager_config": "am.yml",
        "people": [{"name": "alice", "webhook": receiver.url("/alice")}],
        "schedules": [{"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05", "rotation": ["alice"]}],
        "pages": {"schedule": "primary"},
    });
    let cluster = Cluster::layout(1, &[("alerting", alerting)]);
    let configuration = format!(
        "route: {{receiver: duty, group_by: [alertname, slo], group_wait: 0s}}\n\
         receivers: [{{name: duty, oncall_configs: [{{}}], webhook_configs: [{{url: \"{}\"}}]}}]\n",
        receiver.url("/hook")
    );
    fs::write(cluster.nodes[0].dir.join("am.yml"), configuration).expect("written");
    let cluster = cluster.run().await;
    cluster.alerting_leader().await;
    let (node, path) = (&cluster.nodes[0], cluster.dir());
    fs::write(path.join("shop.yaml"), document("orders", "shop")).expect("written");
    let rules = said(WATCHKEEP, &["slo", "rules", "--documents-only", "shop.yaml"], path);
    let file = path.join("burn.rules.yml");
    fs::write(&file, rules.replace("interval: 1m", "interval: 1s")).expect("written");
    let job = format!(
        "static_configs: [{{targets: [\"{}\"]}}]\nrule_files: [{file:?}]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{}\"]}}]}}]}}",
        failing_shop().await,
        node.http
    );
    let _prometheus = Prometheus::with_job(path, &job);
    let within = Duration::from_secs(120);
    let burns = eventually("the burn alert is delivered", within, async || {
        let bodies = receiver.at("/hook").into_iter().map(|request| request.json());
        let mut burns =
            bodies.filter(|body| body["commonLabels"]["alertname"] == "SloBudgetBurnFast");
        burns.next().ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let labels = &burns["commonLabels"];
    assert_eq!(
        (&labels["slo"], &labels["service"], &labels["severity"]),
        (&json!("orders"), &json!("watchkeep"), &json!("critical")),
        "{burns}"
    );
    let summary = &burns["commonAnnotations"]["summary"];
    assert_eq!(summary, "orders spends its error budget too fast", "{burns}");
    let url = node.url("/v1/incidents");
    eventually("an incident of it", within, async || {
        let all = http::get(&url).await?;
        let mut known = all["incidents"].as_array().into_iter().flatten();
        let found = known.any(|i| i["title"] == *summary && i["on_call"] == "alice");
        ensure(found, || all.to_string())
    })
    .await;
    eventually("alice is called", within, async || {
        let mut calls = receiver.at("/alice").into_iter().map(|request| request.json());
        let found = calls.any(|body| body["commonAnnotations"]["summary"] == *summary);
        ensure(found, || "not yet".to_owned())
    })
    .await;
}
