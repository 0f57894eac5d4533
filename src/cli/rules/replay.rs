//! `watchkeep rules replay`: what rules would have done over the history that a running node has. Nothing is written.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use watchkeep_alerting::{
    rule::{
        Active, AlertState, Environment, Group, GroupState, Labels, Origin, RuleKind, Sample, Sink,
        evaluate, load, parse_file,
    },
    template::Site,
};

use super::history::History;
use crate::{
    cli::{
        api::{Api, Node},
        way::moment,
    },
    out,
    rules::PromQl,
};

/// Evaluations of one rule.
const STEPS_MAX: i64 = 1_000_000;

/// Arguments of `watchkeep rules replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    node: Node,
    /// From when, such as 2026-01-05T09:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    from: DateTime<Utc>,
    /// Until when
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    to: DateTime<Utc>,
    /// Rule files; by default the rules that the node has
    #[arg(long, value_name = "FILE", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// A node's configuration: whom its pages go to besides whoever is on call
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

/// An alert that would have fired.
#[derive(Debug)]
struct Fired {
    labels: Labels,
    summary: String,
    fired_at_ms: i64,
    /// None: it fires at the end of the time that is replayed.
    ended_at_ms: Option<i64>,
}

impl Replay {
    /// Asks, evaluates and prints.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.to < self.from {
            bail!("--to is before --from: give a time after {}", self.from.to_rfc3339());
        }
        let api = self.node.api()?;
        let groups = self.groups(&api).await?;
        let receivers = match &self.config {
            Some(file) => {
                crate::config::load(Some(file), &crate::config::Flags::default())?
                    .alerting
                    .pages
                    .receivers
            }
            None => Vec::new(),
        };
        let (from, to) = (self.from.timestamp_millis(), self.to.timestamp_millis());
        let (asked, handle) = (api.clone(), Handle::current());
        let replayed = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for group in &groups {
                all.extend(replay(group, &asked, &handle, from, to)?);
            }
            anyhow::Ok(all)
        });
        let mut fired = replayed.await??;
        fired.sort_by_key(|alert| alert.fired_at_ms);
        let mut rows =
            vec![["FIRED", "ENDED", "ALERT", "PAGES", "SUMMARY"].map(str::to_owned).to_vec()];
        for alert in &fired {
            let pages = pages(&api, alert, &receivers).await;
            if self.json {
                out::line(json!({
                    "labels": alert.labels, "summary": alert.summary, "pages": pages,
                    "fired_at": instant(alert.fired_at_ms), "ended_at": alert.ended_at_ms.map(instant),
                }));
            }
            rows.push(vec![
                instant(alert.fired_at_ms),
                alert.ended_at_ms.map_or_else(|| "fires still".to_owned(), instant),
                words(&alert.labels),
                if pages.is_empty() { "nobody".to_owned() } else { pages.join(", ") },
                alert.summary.clone(),
            ]);
        }
        if !self.json {
            out::table(&rows);
        }
        Ok(())
    }

    /// The rules of the files, or the node's.
    async fn groups(&self, api: &Api) -> anyhow::Result<Vec<Group>> {
        let text = |problems: Vec<watchkeep_alerting::rule::Problem>| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        };
        if self.rules.is_empty() {
            let answer: Value = api.get("/api/v1/rules").await?;
            let file = of_answer(&answer)?;
            return parse_file("the node's rules", &file, Duration::from_mins(1), &PromQl)
                .map_err(text);
        }
        let origin = Origin {
            patterns: self.rules.iter().map(|file| file.display().to_string()).collect(),
            interval: Duration::from_mins(1),
            ..Origin::default()
        };
        Ok(load(&origin, &PromQl).map_err(text)?.groups)
    }
}

