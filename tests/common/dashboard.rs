//! The queries of a Grafana dashboard, with its variables replaced the way Grafana does it.

use std::collections::BTreeMap;

use serde_json::Value;

/// One query of one panel.
pub struct Query {
    /// The panel's title.
    pub panel: String,
    /// PromQL with variables in it.
    pub expr: String,
}

/// Every query of every panel, rows included.
pub fn queries(dashboard: &Value) -> Vec<Query> {
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    panels
        .iter()
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap_or_default().to_owned();
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            let own = targets.into_iter().filter_map(move |target| {
                Some(Query { panel: title.clone(), expr: target["expr"].as_str()?.to_owned() })
            });
            own.chain(queries(panel)).collect::<Vec<_>>()
        })
        .collect()
}

/// The variables that are filled by a query: name and `(metric, label)` of `label_values(metric, label)`.
pub fn variables(dashboard: &Value) -> BTreeMap<String, (String, String)> {
    let list = dashboard["templating"]["list"].as_array().cloned().unwrap_or_default();
    let queried = list.iter().filter(|variable| variable["type"] == "query");
    queried
        .map(|variable| {
            let query = variable["query"]["query"].as_str().or(variable["query"].as_str());
            let query = query.expect("a query").trim();
            let inner = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
            let (metric, label) =
                inner.and_then(|q| q.rsplit_once(',')).expect("label_values(m, l)");
            let name = variable["name"].as_str().expect("a name").to_owned();
            (name, (metric.trim().to_owned(), label.trim().to_owned()))
        })
        .collect()
}

/// Puts values in place of `$name`, `${name}` and `${name:regex}`, longest names first.
pub fn substitute(expr: &str, values: &BTreeMap<String, String>) -> String {
    let mut names: Vec<_> = values.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.iter().fold(expr.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}:regex}}"), value)
            .replace(&format!("${{{name}}}"), value)
            .replace(&format!("${name}"), value)
    })
}
