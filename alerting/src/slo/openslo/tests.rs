//! Documents that are right, and every way to be wrong.

use std::collections::BTreeMap;

use super::*;
use crate::rule::Expressions;

const CHECKOUT: &str = include_str!("../../../../tests/data/openslo/checkout.yaml");

/// Takes anything but a lonely bracket.
struct Any;

impl Expressions for Any {
    fn check(&self, expr: &str) -> Result<(), String> {
        if expr == "(" { Err("it ends in the middle".to_owned()) } else { Ok(()) }
    }
}

fn judged(text: &str) -> Result<Vec<Slo>, Vec<String>> {
    let texts = BTreeMap::from([("slo.yaml".to_owned(), text.to_owned())]);
    read(&texts, &Any).map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
}

#[test]
fn documents_that_refer_to_each_other() {
    let slos = judged(CHECKOUT).unwrap();
    let names: Vec<_> = slos.iter().map(|slo| (slo.name.as_str(), slo.target)).collect();
    // 3 : 1 of 0.999 and 0.99.
    let journey = (3.0 * 0.999 + 0.99) / 4.0;
    assert_eq!(
        names,
        [
            ("checkout-availability", 0.999),
            ("checkout-journey", journey),
            ("checkout-latency", 0.99)
        ]
    );
    assert_eq!(slos[0].window, TimeWindow::Rolling(28 * 24));
    assert_eq!(slos[2].window, TimeWindow::Calendar("month", Tz::Europe__Berlin));
    assert_eq!(slos[2].method, Method::Timeslices { seconds: 300, target: 0.95 });
    let alert = &slos[2].alerts[0];
    assert_eq!(
        (alert.policy.as_str(), alert.targets.join(",")),
        ("page-the-owner", "OnCallMail".to_owned())
    );
    assert_eq!((alert.threshold, alert.lookback_seconds, alert.after_seconds), (10.0, 3_600, 300));
    assert_eq!(slos[1].indicators.len(), 2);
    assert_eq!(slos[0].key(), "openslo.checkout-availability");
    let rules = rules(&slos);
    for part in [
        "record: slo:sli_error:ratio_rate3d",
        "slo:slice_good:bool",
        "alert: SloNoData",
        "14.4 * 0.001",
    ] {
        assert!(rules.contains(part), "{part} is not in {rules}");
    }
}

/// A document that is right, with the value of one line replaced.
fn with(line: &str, instead: &str) -> String {
    assert!(SMALL.contains(line), "{line}");
    SMALL.replace(line, instead)
}

const SMALL: &str = "apiVersion: openslo/v1
kind: SLO
metadata:
  name: small
spec:
  service: web
  indicator:
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec:
              query: good_total
        total:
          metricSource:
            type: Prometheus
            spec:
              query: all_total
  timeWindow:
    - duration: 30d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.999
";

/// A document with two objectives.
fn two(name: &str) -> String {
    format!("{}    - targetPercent: 95\n", with("name: small", &format!("name: {name}")))
}

#[test]
fn several_objectives_of_one_document() {
    let found = judged(&two("small")).unwrap();
    let names: Vec<_> = found.iter().map(|slo| (slo.name.as_str(), slo.target)).collect();
    assert_eq!(names, [("small-1", 0.999), ("small-2", 0.95)]);
}

#[test]
fn every_mistake_is_named_with_its_line() {
    for (text, expected) in [
        (
            with("openslo/v1", "openslo/v2alpha"),
            "slo.yaml:1: apiVersion \"openslo/v2alpha\" is not read",
        ),
        (
            with("kind: SLO", "kind: Slow"),
            "slo.yaml:2: kind \"Slow\" is not known; known: Service, SLI",
        ),
        (
            with("name: small", "name: Small_one"),
            "slo.yaml:4: metadata.name \"Small_one\" is not a name",
        ),
        (with("  service: web", "  servant: web"), "unknown field `servant`"),
        (with("target: 0.999", "target: 1.0"), "slo.yaml:26: 1 leaves no budget"),
        (with("target: 0.999", "displayName: none"), "slo.yaml:26: has no target"),
        (with("target: 0.999", "target: 0.9\n      targetPercent: 90"), "exclude each other"),
        (with("Occurrences", "Slices"), "slo.yaml:24: budgetingMethod \"Slices\" is not known"),
        (with("Occurrences", "Timeslices"), "timeSliceWindow is missing"),
        (
            with("target: 0.999", "target: 0.9\n      timeSliceTarget: 0.5"),
            "of no use with Occurrences",
        ),
        (
            with("duration: 30d", "duration: 1M"),
            "slo.yaml:22: duration \"1M\" is not a rolling window",
        ),
        (with("isRolling: true", "isRolling: false"), "needs calendar"),
        (
            with("type: Prometheus", "type: Datadog"),
            "data source type \"Datadog\" is not supported",
        ),
        (
            with("type: Prometheus", "metricSourceRef: other"),
            "DataSource \"other\" is not defined; defined: none",
        ),
        (
            with("query: good_total", "query: ("),
            "slo.yaml:15: query \"(\" is not PromQL: it ends in the middle",
        ),
        (with("query: good_total", "queri: good_total"), "has no query"),
        (with("        good:", "        raw:"), "give one of these"),
        (
            with(
                "  objectives:\n",
                "  alertPolicies:\n    - alertPolicyRef: gone\n  objectives:\n",
            ),
            "AlertPolicy \"gone\" is not defined",
        ),
        (format!("{SMALL}---\n{SMALL}"), "slo.yaml:28: SLO \"small\" is there twice"),
        (
            with("duration: 30d", "duration: 90m"),
            "slo.yaml:22: duration \"90m\" is not a rolling window: give whole hours",
        ),
        (
            format!("{}---\n{}", two("small"), with("name: small", "name: small-2")),
            "slo.yaml:29: objective \"small-2\" is there twice, also from the SLO at slo.yaml:1",
        ),
        (
            with("target: 0.999", "target: 0.999\n      compositeWeight: 2"),
            "to objectives that have indicators of their own",
        ),
    ] {
        let wrong = judged(&text).expect_err(expected).join("\n");
        assert!(wrong.contains(expected), "{expected} is not in:\n{wrong}");
        assert!(wrong.starts_with("slo.yaml:"), "{wrong}");
    }
}

