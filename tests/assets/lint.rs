//! The rules of Grafana's dashboard-linter, one function each and by its names, applied to every dashboard. What it may
//! overlook stands in `dashboards/.lint`, in its own form.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use serde_json::Value;
use watchkeep_series::{Matcher, promql::Expr};

use super::{dashboards, panels, root, targets};

/// Panels of which the linter wants title, description, unit and queries.
const JUDGED: [&str; 7] =
    ["stat", "timeseries", "gauge", "bargauge", "table", "state-timeline", "heatmap"];
/// Units that Grafana knows, of those that we use.
const UNITS: [&str; 11] = [
    "none",
    "short",
    "percentunit",
    "s",
    "bytes",
    "Bps",
    "ops",
    "reqps",
    "bool_on_off",
    "bool_yes_no",
    "dateTimeAsIso",
];
/// In place of the variables, so that the parser reads a query and a matcher can be told from another.
const VALUES: [(&str, &str); 7] = [
    ("$__rate_interval", "97s"),
    ("$__range", "3600s"),
    ("$__interval", "15s"),
    ("$job", "THE-JOB"),
    ("$instance", "THE-INSTANCE"),
    ("$service", "THE-SERVICE"),
    ("${datasource}", "THE-SOURCE"),
];

/// What is wrong, and where.
struct Complaint {
    rule: &'static str,
    dashboard: String,
    panel: String,
    what: String,
}

#[derive(Deserialize)]
struct Excluded {
    reason: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    dashboard: String,
    panel: String,
}

#[derive(Deserialize)]
struct Exclusions {
    exclusions: BTreeMap<String, Excluded>,
}

