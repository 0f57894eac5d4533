//! Ninety days through the engine, hour by hour as a leader lives them, against an independent calculation in Python
//! from the raw samples: `tests/slo/reference.py`.

use std::{fmt::Write, process::Command, sync::Arc};

use futures::future::BoxFuture;
use prometheus::Registry;
use serde_json::{Value, json};
use watchkeep_catalog::{Client, KeyValue, Maintenance, client::Change, keys};

use super::{
    Slo, SloConfig,
    latency::Latency,
    probes::tests::series,
    range::{Range, Wish},
    time::{DAY_MS, HOUR_MS, MINUTE_MS},
    world::Topic,
};
use crate::source::{SeriesData, Source, SourceError};

/// 2026-02-15 00:00 UTC. Berlin's clocks go forward on 29 March.
const START: i64 = 1_771_113_600_000;
const NOW: i64 = START + 90 * DAY_MS + 7 * MINUTE_MS + 3_210;
const DST: i64 = START + 42 * DAY_MS + HOUR_MS;

/// A probe each ten seconds or so. What is broken, slow or silent when is known.
#[derive(Clone)]
struct History {
    faults: Vec<(i64, i64)>,
    silences: Vec<(i64, i64)>,
}

impl History {
    fn new() -> Self {
        let minute = MINUTE_MS;
        let mut faults = vec![
            // Across the change of the clocks, a midnight in UTC, a month in Berlin, both ends of maintenance windows.
            (DST - 5 * minute, DST + 95 * minute),
            (START + 10 * DAY_MS - 90_000, START + 10 * DAY_MS + 45_000),
            (START + 45 * DAY_MS - 2 * HOUR_MS - 20 * minute, START + 45 * DAY_MS - HOUR_MS),
            (START + 30 * DAY_MS + 11 * HOUR_MS, START + 30 * DAY_MS + 13 * HOUR_MS),
            // The last one goes on.
            (NOW - 3 * minute, NOW + minute),
        ];
        // And one every other day, from three seconds to more than an hour.
        faults.extend((1..44).map(|n: i64| {
            let from = START + n * 2 * DAY_MS + (n * 7_919 % 1_440) * minute + n * 37;
            (from, from + 3_000 + n * n * 2_500)
        }));
        let silences = vec![
            (START + 20 * DAY_MS, START + 20 * DAY_MS + 3 * HOUR_MS),
            // It falls silent while it is down, and stays down until it is heard again.
            (START + 30 * DAY_MS + 12 * HOUR_MS, START + 30 * DAY_MS + 12 * HOUR_MS + 40 * minute),
        ];
        Self { faults, silences }
    }

    /// When the `n`th probe is made, and what it says; nothing where there is none.
    fn probe(&self, n: i64) -> Option<(i64, bool, f64)> {
        let at = START + n * 10_000 + n * 7_919 % 900;
        let within =
            |spans: &[(i64, i64)]| spans.iter().any(|(from, to)| (*from..*to).contains(&at));
        if at < START || within(&self.silences) {
            return None;
        }
        let took = 0.004 + (n * 2_654_435_761 % 1_000) as f64 * 0.000_02;
        let took = if n % 9_001 < 2 { took + 0.25 } else { took };
        Some((at, !within(&self.faults), took))
    }

    fn probes(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, bool, f64)> + '_ {
        let first = (from - START) / 10_000 - 1;
        let last = (to - START) / 10_000 + 1;
        (first..=last)
            .filter_map(|n| self.probe(n))
            .filter(move |(at, ..)| (from..=to).contains(at))
    }
}

impl Source for History {
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from: i64,
        to: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        let success = selector.starts_with("probe_success");
        let value = |(at, good, took): (i64, bool, f64)| match success {
            true => (at, f64::from(u8::from(good))),
            false => (at, took),
        };
        let samples: Vec<_> = self.probes(from, to).map(value).collect();
        Box::pin(async move { Ok(vec![series("web-1", &samples)]) })
    }
}

fn maintenance() -> Vec<Maintenance> {
    // Sunday 02:30 in Berlin, which 29 March does not have; and once, over the second half of a fault.
    let once = START + 30 * DAY_MS + 12 * HOUR_MS + 50 * MINUTE_MS;
    let time = |ms| super::time::rfc3339(ms);
    serde_json::from_value(json!([
        {"id": "weekly", "scope": {"service": "web"}, "schedule": "30 2 * * sun", "duration_seconds": 5_400,
         "time_zone": "Europe/Berlin"},
        {"id": "once", "scope": {"instance": "web-1"}, "from": time(once), "to": time(once + HOUR_MS),
         "comment": "new disks"},
    ]))
    .unwrap()
}

fn engine(history: &History) -> Slo {
    let client = Client::new(&["http://127.0.0.1:9".to_owned()]).unwrap();
    let source = Arc::new(history.clone());
    let slo = Slo::new(SloConfig::default(), client, source, &Registry::new()).unwrap();
    let slo = slo.with_maintenance(&maintenance());
    for topic in Topic::ALL {
        slo.engine.world().apply(topic, Change::Reset(Vec::new(), 1), 0);
    }
    let record = json!({"service": "web", "id": "web-1", "address": "127.0.0.1", "port": 80});
    let kv = KeyValue {
        key: keys::instance("web", "web-1"),
        value: record.to_string().into(),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
        lease: 0,
    };
    slo.engine.world().apply(Topic::Instances, Change::Put(kv), 0);
    slo
}

