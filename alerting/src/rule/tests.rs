//! Rules from end to end without a clock: files judged, alerts aged, series recorded and ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::template::Site;

/// Takes everything that has no `!`.
struct Lenient;

impl Expressions for Lenient {
    fn check(&self, expr: &str) -> Result<(), String> {
        match expr.contains('!') {
            true => Err("unexpected \"!\"".to_owned()),
            false => Ok(()),
        }
    }
}

fn read(text: &str) -> Result<Vec<Group>, Vec<String>> {
    parse_file("r.yml", text, Duration::from_mins(1), &Lenient)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

const WHOLE: &str = r#"
groups:
  - name: g
    interval: 30s
    query_offset: 10s
    limit: 3
    labels: {team: core, level: 1}
    rules:
      - record: job:up:sum
        expr: sum(up)
      - alert: Down
        expr: |
          up == 0
        for: 1m
        keep_firing_for: 90s
        labels: {severity: page, team: "{{ $labels.team }}"}
        annotations:
          summary: "{{ $labels.instance }} is {{ $value }}"
"#;

#[test]
fn the_whole_format() {
    let groups = read(WHOLE).unwrap();
    let group = &groups[0];
    assert_eq!((group.name.as_str(), group.limit), ("g", 3));
    assert_eq!(group.interval, Duration::from_secs(30));
    assert_eq!(group.query_offset, Some(Duration::from_secs(10)));
    let [record, down] = &group.rules[..] else { panic!("two rules") };
    assert_eq!((record.name(), record.line, down.line), ("job:up:sum", 9, 11));
    let labels: Vec<_> = down.labels.iter().map(|(n, t)| (n.as_str(), t.raw.as_str())).collect();
    assert_eq!(labels, [("level", "1"), ("severity", "page"), ("team", "{{ $labels.team }}")]);
    let RuleKind::Alert(alert) = &down.kind else { panic!("an alert") };
    assert_eq!((alert.hold, alert.keep_firing), (Duration::from_mins(1), Duration::from_secs(90)));
    for nothing in ["", "groups:\n", "groups: []", "# only words\n", "---\n"] {
        assert!(read(nothing).unwrap().is_empty(), "{nothing:?}");
    }
}

#[test]
fn problems_have_lines() {
    for (text, expected) in [
        (
            "groups:\n- name: g\n  rulez: []\n",
            "r.yml:3: unknown field `rulez`; known: name, interval, query_offset, limit, labels, rules",
        ),
        ("groups:\n- interval: 1m\n", "r.yml:2: missing field `name`"),
        ("groups: [\n", "r.yml:1: "),
        (
            "groups:\n- name: g\n  interval: soon\n",
            "r.yml:3: interval: \"soon\" is not a duration; write it as 1h30m, 5m, 15s or 250ms",
        ),
        ("groups:\n- name: g\n- name: g\n", "r.yml:3: group \"g\" is there twice; rename one"),
        (
            "groups:\n- name: g\n  rules:\n  - record: a\n",
            "r.yml:4: a rule has no expr; give it one",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - record: a\n    expr: '!'\n",
            "r.yml:5: expr: unexpected \"!\"",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - expr: a\n",
            "r.yml:4: a rule has neither record nor alert; give it one",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - expr: a\n    alert: b\n    record: c\n",
            "r.yml:6: a rule has either record or alert; split it in two",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - record: a{b=\"c\"}\n    expr: a\n",
            "r.yml:4: record: \"a{b=\\\"c\\\"}\" has braces; labels belong under labels",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - record: a\n    expr: a\n    for: 1m\n",
            "r.yml:6: for means nothing in a recording rule; remove it",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - record: a\n    expr: a\n    annotations: {x: y}\n",
            "r.yml:6: annotations mean nothing in a recording rule; remove them",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: a\n    expr: a\n    labels: {__name__: y}\n",
            "r.yml:6: label __name__ is what record or alert says; remove it",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: a\n    expr: a\n    annotations:\n      x: '{{ $labls.x }}'\n",
            "r.yml:7: annotation x: template a/x:1: variable $labls is not defined",
        ),
        ("groups:\n- name: g\n  limit: -1\n", "r.yml:3: limit: give 0 (none) or more"),
    ] {
        let problems = read(text).expect_err(text);
        assert!(problems[0].starts_with(expected), "{text}: {problems:?}");
    }
}

/// Answers each expression with what was put there last.
#[derive(Default)]
struct Table(Mutex<BTreeMap<String, Vec<Answered>>>);

impl Table {
    fn set(&self, expr: &str, rows: &[(&[(&str, &str)], f64)]) {
        let rows = rows.iter().map(|(labels, value)| Answered {
            labels: labels.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
            value: Measure::Float(*value),
        });
        self.0.lock().unwrap().insert(expr.to_owned(), rows.collect());
    }
}

impl Ask for Table {
    fn instant(&self, expr: &str, _: i64) -> Result<Vec<Answered>, String> {
        self.0.lock().unwrap().get(expr).cloned().ok_or_else(|| format!("{expr} is unknown"))
    }
}

/// Keeps what is written, as lines.
#[derive(Default)]
struct Written(Mutex<Vec<String>>);

impl Written {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Sink for Written {
    fn write(&self, samples: Vec<Sample>) -> Result<(), String> {
        let lines = samples.iter().map(|sample| {
            let labels: Vec<_> = sample.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let value = match sample.value.float() {
                Some(value) if value.to_bits() == STALE_NAN_BITS => "stale".to_owned(),
                value => value.unwrap().to_string(),
            };
            format!("{} {value} @{}", labels.join(","), sample.timestamp_ms)
        });
        self.0.lock().unwrap().extend(lines);
        Ok(())
    }
}

fn world(text: &str) -> (Group, GroupState, Arc<Table>, Environment) {
    let group = read(text).unwrap().remove(0);
    let table = Arc::new(Table::default());
    let environment = Environment {
        ask: Arc::<Table>::clone(&table),
        external_labels: Labels::new(),
        site: Site::default(),
        query_offset: Duration::ZERO,
    };
    let state = GroupState::new(&group);
    (group, state, table, environment)
}

fn states(state: &GroupState) -> Vec<String> {
    let active = state.rules.iter().flat_map(|rule| &rule.active);
    active
        .map(|(l, a)| format!("{} {} since {}", l["instance"], a.state.as_str(), a.active_at_ms))
        .collect()
}

#[test]
fn an_alert_is_pending_fires_is_kept_and_ends() {
    let text =
        "groups: [{name: g, rules: [{alert: Down, expr: down, for: 1m, keep_firing_for: 90s}]}]";
    let (group, mut state, table, environment) = world(text);
    let written = Written::default();
    let row: (&[(&str, &str)], f64) = (&[("__name__", "up"), ("instance", "a")], 1.0);
    for (second, there, expected, resolved) in [
        (0, true, vec!["a pending since 0"], 0),
        (30, true, vec!["a pending since 0"], 0),
        (45, false, vec![], 0),
        (60, true, vec!["a pending since 60000"], 0),
        (120, true, vec!["a firing since 60000"], 0),
        (150, false, vec!["a firing since 60000"], 0),
        (200, true, vec!["a firing since 60000"], 0),
        (210, false, vec!["a firing since 60000"], 0),
        (299, false, vec!["a firing since 60000"], 0),
        (300, false, vec![], 1),
    ] {
        table.set("down", if there { std::slice::from_ref(&row) } else { &[] });
        let ended = evaluate(&group, 0, &mut state, second * 1000, &environment, &written);
        assert_eq!(
            (states(&state), ended.len()),
            (expected.iter().map(ToString::to_string).collect(), resolved),
            "{second}"
        );
    }
    let lines = written.take();
    assert_eq!(lines[0], "__name__=ALERTS,alertname=Down,alertstate=pending,instance=a 1 @0");
    assert_eq!(lines[1], "__name__=ALERTS_FOR_STATE,alertname=Down,instance=a 0 @0");
    assert!(lines.contains(
        &"__name__=ALERTS,alertname=Down,alertstate=pending,instance=a stale @120000".to_owned()
    ));
    assert_eq!(
        lines[lines.len() - 2],
        "__name__=ALERTS,alertname=Down,alertstate=firing,instance=a stale @300000"
    );
}

#[test]
fn recorded_series_end_and_limits_hold() {
    let text = "groups: [{name: g, limit: 2, query_offset: 10s, rules: [{record: r, expr: x, labels: {l: v, gone: ''}}]}]";
    let (group, mut state, table, environment) = world(text);
    let written = Written::default();
    table.set("x", &[(&[("a", "1"), ("gone", "y")], 1.5), (&[("a", "2")], 2.0)]);
    evaluate(&group, 0, &mut state, 60_000, &environment, &written);
    assert_eq!(written.take(), ["__name__=r,a=1,l=v 1.5 @50000", "__name__=r,a=2,l=v 2 @50000"]);
    table.set("x", &[(&[("a", "2")], 3.0)]);
    evaluate(&group, 0, &mut state, 120_000, &environment, &written);
    assert_eq!(
        written.take(),
        ["__name__=r,a=2,l=v 3 @110000", "__name__=r,a=1,l=v stale @110000"]
    );
    for (rows, error) in [
        (vec![vec![("a", "1")], vec![("a", "2")], vec![("a", "3")]], "3 series are more than"),
        (vec![vec![("a", "1")], vec![("a", "1"), ("l", "w")]], "two rows of the answer"),
    ] {
        let rows: Vec<(&[(&str, &str)], f64)> = rows.iter().map(|r| (r.as_slice(), 1.0)).collect();
        table.set("x", &rows);
        evaluate(&group, 0, &mut state, 180_000, &environment, &written);
        assert_eq!((state.rules[0].health, written.take().len()), (Health::Err, 0));
        assert!(state.rules[0].last_error.as_deref().unwrap().starts_with(error));
    }
    assert_eq!(state.end(200_000).len(), 1);
}

#[test]
fn templates_see_labels_value_and_queries() {
    let text = r#"
groups:
- name: g
  rules:
  - alert: A
    expr: x
    labels: {level: "{{ if gt $value 5.0 }}high{{ else }}low{{ end }}", l: "{{ $labels.none }}"}
    annotations:
      a: "{{ $labels.instance }} {{ .Value | humanize }} {{ with query \"y\" }}{{ . | first | value }}{{ end }} {{ $labels.__name__ }}"
      b: "{{ query \"unknown\" }}"
"#;
    let (group, mut state, table, environment) = world(text);
    table.set("x", &[(&[("__name__", "m"), ("instance", "i")], 1500.0)]);
    table.set("y", &[(&[], 7.0)]);
    evaluate(&group, 0, &mut state, 0, &environment, &Written::default());
    let (labels, alert) = state.rules[0].active.first_key_value().unwrap();
    let labels: Vec<_> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(labels, ["alertname=A", "instance=i", "level=high"]);
    assert_eq!(alert.annotations["a"], "i 1.5k 7 m");
    assert_eq!(
        alert.annotations["b"],
        "<error expanding template: template A/b:1: query \"unknown\": unknown is unknown>"
    );
}

#[test]
fn too_many_alerts_end_all_of_them() {
    let text = "groups: [{name: g, limit: 1, rules: [{alert: A, expr: x}]}]";
    let (group, mut state, table, environment) = world(text);
    table.set("x", &[(&[("instance", "a")], 1.0)]);
    evaluate(&group, 0, &mut state, 0, &environment, &Written::default());
    table.set("x", &[(&[("instance", "a")], 1.0), (&[("instance", "b")], 1.0)]);
    let ended = evaluate(&group, 0, &mut state, 1, &environment, &Written::default());
    assert_eq!((ended.len(), states(&state).len()), (1, 0));
    assert_eq!(
        state.rules[0].last_error.as_deref(),
        Some("2 alerts are more than the group's limit of 1")
    );
}

#[test]
fn ids_follow_what_a_rule_is_not_where_it_stands() {
    let ids = |text: &str| {
        let group = read(text).unwrap().remove(0);
        (0..group.rules.len()).map(|at| rule_id(&group, at)).collect::<Vec<_>>()
    };
    let before = ids(
        "groups: [{name: g, rules: [{alert: A, expr: x}, {alert: B, expr: y, labels: {a: b}}, {alert: B, expr: z, labels: {a: b}}]}]",
    );
    let after = ids(
        "groups: [{name: g, rules: [{alert: B, expr: y2, for: 1m, labels: {a: b}}, {alert: A, expr: x}]}]",
    );
    assert_eq!((&after[0], &after[1]), (&before[1], &before[0]));
    assert_ne!(before[1], before[2]);
}

proptest! {
    #[test]
    fn no_file_panics(text in "(groups|name|rules|record|alert|expr|for|labels|annotations|interval|limit|: |:\\n|\n  - |\n    |\\[|\\]|\\{|\\}|, |\"|'|\\||&a|\\*a|<<|1m|a|\\{\\{|\\}\\}|\\PC){0,40}") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_panics(name in "\\PC{0,8}", expr in "\\PC{0,8}", hold in "[0-9ywdhms.-]{0,6}", label in "\\PC{0,8}", text in "(\\{\\{|\\}\\}|\\$value|\\PC){0,8}") {
        let file = serde_json::json!({"groups": [{"name": name, "interval": hold, "rules": [
            {"alert": name, "expr": expr, "for": hold, "keep_firing_for": hold, "labels": {label.clone(): text}, "annotations": {label: text}},
        ]}]});
        let _ = read(&file.to_string());
    }
}
