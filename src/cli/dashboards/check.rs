//! `watchkeep dashboards check`: panels with data / panels, as a Prometheus or a node answers them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use chrono::Utc;
use clap::Args;
use serde_json::Value;

use super::board::{self, Panel, Variable};
use crate::{
    cli::{
        api::{self, HttpUser},
        maintenance::seconds,
        registry::Tls,
    },
    out,
};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Points of a line that are asked for, about as many as a panel has.
const POINTS: u64 = 300;

/// Arguments of `watchkeep dashboards check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Whatever speaks Prometheus's query API: a Prometheus, or a node
    #[arg(long, default_value = "http://127.0.0.1:8480")]
    url: String,
    #[command(flatten)]
    user: HttpUser,
    #[command(flatten)]
    tls: Tls,
    /// These alone, by file name without .json
    names: Vec<String>,
    /// The time shown, until now
    #[arg(long, value_name = "LENGTH", value_parser = seconds, default_value = "30m")]
    range: u64,
    /// Four times the interval of the scrapes, or more
    #[arg(long, value_name = "LENGTH", value_parser = seconds, default_value = "1m")]
    rate_interval: u64,
    /// Job of the scrapes, a regular expression
    #[arg(long, default_value = ".+")]
    job: String,
    /// Nodes as the scrapes name them, a regular expression
    #[arg(long, default_value = ".+")]
    instance: String,
    /// Services, a regular expression; where a dashboard shows one only, its name
    #[arg(long)]
    service: Option<String>,
    /// A panel counts only when each of its queries has data
    #[arg(long)]
    every_query: bool,
}

impl Check {
    /// Prints what has no data, and the counts.
    ///
    /// # Errors
    /// When a panel has none, or nobody answers.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let source = Source::new(&self)?;
        let boards = super::all()?;
        for name in &self.names {
            if !boards.iter().any(|(file, _)| file.trim_end_matches(".json") == name) {
                let known: Vec<&str> =
                    boards.iter().map(|(file, _)| file.trim_end_matches(".json")).collect();
                bail!("there is no dashboard {name:?}; there are: {}", known.join(", "));
            }
        }
        let (mut shown, mut total, mut count) = (0, 0, 0);
        for (file, dashboard) in &boards {
            let name = file.trim_end_matches(".json");
            if !self.names.is_empty() && !self.names.iter().any(|wanted| wanted == name) {
                continue;
            }
            let panels = board::panels(dashboard);
            let empty = self.best(&source, &board::variables(dashboard), &panels).await?;
            let with = panels.len() - empty.len();
            out::line(format_args!("{name:<10} {with:>3} / {} panels with data", panels.len()));
            for (title, query) in &empty {
                out::line(format_args!("  {title}: no data\n    {query}"));
            }
            (shown, total, count) = (shown + with, total + panels.len(), count + 1);
        }
        out::line(format_args!("{count} dashboards: {shown} / {total} panels with data"));
        if shown < total {
            bail!("{} panels have no data at {}", total - shown, self.url);
        }
        Ok(())
    }

    /// The panels without data, each with a query. A variable that stands for one value at a time gets the value with
    /// which fewest are empty.
    async fn best(
        &self,
        source: &Source,
        variables: &[Variable],
        panels: &[Panel],
    ) -> anyhow::Result<Vec<(String, String)>> {
        let mut values = source.values.clone();
        let (mut single, mut choices) = (None, vec![String::new()]);
        for variable in variables {
            let given = match variable.name.as_str() {
                "job" => Some(self.job.clone()),
                "instance" => Some(self.instance.clone()),
                "service" => self.service.clone(),
                _ => None,
            };
            if variable.all || given.is_some() {
                let value = given.unwrap_or_else(|| ".+".to_owned());
                values.insert(variable.name.clone(), value);
            } else {
                let series = board::substitute(&variable.series, &values);
                choices = source.label_values(&variable.label, &series).await?;
                single = Some(&variable.name);
            }
        }
        let mut fewest: Option<Vec<(String, String)>> = None;
        for choice in choices {
            if let Some(name) = single {
                values.insert(name.clone(), choice);
            }
            let mut empty = Vec::new();
            for panel in panels {
                if let Some(query) = self.empty(source, panel, &values).await? {
                    empty.push((panel.title.clone(), query));
                }
            }
            if fewest.as_ref().is_none_or(|fewest| empty.len() < fewest.len()) {
                fewest = Some(empty);
            }
        }
        let all = || panels.iter().map(|panel| (panel.title.clone(), panel.queries[0].clone()));
        Ok(fewest.unwrap_or_else(|| all().collect()))
    }

    /// The query of a panel that is to blame for its having no data.
    async fn empty(
        &self,
        source: &Source,
        panel: &Panel,
        values: &BTreeMap<String, String>,
    ) -> anyhow::Result<Option<String>> {
        let mut missing = None;
        for query in &panel.queries {
            let expr = board::substitute(query, values);
            match (source.has_data(&expr).await?, self.every_query) {
                (true, false) => return Ok(None),
                (false, true) => return Ok(Some(expr)),
                (true, true) => {}
                (false, false) => missing = missing.or(Some(expr)),
            }
        }
        Ok(missing)
    }
}