#[tokio::test]
async fn ninety_days_equal_an_independent_calculation() {
    let history = History::new();
    let slo = engine(&history);
    let mut revision = 1;
    let mut now = START + 17 * MINUTE_MS;
    while now < NOW {
        let since = (now >= START + HOUR_MS).then_some(now);
        for record in slo.engine.records("web", now, since).await.unwrap().0 {
            revision += 1;
            // As the registry has it: written and read.
            let text = serde_json::to_string(&record).unwrap();
            slo.engine.world().wrote(serde_json::from_str(&text).unwrap(), revision);
        }
        now += HOUR_MS;
    }

    let asked = [
        (Some("90d"), None, None, "UTC"),
        (Some("30d"), None, None, "Europe/Berlin"),
        (Some("24h"), None, None, "UTC"),
        (Some("last_month"), None, None, "Europe/Berlin"),
        (None, Some("2026-03-29"), Some("2026-03-30"), "Europe/Berlin"),
        (None, Some("2026-03-17T11:00:00Z"), Some("2026-03-17T14:00:00Z"), "UTC"),
        (Some("quarter"), None, None, "America/New_York"),
    ];
    let (mut found, mut ranges) = (Vec::new(), Vec::new());
    for (window, from, to, zone) in asked {
        let tz = zone.parse().unwrap();
        let range = Range::of(Wish { window, from, to }, tz, NOW, 100).unwrap();
        found.push(slo.engine.detail("web", &range, tz, NOW).await.unwrap());
        let whole_days = range.from < NOW - 25 * HOUR_MS;
        ranges.push(
            json!({"from": range.from, "to": range.to, "zone": zone, "whole_days": whole_days}),
        );
    }
    let once = START + 30 * DAY_MS + 12 * HOUR_MS + 50 * MINUTE_MS;
    let question = json!({
        "now": NOW, "objective": 0.9999, "latency_seconds": 0.1, "ranges": ranges,
        "maintenance": [
            {"weekday": 6, "hour": 2, "minute": 30, "seconds": 5_400, "zone": "Europe/Berlin"},
            {"from": once, "to": once + HOUR_MS},
        ],
    });
    let expected = ask(&question, &history);

    for ((detail, expected), asked) in found.iter().zip(&expected).zip(asked) {
        let number = |name: &str| expected[name].as_f64().unwrap();
        let count = |name: &str| expected[name].as_u64().unwrap();
        let probes = detail.probes;
        assert_eq!(
            (probes.total, probes.good, probes.fast, probes.excluded),
            (count("total"), count("good"), count("fast"), count("excluded")),
            "{asked:?}"
        );
        assert_eq!(detail.downtime.count as u64, count("downtimes"), "{asked:?}");
        for (what, ours) in [
            ("downtime_seconds", detail.downtime.seconds),
            ("maintenance_seconds", detail.maintenance.seconds),
            ("budget_total_seconds", detail.availability.budget.budget_total_seconds),
            ("budget_left_seconds", detail.availability.budget.budget_left_seconds),
        ] {
            assert!(
                (ours - number(what)).abs() < 0.001,
                "{asked:?} {what}: {ours} {}",
                number(what)
            );
        }
        let times = &detail.percentiles;
        assert_eq!(times.probes, count("timed"), "{asked:?}");
        for (what, ours) in [
            ("p50", times.p50_seconds),
            ("p90", times.p90_seconds),
            ("p99", times.p99_seconds),
            ("p999", times.p999_seconds),
        ] {
            let (ours, exact) = (ours.unwrap(), number(what));
            assert!(
                (ours / exact - 1.0).abs() <= Latency::ERROR,
                "{asked:?} {what}: {ours} {exact}"
            );
        }
        let months = expected["months"].as_array().unwrap();
        assert_eq!(detail.months.len(), months.len(), "{asked:?}");
        for (ours, theirs) in detail.months.iter().zip(months) {
            let same = |name: &str| theirs[name].as_f64().unwrap();
            assert_eq!(Value::from(ours.name.as_str()), theirs["name"], "{asked:?}");
            assert_eq!(ours.probes.total as f64, same("total"), "{asked:?} {}", ours.name);
            assert_eq!(ours.probes.good as f64, same("good"), "{asked:?} {}", ours.name);
            assert!(
                (ours.downtime_seconds - same("downtime_seconds")).abs() < 0.001,
                "{}",
                ours.name
            );
            let away = ours.maintenance_seconds - same("maintenance_seconds");
            assert!(away.abs() < 0.001, "{asked:?} {}", ours.name);
        }
    }
    assert!(found[0].downtimes[0].ongoing, "the last fault goes on");
    let reasons: Vec<_> =
        found[5].maintenance.spans.iter().filter_map(|s| s.cause.reason.as_deref()).collect();
    assert_eq!(reasons, ["once: new disks"]);
}

/// The other one's answers.
fn ask(question: &Value, history: &History) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let (file, samples) = (folder.path().join("question.json"), folder.path().join("samples.csv"));
    std::fs::write(&file, question.to_string()).unwrap();
    let mut text = String::new();
    for (at, good, took) in history.probes(START, NOW - 1) {
        writeln!(text, "{at},{},{took}", u8::from(good)).unwrap();
    }
    std::fs::write(&samples, text).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/slo/reference.py");
    let answer = Command::new("python3").arg(script).args([&file, &samples]).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice(&answer.stdout).unwrap()
}
