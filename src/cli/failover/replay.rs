//! `watchkeep failover replay`: a backtest over the history that a running node has. Nothing is written.
//!
//! Verdicts are known by their incidents (90 days), alerts by the series `ALERTS`, burn rates by the probes' series.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use watchkeep_alerting::{
    config::FailoverPolicy,
    replay::{Fate, Fault, Scenery, expression, faults, replay},
};
use watchkeep_catalog::{Incident, Instance, Maintenance, Time, check_name};

use crate::{
    cli::{
        api::{Api, Node},
        way::moment,
    },
    out,
};

/// Least time between two points of a series.
const STEP_SECONDS: i64 = 15;
/// Most points of a series: Prometheus allows 11,000.
const POINTS_MAX: i64 = 10_000;
/// What services promise of which a node knows nothing.
const AVAILABILITY: f64 = 0.9999;

/// Arguments of `watchkeep failover replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    node: Node,
    /// A policy of the node, by its name
    #[arg(long, required_unless_present = "policy_file")]
    policy: Option<String>,
    /// A policy in a YAML file, as it would stand in the configuration
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    policy_file: Option<PathBuf>,
    /// From when, such as 2026-01-05T09:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    from: DateTime<Utc>,
    /// Until when
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    to: DateTime<Utc>,
    /// Seconds from its first step until the service is there again
    #[arg(long, default_value_t = 5)]
    takes: u32,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Incidents {
    incidents: Vec<Incident>,
    next: Option<i64>,
}

/// All that there are, a page after the other.
async fn incidents(api: &Api) -> anyhow::Result<Vec<Incident>> {
    let (mut all, mut path) = (Vec::new(), "/v1/incidents?limit=1000".to_owned());
    loop {
        let Incidents { incidents, next } = api.get(&path).await?;
        all.extend(incidents);
        let Some(next) = next else { return Ok(all) };
        path = format!("/v1/incidents?limit=1000&before={next}");
    }
}

impl Replay {
    /// Asks, replays and prints.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.to < self.from {
            bail!("--to is before --from: give a time after {}", self.from.to_rfc3339());
        }
        let api = self.node.api()?;
        let policy = self.policy(&api).await?;
        let incidents = incidents(&api).await?;
        let in_time = |fault: &Fault| fault.at >= self.from && fault.at <= self.to;
        let known = faults(&incidents);
        let triggers: Vec<Fault> = match policy.when.is_verdict() {
            true => known.iter().filter(|fault| in_time(fault)).cloned().collect(),
            false => self.by_series(&api, &policy).await?,
        };
        let mut services: Vec<&str> = triggers.iter().map(|fault| fault.service.as_str()).collect();
        services.sort_unstable();
        services.dedup();
        let mut instances = BTreeMap::new();
        for service in services {
            instances.insert(service.to_owned(), registered(&api, service).await?);
        }
        let maintenance = maintenance(&api).await?;
        let scenery = Scenery { faults: known, instances, maintenance };
        let takes = TimeDelta::seconds(i64::from(self.takes));
        let until = self.to.min(Utc::now());
        let told = replay(&policy, &triggers, &scenery, takes, until);
        self.print(&policy, &told);
        Ok(())
    }

    async fn policy(&self, api: &Api) -> anyhow::Result<FailoverPolicy> {
        if let Some(file) = &self.policy_file {
            let name = file.display();
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
            return Ok(crate::config::failover_policy(&name.to_string(), &text)?);
        }
        let answer: Value = api.get("/v1/failover-policies").await?;
        let wanted = self.policy.as_deref().unwrap_or_default();
        let mut known = Vec::new();
        for policy in answer["policies"].as_array().into_iter().flatten() {
            if policy["name"] == wanted {
                let mut policy = policy.clone();
                if let Some(object) = policy.as_object_mut() {
                    object.remove("effective_mode");
                }
                return Ok(serde_json::from_value(policy)?);
            }
            known.push(policy["name"].as_str().unwrap_or_default().to_owned());
        }
        bail!("failover policy {wanted:?} is not defined; defined: {}", known.join(", "));
    }

    /// When an alert fired, or a budget burnt.
    async fn by_series(&self, api: &Api, policy: &FailoverPolicy) -> anyhow::Result<Vec<Fault>> {
        let when = &policy.when;
        let promised = match (&when.burn_rate, &when.service) {
            (Some(_), Some(service)) => promised(api, service).await?,
            _ => AVAILABILITY,
        };
        let expr = expression(when, promised).map_err(anyhow::Error::msg)?;
        let span = (self.to - self.from).num_seconds();
        let step = STEP_SECONDS.max(span / POINTS_MAX + 1);
        let mut query = Serializer::new(String::new());
        let (from, to) = (self.from.timestamp().to_string(), self.to.timestamp().to_string());
        query.append_pair("query", &expr).append_pair("start", &from).append_pair("end", &to);
        query.append_pair("step", &step.to_string());
        let answer: Value = api.get(&format!("/api/v1/query_range?{}", query.finish())).await?;
        let mut found = Vec::new();
        for series in answer["data"]["result"].as_array().into_iter().flatten() {
            let label = |name: &str| series["metric"][name].as_str().map(str::to_owned);
            let Some(service) = label("service").or_else(|| when.service.clone()) else { continue };
            if check_name("service", &service).is_err() {
                continue;
            }
            let points = series["values"].as_array().into_iter().flatten();
            #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 fit")]
            let times: Vec<i64> =
                points.filter_map(|point| point[0].as_f64().map(|at| at as i64)).collect();
            for (begun, ended) in spans(&times, step) {
                found.push(Fault {
                    at: at(begun),
                    ended_at: (ended + step < self.to.timestamp()).then(|| at(ended + step)),
                    service: service.clone(),
                    instance: label("instance").unwrap_or_default(),
                    zone: label("zone").unwrap_or_default(),
                    role: label("role").unwrap_or_default(),
                    reason: label("alertname").unwrap_or_else(|| "burn rate".to_owned()),
                    collectors: usize::MAX,
                });
            }
        }
        found.sort_by_key(|fault| fault.at);
        Ok(found)
    }

    fn print(&self, policy: &FailoverPolicy, told: &[(Fault, Fate)]) {
        let head = ["KNOWN", "ABOUT", "LASTED", "FAILOVER", "SAVED", "WHY"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let (mut acts, mut held, mut sum) = (0, 0, TimeDelta::zero());
        for (fault, fate) in told {
            let about = match fault.instance.as_str() {
                "" => fault.service.clone(),
                instance => format!("{}/{instance}", fault.service),
            };
            let lasted = fault.ended_at.map(|end| end - fault.at);
            let lasted =
                lasted.map_or_else(|| "lasts".to_owned(), |l| format!("{} s", l.num_seconds()));
            let (word, saved, why) = match fate {
                Fate::Acts { at, saved } => {
                    (acts, sum) = (acts + 1, sum + *saved);
                    (format!("acts {}", instant(*at)), Some(*saved), fault.reason.clone())
                }
                Fate::Held { by, .. } => {
                    held += 1;
                    (format!("held by {}", by.guard), None, by.why.clone())
                }
                Fate::Over => ("over before".to_owned(), None, String::new()),
            };
            if self.json {
                let (guard, at) = match fate {
                    Fate::Held { by, at } => (Some(by), Some(*at)),
                    Fate::Acts { at, .. } => (None, Some(*at)),
                    Fate::Over => (None, None),
                };
                out::line(json!({
                    "known_at": instant(fault.at), "ended_at": fault.ended_at.map(instant),
                    "service": fault.service, "instance": fault.instance, "reason": fault.reason,
                    "decided_at": at.map(instant), "acts": matches!(fate, Fate::Acts { .. }),
                    "held_by": guard, "saved_seconds": saved.map(|s| s.as_seconds_f64()),
                }));
            }
            let saved = saved.map_or_else(String::new, |s| format!("{} s", s.num_seconds()));
            rows.push(vec![instant(fault.at), about, lasted, word, saved, why]);
        }
        if self.json {
            return;
        }
        out::table(&rows);
        out::line(format_args!(
            "{} ({}): {} faults, {acts} failovers, {held} held, {} s of downtime saved at {} s each",
            policy.name,
            policy.mode().as_str(),
            told.len(),
            sum.num_seconds(),
            self.takes
        ));
    }
}

