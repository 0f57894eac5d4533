//! What a dashboard asks, with its variables replaced the way Grafana does it.

use std::collections::BTreeMap;

use serde_json::Value;

/// A panel that asks something.
pub(super) struct Panel {
    pub(super) title: String,
    /// PromQL with variables in it.
    pub(super) queries: Vec<String>,
}

/// Every panel with queries, those inside of rows included.
pub(super) fn panels(board: &Value) -> Vec<Panel> {
    let list = board["panels"].as_array().into_iter().flatten();
    list.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let queries: Vec<String> =
            targets.filter_map(|target| target["expr"].as_str().map(str::to_owned)).collect();
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let own = (!queries.is_empty()).then_some(Panel { title, queries });
        own.into_iter().chain(panels(panel)).collect::<Vec<_>>()
    })
    .collect()
}

/// A variable that is filled by a query.
pub(super) struct Variable {
    pub(super) name: String,
    /// Whether it stands for all its values at once.
    pub(super) all: bool,
    /// The series whose label it is.
    pub(super) series: String,
    pub(super) label: String,
}

/// All of them, in the order in which one may use another.
pub(super) fn variables(board: &Value) -> Vec<Variable> {
    let list = board["templating"]["list"].as_array().into_iter().flatten();
    list.filter_map(|variable| {
        let query = variable["query"]["query"].as_str()?;
        let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (series, label) = inner.rsplit_once(',')?;
        Some(Variable {
            name: variable["name"].as_str()?.to_owned(),
            all: variable["includeAll"] == true,
            series: series.trim().to_owned(),
            label: label.trim().to_owned(),
        })
    })
    .collect()
}

/// Puts values in place of `$name` and `${name}`, longest names first.
pub(super) fn substitute(expr: &str, values: &BTreeMap<String, String>) -> String {
    let mut names: Vec<_> = values.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.iter().fold(expr.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn panels_variables_and_substitution() {
        let board = json!({
            "panels": [
                {"title": "text"},
                {"title": "a", "targets": [{"expr": "x{job=~\"$job\"}[$__range]"}]},
                {"title": "row", "panels": [{"title": "b", "targets": [{"expr": "y"}]}]},
            ],
            "templating": {"list": [
                {"name": "datasource", "query": "prometheus"},
                {"name": "job", "includeAll": true, "query": {"query": "label_values(up{a=\"b,c\"}, job)"}},
            ]},
        });
        let titles: Vec<String> = panels(&board).into_iter().map(|panel| panel.title).collect();
        assert_eq!(titles, ["a", "b"]);
        let found = variables(&board);
        assert_eq!(
            (found.len(), found[0].series.as_str(), found[0].all),
            (1, "up{a=\"b,c\"}", true)
        );
        let values = [("job", ".+"), ("__range", "5m"), ("__range_s", "300")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let expr = &panels(&board)[0].queries[0];
        assert_eq!(substitute(expr, &values), "x{job=~\".+\"}[5m]");
    }
}
