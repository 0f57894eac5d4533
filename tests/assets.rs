//! Dashboards, alerts and runbooks hold together: whatever one of them names exists in the other, or in the code.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

#[path = "assets/lint.rs"]
mod lint;

/// Raised by Watchkeep itself, in `alerting/`.
const OWN_ALERTS: [&str; 4] =
    ["InstanceCritical", "ServicePanic", "HeartbeatMissed", "IncidentReported"];
/// Declared by crate `prometheus` for the process it runs in.
const PROCESS_METRICS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];
/// What Prometheus adds to a histogram's name.
const HISTOGRAM_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Prefixes of metric names; nothing else in a query begins so.
const PREFIXES: [&str; 7] =
    ["watchkeep_", "etcd_", "grpc_server_", "probe_", "process_", "prometheus_", "alertmanager_"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files under `folder` with this extension, by name without it.
fn files(folder: &str, extension: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(root().join(folder)).expect(folder);
    let paths = entries.map(|entry| entry.expect(folder).path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("readable"))
        })
        .collect()
}

/// Every line of Rust that is ours and no test's.
fn sources() -> String {
    fn add(folder: PathBuf, all: &mut String) {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                add(path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push_str(&fs::read_to_string(&path).expect("readable"));
            }
        }
    }
    let mut all = String::new();
    for folder in ["src", "registry/src", "collector/src", "collector/series/src", "alerting/src"] {
        add(root().join(folder), &mut all);
    }
    all
}

fn rules() -> String {
    fs::read_to_string(root().join("alerting/rules/watchkeep.yml")).expect("rules")
}

/// The alerts that ship, with the lines of each.
fn alerts() -> BTreeMap<String, String> {
    let rules = rules();
    let parts = rules.split("- alert: ").skip(1);
    parts
        .map(|part| {
            let name = part.lines().next().expect("a name").trim().to_owned();
            (name, part.to_owned())
        })
        .collect()
}

fn dashboards() -> BTreeMap<String, Value> {
    let parse = |(name, text): (String, String)| {
        let board = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}.json: {e}"));
        (name, board)
    };
    files("dashboards", "json").into_iter().map(parse).collect()
}

/// All panels, those inside of rows included.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let list = dashboard["panels"].as_array().into_iter().flatten();
    list.flat_map(|panel| std::iter::once(panel).chain(panels(panel))).collect()
}

fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().into_iter().flatten()
}

/// The metric names in a piece of PromQL.
fn metrics(promql: &str) -> BTreeSet<String> {
    let words = promql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_metric = |word: &&str| PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    words.filter(is_metric).map(str::to_owned).collect()
}

/// What stands in the code between two quotation marks, and between one and a brace.
struct Quoted<'a> {
    whole: HashSet<&'a str>,
    begun: HashSet<&'a str>,
}

impl<'a> Quoted<'a> {
    fn new(sources: &'a str) -> Self {
        let parts: Vec<_> = sources.split('"').skip(1).collect();
        let begun = parts.iter().filter_map(|part| Some(part.split_once('{')?.0)).collect();
        Self { whole: parts.into_iter().collect(), begun }
    }
}

/// Whether the code declares the metric: by its name, or by a room's prefix and the rest of the name.
fn is_declared(metric: &str, quoted: &Quoted<'_>) -> bool {
    let has = |name: &str| {
        quoted.whole.contains(name)
            || name.match_indices('_').any(|(at, _)| {
                let (prefix, rest) = name.split_at(at + 1);
                quoted.begun.contains(prefix) && quoted.whole.contains(rest)
            })
    };
    let stripped = HISTOGRAM_SUFFIXES.iter().filter_map(|suffix| metric.strip_suffix(suffix));
    PROCESS_METRICS.contains(&metric) || has(metric) || stripped.into_iter().any(has)
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let shipped = alerts();
    let own = OWN_ALERTS.map(str::to_owned);
    let alerts: BTreeSet<String> = shipped.keys().cloned().chain(own).collect();
    let runbooks = files("runbooks", "md");
    assert_eq!(alerts, runbooks.keys().cloned().collect(), "alerts and runbooks");
    let sources = sources();
    for alert in OWN_ALERTS {
        assert!(sources.contains(&format!("\"{alert}\"")), "{alert} is raised nowhere");
    }
    for (alert, rule) in &shipped {
        let url = format!("runbook_url: http://127.0.0.1:8480/runbooks/{alert}\n");
        assert!(rule.contains(&url), "{alert} does not link its own runbook");
    }
    for (name, text) in &runbooks {
        assert!(text.starts_with(&format!("# {name}\n")), "{name}.md begins with another title");
        for part in ["Meaning", "Impact", "Check", "Act", "Verify", "Prevent"] {
            assert!(text.contains(&format!("\n## {part}\n\n")), "{name}.md lacks {part:?}");
        }
        assert!(text.contains("```sh\n"), "{name}.md has no command to paste");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(runbooks.contains_key(link), "{name}.md links {link}, which is no runbook");
        }
    }
}