/// Who is asked, and for which time.
struct Source {
    base: String,
    client: reqwest::Client,
    /// Name and password.
    user: Option<(String, String)>,
    start: i64,
    end: i64,
    step: u64,
    /// The variables that Grafana knows by itself.
    values: BTreeMap<String, String>,
}

impl Source {
    fn new(check: &Check) -> anyhow::Result<Self> {
        let (range, step) = (check.range.max(1), (check.range / POINTS).max(1));
        let known = [
            ("__rate_interval", format!("{}s", check.rate_interval)),
            ("__interval", format!("{step}s")),
            ("__range", format!("{range}s")),
        ];
        let end = Utc::now().timestamp();
        Ok(Self {
            base: check.url.trim_end_matches('/').to_owned(),
            client: api::client(&check.tls, TIMEOUT)?,
            user: check.user.pair()?,
            start: end - i64::try_from(range)?,
            end,
            step,
            values: known.map(|(name, value)| (name.to_owned(), value)).into(),
        })
    }

    /// `data` of an answer.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/{path}", self.base);
        let what = || format!("{url}: does a Prometheus or a node answer there? (--url)");
        let request = self.client.get(&url).query(query);
        let request = match &self.user {
            Some((name, password)) => request.basic_auth(name, Some(password)),
            None => request,
        };
        let answer = request.send().await.with_context(what)?;
        let status = answer.status();
        let mut answer: Value = answer.json().await.with_context(what)?;
        if answer["status"] != "success" {
            bail!("{url}: {status}: {}: {query:?}", answer["error"]);
        }
        Ok(answer["data"].take())
    }

    async fn label_values(&self, label: &str, series: &str) -> anyhow::Result<Vec<String>> {
        let path = format!("label/{label}/values");
        let values = self.ask(&path, &[("match[]", series)]).await?;
        let values = values.as_array().into_iter().flatten();
        Ok(values.filter_map(|value| value.as_str().map(str::to_owned)).collect())
    }

    /// Whether a panel would show a point.
    async fn has_data(&self, expr: &str) -> anyhow::Result<bool> {
        let (start, end) = (self.start.to_string(), self.end.to_string());
        let step = self.step.to_string();
        let query = [("query", expr), ("start", &start), ("end", &end), ("step", &step)];
        let data = self.ask("query_range", &query).await?;
        let series = data["result"].as_array().into_iter().flatten();
        let mut points = series.flat_map(|one| one["values"].as_array().into_iter().flatten());
        Ok(points.any(|point| point[1] != "NaN"))
    }
}