#[test]
fn documents_are_told_apart_as_yaml_does() {
    let other = with("name: small", "name: other");
    for text in [
        format!("{SMALL}---\n{other}"),
        format!("{SMALL}--- # the other one\n{other}"),
        format!("{SMALL}...\n---\n{other}...\n"),
        format!("--- \n{SMALL}---\t\n{other}---\n# nothing\n"),
        format!("\u{feff}{SMALL}\r\n---\r\n{}", other.replace('\n', "\r\n")),
    ] {
        let names: Vec<_> = judged(&text).unwrap().into_iter().map(|slo| slo.name).collect();
        assert_eq!(names, ["other", "small"], "{text}");
    }
    // What stands behind the mark is the document's first line.
    let text = format!("# both\n--- {{apiVersion: openslo/v1, kind: Slow}}\n---\n{SMALL}");
    let wrong = judged(&text).unwrap_err().join("\n");
    assert!(wrong.starts_with("slo.yaml:2: kind \"Slow\""), "{wrong}");
}

#[test]
fn a_composite_has_one_kind_of_slice() {
    let text = CHECKOUT.replacen("timeSliceWindow: 1m", "timeSliceWindow: 5m", 1);
    let wrong = judged(&text).unwrap_err().join("\n");
    assert!(wrong.contains("objectives of a composite have different timeSliceTarget"), "{wrong}");
}

#[test]
fn rules_that_prometheus_takes_as_they_are_meant() {
    let rules_of = |text: &str| rules(&judged(text).unwrap());
    // What looks like a template in labels is no template.
    let policy = "  alertPolicies:
    - kind: AlertPolicy
      metadata: {name: inline}
      spec:
        alertWhenBreaching: true
        conditions:
          - kind: AlertCondition
            spec:
              severity: 'sev {{ $1 }}'
              condition: {threshold: 2, lookbackWindow: 1h}
        notificationTargets:
          - targetRef: mail
  objectives:
";
    let target = "---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: mail}
spec: {target: email}
";
    let text = format!("{}{target}", with("  objectives:\n", policy));
    let found = rules_of(&text.replace("service: web", "service: '{{ web'"));
    assert!(found.contains("severity: \"sev { { $1 }}\""), "{found}");
    assert!(!found.lines().any(|l| l.contains("labels:") && l.contains("{{")), "{found}");

    // A comment in a query ends with its line.
    let found = rules_of(&with("query: good_total", "query: 'sum(good_total) # the good ones'"));
    assert!(found.contains(r"rate((sum(good_total) # the good ones\n)[5m:1m])"), "{found}");

    // Over less than a slice the last slice tells; a name of a group is another document's in no case.
    let sliced = with("Occurrences", "Timeslices").replace(
        "target: 0.999",
        "target: 0.999\n      timeSliceTarget: 0.95\n      timeSliceWindow: 15m",
    );
    let other = with("name: small", "name: small-slices");
    let found = rules_of(&format!("{sliced}---\n{other}"));
    assert!(found.contains(r#"avg_over_time(slo:slice_good:bool{slo=\"small\"}[15m])"#), "{found}");
    assert!(!found.contains(r#"slo=\"small\"}[5m])"#), "{found}");
    let groups: Vec<_> = found.lines().filter(|l| l.starts_with("  - name:")).collect();
    assert_eq!(
        groups,
        [
            "  - name: \"openslo-small.slices\"",
            "  - name: \"openslo-small\"",
            "  - name: \"openslo-small-slices\""
        ]
    );
}

#[test]
fn calendar_windows_begin_where_calendars_do() {
    let calendar = |start: &str, unit: &str| {
        let window = format!(
            "    - duration: {unit}\n      calendar:\n        startTime: {start}\n        timeZone: Asia/Tokyo\n"
        );
        judged(&with("    - duration: 30d\n      isRolling: true\n", &window))
    };
    for (start, unit, name) in [
        ("2026-01-01 00:00:00", "1M", "month"),
        ("2026-01-01 00:00:00", "1Q", "quarter"),
        ("2026-07-01 00:00:00", "1Q", "quarter"),
        ("2026-01-05 00:00:00", "1w", "week"),
        ("2026-01-05 00:00:00", "1d", "day"),
    ] {
        let found = calendar(start, unit).unwrap();
        assert_eq!(found[0].window, TimeWindow::Calendar(name, Tz::Asia__Tokyo));
    }
    for (start, unit, part) in [
        ("2026-01-15 00:00:00", "1M", "on the first"),
        ("2026-01-01 12:30:00", "1d", "begin at 00:00:00"),
        // Quarters of another year, and weeks that begin on a Sunday: ours would not be theirs.
        ("2026-02-01 00:00:00", "1Q", "a quarter on the first of January"),
        ("2026-01-04 00:00:00", "1w", "a week on a Monday"),
        ("2026-01-01 00:00:00", "1Y", "use 1d, 1w, 1M or 1Q"),
        ("soon", "1M", "is not a time"),
    ] {
        let wrong = calendar(start, unit).unwrap_err().join("\n");
        assert!(wrong.contains(part), "{wrong}");
    }
}
