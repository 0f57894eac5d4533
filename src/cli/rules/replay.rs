//! `watchkeep rules replay`: what rules would have done over the history that a running node has, and who would have been
//! told. Nothing is written.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use url::form_urlencoded::Serializer;
use watchkeep_alerting::{
    paging::{Outcome, PastAlert},
    rule::{
        Group, Labels, Origin, Problem, RuleKind, RuleSettings, format_duration, load, parse_file,
    },
};

use super::{history::seconds, replayed::replay, settings::Settings};
use crate::{
    cli::{
        api::{Api, Node},
        way::moment,
    },
    out,
    rules::PromQl,
};

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
    /// A configuration that says who is told of what; by default the node's own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Asks, evaluates and prints.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.to < self.from {
            bail!("--to is before --from: give a time after {}", self.from.to_rfc3339());
        }
        let api = self.node.api()?;
        let settings = Settings::read(self.config.as_deref(), &api, self.node.url()).await?;
        let mut rules = settings.alerting.rule_settings(std::path::Path::new(""));
        if rules.external_url.is_empty() {
            rules.external_url.clone_from(&settings.url);
        }
        let promql = PromQl { experimental: settings.query.experimental };
        let groups = self.groups(&api, promql, &rules).await?;
        self.warn_of_unrecorded(&api, &groups).await?;
        let mut fired = self.fired(&api, groups, rules).await?;
        fired.sort_by(|a, b| (a.fired_at, &a.labels).cmp(&(b.fired_at, &b.labels)));
        let paging = settings.paging(&api).await?;
        let outcomes = paging.tell(&fired, self.to).map_err(anyhow::Error::msg)?;
        let alerts: Vec<_> = fired.into_iter().zip(outcomes).collect();
        if self.json {
            alerts.iter().for_each(|(alert, outcome)| out::line(shown(alert, outcome)));
        } else {
            out::table(&table(&alerts));
        }
        Ok(())
    }

    async fn fired(
        &self,
        api: &Api,
        groups: Vec<Group>,
        rules: RuleSettings,
    ) -> anyhow::Result<Vec<PastAlert>> {
        let (from, to) = (self.from.timestamp_millis(), self.to.timestamp_millis());
        let (api, handle) = (api.clone(), Handle::current());
        let replayed = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for group in &groups {
                all.extend(replay(group, &rules, (&api, &handle), (from, to))?);
            }
            anyhow::Ok(all)
        });
        replayed.await?
    }

    /// The rules of the files, or the node's.
    async fn groups(
        &self,
        api: &Api,
        promql: PromQl,
        settings: &RuleSettings,
    ) -> anyhow::Result<Vec<Group>> {
        let text = |problems: Vec<Problem>| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        };
        let interval = settings.origin.interval;
        if self.rules.is_empty() {
            let answer: Value = api.get("/api/v1/rules").await?;
            let file = of_answer(&answer)?;
            return parse_file("the node's rules", &file, interval, &promql).map_err(text);
        }
        let patterns = self.rules.iter().map(|file| file.display().to_string()).collect();
        let origin = Origin { patterns, interval, ..Origin::default() };
        Ok(load(&origin, &promql).map_err(text)?.groups)
    }

    /// Says which series the files record and nobody has recorded so far: whoever asks for them finds nothing.
    async fn warn_of_unrecorded(&self, api: &Api, groups: &[Group]) -> anyhow::Result<()> {
        let mut seen = BTreeSet::new();
        for group in groups.iter().filter(|_| !self.rules.is_empty()) {
            for rule in group.rules.iter().filter(|r| matches!(r.kind, RuleKind::Record(_))) {
                let name = rule.name();
                if !seen.insert(name) {
                    continue;
                }
                let mut query = Serializer::new(String::new());
                query.append_pair("match[]", &format!("{{__name__={name:?}}}"));
                query.append_pair("start", &seconds(self.from.timestamp_millis()));
                query.append_pair("end", &seconds(self.to.timestamp_millis()));
                query.append_pair("limit", "1");
                let answer: Value = api.get(&format!("/api/v1/series?{}", query.finish())).await?;
                if answer["data"].as_array().is_none_or(Vec::is_empty) {
                    eprintln!(
                        "{}:{}: warning: the node's history of this time has no samples of {name}, and a replay computes no \
                         recorded series: rules that ask for it find nothing",
                        group.file, rule.line
                    );
                }
            }
        }
        Ok(())
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
        let mut shape = json!({"name": name, "interval": seconds(&group["interval"]), "limit": group["limit"], "rules": rules});
        if let Some(offset) = group.get("queryOffset") {
            shape["query_offset"] = json!(seconds(offset));
        }
        shape
    };
    let groups: Vec<Value> = groups.iter().enumerate().map(group).collect();
    Ok(json!({ "groups": groups }).to_string())
}

fn shown(alert: &PastAlert, outcome: &Outcome) -> Value {
    let told = outcome.told.iter().map(|told| {
        let what = if told.resolved { "resolved" } else { "firing" };
        json!({"at": instant(told.at), "whom": told.whom, "way": told.way, "what": what})
    });
    json!({
        "labels": alert.labels,
        "summary": summary(alert),
        "fired_at": instant(alert.fired_at),
        "ended_at": alert.ended_at.map(instant),
        "pages": pages(alert, outcome),
        "told": told.collect::<Vec<_>>(),
        "nobody": outcome.nobody,
    })
}

fn table(alerts: &[(PastAlert, Outcome)]) -> Vec<Vec<String>> {
    let head = ["FIRED", "ENDED", "ALERT", "PAGES", "SUMMARY"].map(str::to_owned).to_vec();
    let row = |(alert, outcome): &(PastAlert, Outcome)| {
        vec![
            instant(alert.fired_at),
            alert.ended_at.map_or_else(|| "fires still".to_owned(), instant),
            words(&alert.labels),
            match &outcome.nobody {
                Some(why) => format!("nobody: {why}"),
                None => pages(alert, outcome).join(", "),
            },
            summary(alert).to_owned(),
        ]
    };
    [head].into_iter().chain(alerts.iter().map(row)).collect()
}

fn summary(alert: &PastAlert) -> &str {
    let said = |name: &str| alert.annotations.get(name).map(String::as_str);
    said("summary").or_else(|| said("description")).unwrap_or_default()
}

/// Everybody who was told, and of what: `alice (firing, resolved)`, `bob (firing after 5m)`.
fn pages(alert: &PastAlert, outcome: &Outcome) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for told in &outcome.told {
        if !names.contains(&told.whom.as_str()) {
            names.push(&told.whom);
        }
    }
    let line = |name: &str| {
        let mut of = Vec::new();
        for resolved in [false, true] {
            let told: Vec<_> =
                outcome.told.iter().filter(|t| t.whom == name && t.resolved == resolved).collect();
            let Some(first) = told.first() else { continue };
            let mut what = if resolved { "resolved" } else { "firing" }.to_owned();
            let since = if resolved { alert.ended_at } else { Some(alert.fired_at) };
            let after = since.and_then(|since| (first.at - since).to_std().ok());
            if let Some(after) = after.filter(|after| after.as_secs() > 0) {
                what.push_str(&format!(" after {}", format_duration(after)));
            }
            of.push(what);
        }
        format!("{name} ({})", of.join(", "))
    };
    names.into_iter().map(line).collect()
}

fn words(labels: &Labels) -> String {
    let name = labels.get("alertname").map_or("", String::as_str);
    let rest = labels.iter().filter(|(name, _)| *name != "alertname");
    let rest: Vec<_> = rest.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", rest.join(","))
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