#[test]
fn dashboards_are_clean_under_grafanas_linter() {
    let text = fs::read_to_string(root().join("dashboards/.lint")).expect("dashboards/.lint");
    let excluded: Exclusions = serde_saphyr::from_str(&text).expect("dashboards/.lint");
    let mut complaints: Vec<Complaint> = dashboards().values().flat_map(judge).collect();
    for (rule, excluded) in &excluded.exclusions {
        assert!(excluded.reason.len() > 10, "{rule}: why?");
        for entry in &excluded.entries {
            let before = complaints.len();
            complaints.retain(|found| {
                (found.rule, &found.dashboard, &found.panel)
                    != (rule.as_str(), &entry.dashboard, &entry.panel)
            });
            let (board, panel) = (&entry.dashboard, &entry.panel);
            assert!(complaints.len() < before, "{rule}: {board}, {panel}: nothing to exclude");
        }
    }
    let shown = |c: &Complaint| format!("{}: {}, {}: {}", c.rule, c.dashboard, c.panel, c.what);
    let shown: Vec<String> = complaints.iter().map(shown).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn the_linter_finds_what_is_wrong() {
    let mut board = dashboards().remove("overview").expect("overview");
    assert_eq!(judge(&board).len(), 0);
    board["editable"] = true.into();
    board["templating"]["list"][0]["name"] = "source".into();
    board["templating"]["list"][1]["multi"] = false.into();
    board["templating"]["list"][2]["refresh"] = 1.into();
    board["templating"]["list"][2]["label"] = "Node".into();
    let wrong = [
        ("sum(up{instance=~\"$instance\"})", "target-job-rule"),
        ("sum(up{job=~\"$job\",instance=\"$instance\"})", "target-instance-rule"),
        (
            "sum(rate(x_total{job=~\"$job\",instance=~\"$instance\"}[5m]))",
            "target-rate-interval-rule",
        ),
        ("sum(x_total{job=~\"$job\",instance=~\"$instance\"})", "target-counter-agg-rule"),
        ("sum(up{job=~\"$job\"", "target-promql-rule"),
    ];
    let list = board["panels"].as_array_mut().expect("panels");
    let mut panels = list.iter_mut().filter(|panel| panel["type"] == "stat");
    for (expr, _) in wrong {
        panels.next().expect("a panel")["targets"][0]["expr"] = expr.into();
    }
    let panel = panels.next().expect("a panel");
    panel["datasource"]["uid"] = "prometheus".into();
    panel["description"] = "".into();
    panel["fieldConfig"]["defaults"]["unit"] = "seconds".into();
    let panel = panels.next().expect("a panel");
    panel["targets"] = Value::Array(Vec::new());
    let mut found: Vec<&str> = judge(&board).iter().map(|complaint| complaint.rule).collect();
    found.sort_unstable();
    found.dedup();
    let mut expected: Vec<&str> = wrong.iter().map(|(_, rule)| *rule).collect();
    expected.extend([
        "panel-datasource-rule",
        "panel-no-targets-rule",
        "panel-title-description-rule",
        "panel-units-rule",
        "template-datasource-rule",
        "template-instance-rule",
        "template-job-rule",
        "template-on-time-change-reload-rule",
        "uneditable-dashboard",
    ]);
    expected.sort_unstable();
    assert_eq!(found, expected);
}

fn judge(board: &Value) -> Vec<Complaint> {
    let dashboard = board["title"].as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    let mut say = |rule, panel: &str, what: String| {
        let (dashboard, panel) = (dashboard.clone(), panel.to_owned());
        found.push(Complaint { rule, dashboard, panel, what });
    };
    if board["editable"] != false {
        say("uneditable-dashboard", "", "editable is not false".to_owned());
    }
    for (rule, what) in templates(board) {
        say(rule, "", what);
    }
    for panel in panels(board) {
        let title = panel["title"].as_str().unwrap_or_default();
        if !JUDGED.contains(&panel["type"].as_str().unwrap_or_default()) {
            continue;
        }
        for (rule, what) in of_panel(panel) {
            say(rule, title, what);
        }
        for target in targets(panel) {
            let expr = target["expr"].as_str().unwrap_or_default();
            for rule in of_query(expr) {
                say(rule, title, expr.to_owned());
            }
        }
    }
    found
}

/// `template-*`: a data source, a job and an instance to choose, read again when the time shown changes.
fn templates(board: &Value) -> Vec<(&'static str, String)> {
    let list: Vec<&Value> = board["templating"]["list"].as_array().into_iter().flatten().collect();
    let mut found = Vec::new();
    let sources: Vec<&Value> = list.iter().copied().filter(|v| v["type"] == "datasource").collect();
    let is_right = |v: &Value| {
        v["query"] == "prometheus"
            && ["datasource", "prometheus_datasource"].iter().any(|name| v["name"] == *name)
            && ["Data source", "Prometheus data source"].iter().any(|label| v["label"] == *label)
    };
    if sources.len() != 1 || !is_right(sources[0]) {
        found.push(("template-datasource-rule", format!("{sources:?}")));
    }
    for (rule, name, label) in
        [("template-job-rule", "job", "Job"), ("template-instance-rule", "instance", "Instance")]
    {
        let right = list.iter().any(|v| {
            v["name"] == name
                && v["label"] == label
                && v["type"] == "query"
                && v["datasource"]["uid"] == "${datasource}"
                && v["multi"] == true
                && v["allValue"] == ".+"
        });
        if !right {
            found.push((rule, format!("no variable {name} as it should be")));
        }
    }
    for variable in list.iter().filter(|v| v["type"] == "query") {
        let query = variable["query"]["query"].as_str().unwrap_or_default();
        let inner = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
        let selector = inner.and_then(|q| q.rsplit_once(',')).map(|(selector, _)| selector);
        if selector.is_none_or(|selector| Expr::parse(&filled(selector)).is_err()) {
            found.push(("template-label-promql-rule", query.to_owned()));
        }
        if variable["refresh"] != 2 {
            found.push(("template-on-time-change-reload-rule", variable["name"].to_string()));
        }
    }
    found
}

/// `panel-*`.
fn of_panel(panel: &Value) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let sources = targets(panel).chain([panel]).map(|one| &one["datasource"]["uid"]);
    if sources.into_iter().any(|uid| uid != "${datasource}") {
        found.push(("panel-datasource-rule", text(&panel["datasource"]["uid"])));
    }
    if text(&panel["title"]).is_empty() || text(&panel["description"]).is_empty() {
        found.push(("panel-title-description-rule", text(&panel["description"])));
    }
    let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
    if !UNITS.contains(&unit.as_str()) {
        found.push(("panel-units-rule", unit));
    }
    if targets(panel).next().is_none() {
        found.push(("panel-no-targets-rule", String::new()));
    }
    found
}

/// `target-*`.
fn of_query(query: &str) -> Vec<&'static str> {
    let filled = filled(query);
    let Ok(expr) = Expr::parse(&filled) else { return vec!["target-promql-rule"] };
    let mut found = Vec::new();
    for (rule, label, value) in [
        ("target-job-rule", "job", "THE-JOB"),
        ("target-instance-rule", "instance", "THE-INSTANCE"),
    ] {
        let has = |matchers: &&[Matcher]| {
            matchers.iter().any(|matcher| {
                matches!(matcher, Matcher::Regex(name, pattern)
                    if name == label && pattern.is_match(value) && !pattern.is_match("another"))
            })
        };
        if !expr.selectors().iter().all(has) {
            found.push(rule);
        }
    }
    let rates = ["rate(", "irate("].iter().flat_map(|call| query.match_indices(call));
    for (at, call) in rates {
        let range =
            query[at + call.len()..].split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        if range.is_none_or(|(range, _)| range != "$__rate_interval") {
            found.push("target-rate-interval-rule");
        }
    }
    if counters(query).any(|before| !["rate(", "increase("].iter().any(|c| before.ends_with(c))) {
        found.push("target-counter-agg-rule");
    }
    found.dedup();
    found
}

/// What stands before each counter, a metric whose name ends with `_total`.
fn counters(query: &str) -> impl Iterator<Item = &str> {
    query.match_indices("_total{").map(|(at, _)| {
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        query[..at].trim_end_matches(name)
    })
}

fn filled(query: &str) -> String {
    VALUES.iter().fold(query.to_owned(), |text, (name, value)| text.replace(name, value))
}
