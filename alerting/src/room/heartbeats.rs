//! Heartbeats that do not come: an incident while they are late, over when they are back. What somebody has resolved stays
//! so until the next one comes, and another does not.

use std::sync::Arc;

use chrono::TimeDelta;
use tracing::warn;
use watchkeep_catalog::{Heartbeat, Incident, Time};

use super::{Done, Room};
use crate::{
    clock,
    config::HeartbeatConfig,
    incident::{self, Finding, Raised, Report, WATCHKEEP},
    text::clock,
};

/// The alert of a heartbeat that is late; it has a runbook of this name.
const HEARTBEAT_MISSED: &str = "HeartbeatMissed";

impl Room {
    /// Looks who is late, and who is back.
    pub(super) fn listen(&mut self, fence: i64, now: Time) {
        for config in &self.rules.heartbeats {
            let key = dedup_key(&config.name);
            let open = self.mirror.keyed.contains_key(&key);
            let last = self.mirror.heartbeats.get(&config.name);
            let Some(report) = judge(config, last, open, now) else { continue };
            if matches!(report, Report::Trigger(_)) && self.is_settled(config, &key) {
                continue;
            }
            if !self.hearing.insert(config.name.clone()) {
                continue;
            }
            let (context, rules) = (Arc::clone(&self.context), self.rules.clone());
            let name = config.name.clone();
            self.tasks.spawn(async move {
                let client = &context.client;
                let raised = incident::report(client, &rules, Some(fence), &report, clock::now());
                match raised.await {
                    Ok(Raised::Opened(incident) | Raised::Changed(incident)) => {
                        return Done::Heard(name, Some(Box::new(incident)));
                    }
                    Ok(_) => {}
                    Err(error) => warn!(heartbeat = name, %error, "not reported yet"),
                }
                Done::Heard(name, None)
            });
        }
    }

    /// Whether somebody has resolved the incident of the one that is late now.
    fn is_settled(&self, config: &HeartbeatConfig, key: &str) -> bool {
        let Some(last) = self.mirror.heartbeats.get(&config.name) else { return false };
        let incidents = self.mirror.incidents.values().map(|incident| &incident.record);
        settled(incidents.filter(|i| i.dedup_key.as_deref() == Some(key)), deadline(config, last))
    }
}

/// One that was resolved while it was late already: not because it came, nor because it may come later than before.
fn settled<'a>(mut incidents: impl Iterator<Item = &'a Incident>, deadline: Time) -> bool {
    incidents.any(|incident| incident.resolved_at.is_some_and(|at| at > deadline))
}

/// The key under which a heartbeat's incidents are deduplicated.
fn dedup_key(name: &str) -> String {
    format!("heartbeat/{name}")
}

/// Until when the next one has to come.
pub(crate) fn deadline(config: &HeartbeatConfig, last: &Heartbeat) -> Time {
    let wait = i64::from(config.interval_seconds) + i64::from(config.grace_seconds);
    last.at + TimeDelta::seconds(wait)
}

/// What is to be reported. One that has never come is not waited for yet.
fn judge(
    config: &HeartbeatConfig,
    last: Option<&Heartbeat>,
    open: bool,
    now: Time,
) -> Option<Report> {
    let last = last?;
    let (name, dedup_key) = (&config.name, dedup_key(&config.name));
    let late = deadline(config, last) < now;
    if open && !late {
        let why = format!("the heartbeat is back: {}", clock(last.at));
        return Some(Report::Resolve { dedup_key, by: WATCHKEEP.to_owned(), why });
    }
    if open || !late {
        return None;
    }
    let labels =
        [("alertname", HEARTBEAT_MISSED), ("severity", &config.severity), ("heartbeat", name)];
    let (interval, grace) = (config.interval_seconds, config.grace_seconds);
    let text = format!(
        "It is to come every {interval} s, and may be {grace} s late. It came last at {}.",
        clock(last.at)
    );
    Some(Report::Trigger(Finding {
        dedup_key,
        title: format!("heartbeat {name} is missing since {}", clock(last.at)),
        alert: HEARTBEAT_MISSED.to_owned(),
        severity: config.severity.clone(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        details: [("description".to_owned(), text)].into(),
        source: "heartbeat".to_owned(),
        escalation: config.escalation.clone(),
        started_at: last.at,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    #[test]
    fn late_and_back() {
        let config = HeartbeatConfig {
            name: "backup".to_owned(),
            interval_seconds: 60,
            grace_seconds: 10,
            severity: "warning".to_owned(),
            escalation: None,
        };
        let last = Heartbeat { name: "backup".to_owned(), at: time(0) };
        let judged = |last, open, seconds| judge(&config, last, open, time(seconds));
        assert_eq!(judged(None, false, 9_999), None);
        assert_eq!(judged(Some(&last), false, 70), None);
        let Some(Report::Trigger(finding)) = judged(Some(&last), false, 71) else { panic!() };
        assert_eq!(finding.title, "heartbeat backup is missing since 2026-01-05 09:00:00 UTC");
        assert_eq!(judged(Some(&last), true, 72), None);
        assert!(matches!(judged(Some(&last), true, 70), Some(Report::Resolve { .. })));
    }

    #[test]
    fn what_somebody_has_resolved_stays_so_until_the_next_is_missed() {
        let config = HeartbeatConfig {
            name: "backup".to_owned(),
            interval_seconds: 60,
            grace_seconds: 10,
            severity: "warning".to_owned(),
            escalation: None,
        };
        let at = |seconds| Heartbeat { name: "backup".to_owned(), at: time(seconds) };
        let incident = |resolved: Option<i64>| {
            let mut incident =
                Incident::new("i".to_owned(), "t".to_owned(), "a", "warning", time(0), time(71));
            incident.resolved_at = resolved.map(time);
            incident
        };
        for (last, resolved, expected) in [
            // Open, or resolved by hand after it was late.
            (0, None, false),
            (0, Some(80), true),
            // The next one came at 100, and is late at 170.
            (100, Some(80), false),
            // Resolved since it came back, and since the interval was made longer.
            (100, Some(101), false),
        ] {
            let deadline = deadline(&config, &at(last));
            let incident = incident(resolved);
            assert_eq!(settled([&incident].into_iter(), deadline), expected, "{last} {resolved:?}");
        }
    }
}