/// A rule file of what `/api/v1/rules` says.
fn of_answer(answer: &Value) -> anyhow::Result<String> {
    let groups = answer["data"]["groups"].as_array().context("/api/v1/rules: groups expected")?;
    let seconds = |value: &Value| format!("{}ms", (value.as_f64().unwrap_or(0.0) * 1000.0).round());
    let rule = |rule: &Value| {
        let mut shape = json!({"expr": rule["query"], "labels": rule["labels"]});
        if rule["type"] == "alerting" {
            shape["alert"] = rule["name"].clone();
            shape["for"] = json!(seconds(&rule["duration"]));
            shape["keep_firing_for"] = json!(seconds(&rule["keepFiringFor"]));
            shape["annotations"] = rule["annotations"].clone();
        } else {
            shape["record"] = rule["name"].clone();
        }
        shape
    };
    let group = |(at, group): (usize, &Value)| {
        let rules =
            group["rules"].as_array().map(|rules| rules.iter().map(rule).collect::<Vec<_>>());
        let name = format!("{at} {}", group["name"].as_str().unwrap_or_default());
        json!({"name": name, "interval": seconds(&group["interval"]), "limit": group["limit"], "rules": rules})
    };
    let groups: Vec<Value> = groups.iter().enumerate().map(group).collect();
    Ok(json!({ "groups": groups }).to_string())
}

/// Takes no samples: history has what was recorded.
struct Nowhere;

impl Sink for Nowhere {
    fn write(&self, _: Vec<Sample>) -> Result<(), String> {
        Ok(())
    }
}

/// The alerts that a group would have fired.
fn replay(
    group: &Group,
    api: &Api,
    handle: &Handle,
    from: i64,
    to: i64,
) -> anyhow::Result<Vec<Fired>> {
    let step = i64::try_from(group.interval.as_millis()).unwrap_or(i64::MAX).max(1);
    if (to - from) / step > STEPS_MAX {
        bail!("group {}: more than {STEPS_MAX} evaluations; replay a shorter time", group.name);
    }
    let exprs = group.rules.iter().filter(|rule| matches!(rule.kind, RuleKind::Alert(_)));
    let exprs: Vec<&str> = exprs.map(|rule| rule.expr.as_str()).collect();
    let history = History::read(api, handle, &exprs, (from, to, step))?;
    let environment = Environment {
        ask: Arc::new(history),
        external_labels: Labels::new(),
        site: Site::default(),
        query_offset: Duration::ZERO,
    };
    let mut state = GroupState::new(group);
    let mut open: BTreeMap<Labels, Fired> = BTreeMap::new();
    let mut fired = Vec::new();
    let mut now = from;
    while now <= to {
        for at in 0..group.rules.len() {
            if matches!(group.rules[at].kind, RuleKind::Record(_)) {
                continue;
            }
            for labels in evaluate(group, at, &mut state, now, &environment, &Nowhere) {
                if let Some(alert) = open.remove(&labels) {
                    fired.push(Fired { ended_at_ms: Some(now), ..alert });
                }
            }
            let rule = &state.rules[at];
            if let Some(error) = &rule.last_error {
                bail!("{}: {error}", group.rules[at].name());
            }
            for (labels, active) in
                rule.active.iter().filter(|(_, a)| a.state == AlertState::Firing)
            {
                open.entry(labels.clone()).or_insert_with(|| begun(labels, active, now));
            }
        }
        now += step;
    }
    fired.extend(open.into_values());
    Ok(fired)
}

fn begun(labels: &Labels, active: &Active, now: i64) -> Fired {
    let said = |name: &str| active.annotations.get(name).cloned();
    Fired {
        labels: labels.clone(),
        summary: said("summary").or_else(|| said("description")).unwrap_or_default(),
        fired_at_ms: active.fired_at_ms.unwrap_or(now),
        ended_at_ms: None,
    }
}

/// Who would have been paged: whoever was on call when it fired, and the receivers of all pages.
async fn pages(api: &Api, alert: &Fired, receivers: &[String]) -> Vec<String> {
    let at = instant(alert.fired_at_ms);
    let shift: Option<Value> = api.get(&format!("/v1/oncall?at={at}")).await.ok();
    let person = shift.and_then(|shift| shift["person"].as_str().map(str::to_owned));
    let ends = if alert.ended_at_ms.is_some() { "firing, resolved" } else { "firing" };
    let names = person.into_iter().chain(receivers.iter().cloned());
    names.map(|name| format!("{name} ({ends})")).collect()
}

fn words(labels: &Labels) -> String {
    let name = labels.get("alertname").map_or("", String::as_str);
    let rest = labels.iter().filter(|(name, _)| *name != "alertname");
    let rest: Vec<_> = rest.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", rest.join(","))
}

fn instant(millis: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