fn at(seconds: i64) -> Time {
    Time::from_timestamp(seconds, 0).unwrap_or_default()
}

fn instant(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Where points follow each other without a gap: first and last of each.
fn spans(times: &[i64], step: i64) -> Vec<(i64, i64)> {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for time in times {
        match spans.last_mut() {
            Some((_, last)) if *time - *last <= step * 2 => *last = *time,
            _ => spans.push((*time, *time)),
        }
    }
    spans
}

/// What a service promises, by its own record or the node's configuration.
async fn promised(api: &Api, service: &str) -> anyhow::Result<f64> {
    check_name("service", service)?;
    let answer: Option<Value> = api.find(&format!("/v1/slo/{service}")).await?;
    let share = answer.and_then(|report| report["objective"]["availability"].as_f64());
    Ok(share.unwrap_or(AVAILABILITY))
}

async fn registered(api: &Api, service: &str) -> anyhow::Result<Vec<Instance>> {
    let answer: Value = api.get(&format!("/v1/services/{service}/instances")).await?;
    let mut found = Vec::new();
    for shown in answer["instances"].as_array().into_iter().flatten() {
        let mut shown = shown.clone();
        if let Some(object) = shown.as_object_mut() {
            for more in ["status", "since", "reason", "silenced", "drained"] {
                object.remove(more);
            }
        }
        found.push(serde_json::from_value(shown)?);
    }
    Ok(found)
}

async fn maintenance(api: &Api) -> anyhow::Result<Vec<Maintenance>> {
    let answer: Value = api.get("/v1/maintenance?all=true").await?;
    let mut found = Vec::new();
    for shown in answer["maintenance"].as_array().into_iter().flatten() {
        let mut shown = shown.clone();
        if let Some(object) = shown.as_object_mut() {
            for more in ["configured", "open", "next"] {
                object.remove(more);
            }
        }
        found.push(serde_json::from_value(shown)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_without_a_gap_are_one_span() {
        assert_eq!(spans(&[0, 15, 30, 75, 90, 200], 15), [(0, 30), (75, 90), (200, 200)]);
        assert_eq!(spans(&[], 15), []);
    }
}