/// Beyond what the linter asks for.
#[test]
fn dashboards_are_whole() {
    let (dashboards, alerts) = (dashboards(), files("runbooks", "md"));
    let names =
        ["alerting", "failover", "overview", "probes", "registry", "service", "slo", "storage"];
    assert_eq!(dashboards.keys().collect::<Vec<_>>(), names);
    let mut linked = BTreeSet::new();
    for (name, board) in &dashboards {
        assert_eq!(board["uid"], format!("watchkeep-{name}"));
        assert!(board["id"].is_null(), "{name}: an id would be another dashboard's");
        let marks = board["annotations"]["list"].as_array().expect("annotations");
        assert!(marks.len() == 4, "{name}: leader changes, alerting's too, and failovers");
        for mark in marks.iter().filter_map(|mark| mark["expr"].as_str()) {
            watchkeep_series::promql::Expr::parse(mark).unwrap_or_else(|e| panic!("{mark}: {e}"));
        }
        let reading = panels(board).iter().filter(|panel| panel["type"] == "text").count();
        assert_eq!(reading, 1, "{name}: nothing says how to read it");
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(board) {
            let title = panel["title"].as_str().expect("a title");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{name}: {title}: id taken");
            assert!(titles.insert(title), "{name}: {title}: two panels");
            let place = &panel["gridPos"];
            let right = place["x"].as_u64().expect("x") + place["w"].as_u64().expect("w");
            assert!(right <= 24, "{name}: {title}: wider than the grid");
            for link in panel["links"].as_array().into_iter().flatten() {
                let url = link["url"].as_str().expect("a URL");
                let runbook = url.strip_prefix("${watchkeep}/runbooks/").expect("a runbook");
                assert!(alerts.contains_key(runbook), "{name}: {title}: no runbook {runbook}");
                linked.insert(runbook.to_owned());
            }
        }
        let judged = panels(board).iter().filter(|p| p["fieldConfig"].is_object()).count();
        let with_steps = |panel: &&&Value| {
            let steps = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"];
            steps.as_array().is_some_and(|steps| steps.len() > 1)
        };
        let stepped = panels(board).iter().filter(with_steps).count();
        assert!(stepped * 6 > judged, "{name}: {stepped} of {judged} panels have thresholds");
    }
    assert!(linked.len() > 15, "only {} runbooks are linked", linked.len());
}

#[test]
fn every_metric_that_is_asked_for_exists_in_the_code() {
    let sources = sources();
    let quoted = Quoted::new(&sources);
    let mut asked: BTreeMap<String, String> = BTreeMap::new();
    for (name, board) in dashboards() {
        for panel in panels(&board) {
            for target in targets(panel) {
                let found = metrics(target["expr"].as_str().expect("a query"));
                asked.extend(found.into_iter().map(|metric| (metric, name.clone())));
            }
        }
        for mark in board["annotations"]["list"].as_array().expect("annotations") {
            let found = metrics(mark["expr"].as_str().unwrap_or_default());
            asked.extend(found.into_iter().map(|metric| (metric, name.clone())));
        }
        for variable in board["templating"]["list"].as_array().expect("variables") {
            let query = variable["query"]["query"].as_str().unwrap_or_default();
            asked.extend(metrics(query).into_iter().map(|metric| (metric, name.clone())));
        }
    }
    for (name, rule) in alerts() {
        let expr = rule.split("labels:").next().expect("an expression").split_once("expr:");
        let found = metrics(expr.expect("an expression").1);
        assert!(!found.is_empty(), "{name} asks for no metric");
        asked.extend(found.into_iter().map(|metric| (metric, name.clone())));
    }
    let missing: Vec<_> =
        asked.iter().filter(|(metric, _)| !is_declared(metric, &quoted)).collect();
    assert!(missing.is_empty(), "not in the code: {missing:#?}");
    assert!(!is_declared("watchkeep_registry_no_such_metric", &quoted), "the check itself");
    assert!(asked.len() > 60, "only {} metrics found", asked.len());
}

/// That their unit tests pass is seen in `tests/e2e_series/rule_tests.rs`.
#[test]
fn promtool_likes_the_rules() {
    let folder = root().join("alerting/rules");
    let arguments = ["check", "rules", "watchkeep.yml"];
    let output = Command::new("promtool").args(arguments).current_dir(&folder).output();
    let output =
        output.unwrap_or_else(|e| panic!("promtool: {e}; `cargo xtask peers` installs it"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    let tests = fs::read_to_string(folder.join("watchkeep.test.yml")).expect("unit tests");
    for alert in alerts().keys() {
        assert!(tests.contains(alert.as_str()), "{alert} has no unit test");
    }
}
