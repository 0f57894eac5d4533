//! A group of rules over a node's history: which alerts fired, from when until when. Nothing is written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::bail;
use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use watchkeep_alerting::{
    paging::PastAlert,
    rule::{
        Active, AlertState, Environment, Group, GroupState, Labels, RuleKind, RuleSettings, Sample,
        Sink, evaluate,
    },
    template::Site,
};

use super::history::{Grid, History};
use crate::cli::api::Api;

/// Evaluations of one rule.
const STEPS_MAX: i64 = 1_000_000;

/// Takes no samples: history has what was recorded.
struct Nowhere;

impl Sink for Nowhere {
    fn write(&self, _: Vec<Sample>) -> Result<(), String> {
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The alerts that a group would have fired when it was evaluated from `from` until `to`, in milliseconds.
pub(super) fn replay(
    group: &Group,
    settings: &RuleSettings,
    (api, handle): (&Api, &Handle),
    (from, to): (i64, i64),
) -> anyhow::Result<Vec<PastAlert>> {
    let step = millis(group.interval).max(1);
    if (to - from) / step > STEPS_MAX {
        bail!("group {}: more than {STEPS_MAX} evaluations; replay a shorter time", group.name);
    }
    let offset = millis(group.query_offset.unwrap_or(settings.query_offset));
    let exprs = group.rules.iter().filter(|rule| matches!(rule.kind, RuleKind::Alert(_)));
    let exprs: Vec<&str> = exprs.map(|rule| rule.expr.as_str()).collect();
    let grid = Grid { from: from - offset, to: to - offset, step };
    let environment = Environment {
        ask: Arc::new(History::read(api, handle, &exprs, grid)?),
        external_labels: settings.external_labels.clone(),
        site: Site { external_url: settings.external_url.clone() },
        query_offset: settings.query_offset,
    };
    let mut state = GroupState::new(group);
    let mut open: BTreeMap<(usize, Labels), PastAlert> = BTreeMap::new();
    let mut fired = Vec::new();
    let mut now = from;
    while now <= to {
        for at in 0..group.rules.len() {
            if matches!(group.rules[at].kind, RuleKind::Record(_)) {
                continue;
            }
            for labels in evaluate(group, at, &mut state, now, &environment, &Nowhere) {
                if let Some(alert) = open.remove(&(at, labels)) {
                    fired.push(PastAlert { ended_at: Some(time(now)), ..alert });
                }
            }
            let rule = &state.rules[at];
            if let Some(error) = &rule.last_error {
                bail!("{}: {error}", group.rules[at].name());
            }
            for (labels, active) in
                rule.active.iter().filter(|(_, a)| a.state == AlertState::Firing)
            {
                let key = (at, labels.clone());
                open.entry(key).or_insert_with(|| begun(labels, active, now));
            }
        }
        now += step;
    }
    fired.extend(open.into_values());
    Ok(fired)
}

fn begun(labels: &Labels, active: &Active, now: i64) -> PastAlert {
    PastAlert {
        labels: labels.clone(),
        annotations: active.annotations.clone(),
        active_at: time(active.active_at_ms),
        fired_at: time(active.fired_at_ms.unwrap_or(now)),
        ended_at: None,
    }
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
