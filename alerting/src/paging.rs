//! Whom alerts of rules would have been told to: what duty and the routes of an `alertmanager.yml` come to, with nobody
//! told. Pure; what people changed in schedules and the silences come in.
//!
//! ```text
//! alerts, from when until when ─▶ without routes: an incident each ─┐
//!                               └▶ routes ─▶ groups, each look ─────┼▶ receivers
//!                                                └▶ oncall: incident ┴▶ escalation, step by step ─▶ people
//! ```
//!
//! Nobody acknowledges anything, and every message is taken at the first attempt.

use std::collections::BTreeMap;

use serde::Serialize;
use watchkeep_catalog::{AlertSilence, Incident, ScheduleChange, Time};

use crate::{
    alertmanager::{AlertmanagerConfig, Rehearsal},
    config::AlertingConfig,
    oncall,
    rules::Rules,
};

mod desk;

pub(crate) use desk::Desk;

/// An alert of a rule, from when it fired until it was over.
#[derive(Debug, Clone)]
pub struct PastAlert {
    /// Its labels, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// What is said of it.
    pub annotations: BTreeMap<String, String>,
    /// Since when its rule's expression held.
    pub active_at: Time,
    /// When it began to fire.
    pub fired_at: Time,
    /// None: it fires still.
    pub ended_at: Option<Time>,
}

/// A message that somebody would have got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// When.
    pub at: Time,
    /// A person or a receiver.
    pub whom: String,
    /// `email`, `webhook`, `slack`, …
    pub way: String,
    /// Whether it says that the alert is over.
    pub resolved: bool,
}

/// What became of one alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In the order of time.
    pub told: Vec<Told>,
    /// Why nobody was told.
    pub nobody: Option<String>,
}

/// Who is told of what.
#[derive(Debug)]
pub struct Paging {
    rules: Rules,
    routes: Option<Rehearsal>,
}

impl Paging {
    /// `routes` are those of the `alertmanager.yml`, where there is one.
    ///
    /// # Errors
    /// What is wrong with the settings, in words; nothing when they were validated.
    pub fn new(
        config: &AlertingConfig,
        routes: Option<AlertmanagerConfig>,
        external_url: &str,
    ) -> Result<Self, String> {
        let rules = Rules::new(config).map_err(|wrong| {
            let lines = wrong.iter().map(|i| format!("alerting.{}: {}", i.path, i.message));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        let routes = routes.map(|config| Rehearsal::new(config, external_url)).transpose()?;
        Ok(Self { rules, routes })
    }

    /// The schedules that people may have changed.
    pub fn schedules(&self) -> impl Iterator<Item = &str> {
        self.rules.schedules.iter().map(|schedule| schedule.name.as_str())
    }

    /// Whether alerts are routed, and silences count.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.routes.is_some()
    }

    /// Takes in what somebody changed in a schedule.
    pub fn change(&mut self, change: ScheduleChange) {
        oncall::put_change(&mut self.rules.changes, change);
    }

    /// Takes in a silence.
    pub fn silence(&mut self, silence: AlertSilence) {
        if let Some(routes) = &mut self.routes {
            routes.silences.push(silence);
        }
    }

    /// What becomes of the alerts until `until`, each in its place.
    ///
    /// # Errors
    /// When a silence cannot be read.
    pub fn tell(&self, alerts: &[PastAlert], until: Time) -> Result<Vec<Outcome>, String> {
        let mut desk = Desk::new(&self.rules);
        let mut outcomes = match &self.routes {
            Some(routes) => routes.tell(&mut desk, alerts, until)?,
            None => incidents(&mut desk, alerts, until),
        };
        for outcome in &mut outcomes {
            outcome.told.sort_by_key(|told| told.at);
        }
        Ok(outcomes)
    }
}

/// Each alert opens an incident when it fires, and resolves it when it is over.
fn incidents(desk: &mut Desk<'_>, alerts: &[PastAlert], until: Time) -> Vec<Outcome> {
    let begins = alerts.iter().enumerate().map(|(at, alert)| (alert.fired_at, true, at));
    let ends = alerts.iter().enumerate();
    let ends = ends.filter_map(|(at, alert)| Some((alert.ended_at?, false, at)));
    let mut events: Vec<_> = begins.chain(ends).filter(|(when, ..)| *when <= until).collect();
    // What ends at a time ends before others begin.
    events.sort_unstable();
    let mut calls = vec![None; alerts.len()];
    for (now, begins, at) in events {
        desk.run_until(now);
        if begins {
            calls[at] = Some(desk.open(incident(&alerts[at], now), None, now));
        } else if let Some(call) = calls[at] {
            desk.resolve(call, now);
        }
    }
    desk.run_until(until);
    let outcome = |call: Option<usize>| match call {
        Some(call) => desk.outcome(call, until),
        None => Outcome { nobody: Some("it fired later".to_owned()), ..Outcome::default() },
    };
    calls.into_iter().map(outcome).collect()
}

fn incident(alert: &PastAlert, now: Time) -> Incident {
    let label = |name: &str| alert.labels.get(name).map_or("", String::as_str);
    let severity = alert.labels.get("severity").map_or("critical", String::as_str);
    let (name, began) = (label("alertname"), alert.active_at);
    Incident::new(String::new(), name.to_owned(), name, severity, began, now)
}

#[cfg(test)]
mod tests;
