//! What triggers failovers but verdicts, which do so in the decision on them: alerts that fire, and burn rates that are asked
//! for now and then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tracing::debug;
use watchkeep_catalog::{Alert, Failover, Incident, IncidentStatus, Time, check_name};

use super::{
    Done, Room,
    trigger::{KEY, Trigger, settle},
};
use crate::{
    alertmanager::{Matcher, parse_matcher},
    config::FailoverPolicy,
    context::Context,
    failover,
    mirror::{Target, Versioned},
    rule::parse_duration,
    source::RowValue,
};

/// How often burn rates are asked for.
const BURN_INTERVAL: Duration = Duration::from_secs(15);
/// The end of the dedup key of what a burn rate has opened.
const BURN: &str = "/burn";
/// Triggers that are being written at once; the others wait.
const TRIGGERS_MAX: usize = 64;

/// What alerts and burn rates trigger.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    /// Being written, by dedup key; with the incident that each goes to, where there is one already.
    pub(super) under_way: BTreeMap<String, Option<String>>,
    /// Policies whose burn rate is exceeded: since when, and how fast.
    burning: BTreeMap<String, (Time, f64)>,
    /// Policies of which this leader knows that it is not exceeded.
    calm: BTreeSet<String>,
    asked: Option<Instant>,
}

impl Room {
    /// Begins what alerts and burn rates trigger, and ends the incidents of triggers that are gone.
    pub(super) fn trigger_failovers(&mut self, fence: i64, now: Time) {
        self.ask_burn_rates(now);
        let triggers: Vec<Trigger> =
            self.rules.policies.iter().flat_map(|policy| self.triggers_of(policy, now)).collect();
        let there: BTreeSet<&str> = triggers.iter().map(|trigger| trigger.key.as_str()).collect();
        let own = self.mirror.keyed.keys().filter(|key| key.starts_with(KEY));
        let is_new = |key: &&String| !self.triggers.under_way.contains_key(*key);
        let gone: Vec<String> = own
            .filter(|key| !there.contains(key.as_str()))
            .filter(is_new)
            .filter(|key| self.is_known_gone(key))
            .cloned()
            .collect();
        for key in gone {
            let context = Arc::clone(&self.context);
            self.triggers.under_way.insert(key.clone(), None);
            self.tasks.spawn(async move {
                settle(&context, fence, key.clone(), now).await;
                Done::Triggered(key, None)
            });
        }
        for trigger in triggers {
            if self.triggers.under_way.len() >= TRIGGERS_MAX {
                break;
            }
            if self.triggers.under_way.contains_key(&trigger.key) || self.is_answered(&trigger) {
                continue;
            }
            // An incident tells of one failover: its pages and links mean that one.
            let taken: BTreeSet<&String> = self.triggers.under_way.values().flatten().collect();
            let same = |incident: &&Versioned<Incident>| {
                let record = &incident.record;
                record.status != IncidentStatus::Resolved
                    && record.labels == trigger.labels
                    && record.failover.is_none()
                    && !taken.contains(&record.id)
            };
            let open = self.mirror.keyed.get(&trigger.key).cloned();
            let open = open
                .or_else(|| self.mirror.incidents.values().find(same).map(|i| i.record.id.clone()));
            let (context, key) = (Arc::clone(&self.context), trigger.key.clone());
            let stopped = self.mirror.failover_stop.is_some() || !self.rules.failover_enabled;
            self.triggers.under_way.insert(key.clone(), open.clone());
            self.tasks.spawn(async move {
                let written = trigger.begin(&context, fence, open, stopped, now).await;
                Done::Triggered(key, written.map(Box::new))
            });
        }
    }

    /// A burn rate of which this leader has heard nothing yet may still be there.
    fn is_known_gone(&self, key: &str) -> bool {
        let policy = key.strip_prefix(KEY).and_then(|rest| rest.strip_suffix(BURN));
        let Some(policy) = policy else { return true };
        let asks = self.rules.policy(policy).is_some_and(|p| p.when.burn_rate.is_some());
        !asks || self.triggers.calm.contains(policy)
    }

    /// Whether a failover answers it already: one that was decided since it is there, or whose incident is still open. Of an
    /// alert that is known by the alert, whatever has become of its instance.
    fn is_answered(&self, trigger: &Trigger) -> bool {
        let is_open = |id: &str| {
            let incident = self.mirror.incidents.get(id);
            incident.is_some_and(|incident| incident.record.status != IncidentStatus::Resolved)
        };
        self.mirror.failovers.values().map(|known| &known.record).any(|known| {
            let same_alert = known.alert == trigger.fingerprint;
            let same_place =
                (&known.service, &known.instance) == (&trigger.service, &trigger.instance);
            let same = same_place || (same_alert && known.alert.is_some());
            known.policy == trigger.policy.name
                && !known.rehearsal
                && ((same && known.decided_at >= trigger.since)
                    || (same_alert && is_open(&known.incident)))
        })
    }

    /// Whether the alert or burn rate that triggered it is still there. What is not known of it is as it was.
    pub(super) fn is_still_there(&self, record: &Failover, now: Time) -> bool {
        let policy = self.rules.policy(&record.policy);
        if policy.is_some_and(|policy| policy.when.burn_rate.is_some()) {
            return !self.triggers.calm.contains(&record.policy);
        }
        let alert = record.alert.as_ref();
        alert.and_then(|fingerprint| self.mirror.fires(fingerprint, now)).unwrap_or(true)
    }

    fn triggers_of(&self, policy: &FailoverPolicy, now: Time) -> Vec<Trigger> {
        let when = &policy.when;
        if let (Some(burn), Some(service)) = (&when.burn_rate, &when.service) {
            let Some((since, rate)) = self.triggers.burning.get(&policy.name) else {
                return Vec::new();
            };
            // The same hour burns once.
            let window =
                parse_duration(&burn.window).ok().and_then(|w| chrono::TimeDelta::from_std(w).ok());
            let began = *since;
            let since = window.map_or(began, |window| began.min(now - window));
            let instance = when.instance.clone().unwrap_or_default();
            let labels = BTreeMap::from([
                ("alertname".to_owned(), "WatchkeepSloBudgetBurnFast".to_owned()),
                ("service".to_owned(), service.clone()),
            ]);
            return vec![Trigger {
                policy: policy.clone(),
                key: format!("{KEY}{}{BURN}", policy.name),
                fingerprint: None,
                service: service.clone(),
                instance,
                reason: format!("burn rate {rate:.1} over {}, above {}", burn.window, burn.above),
                since,
                began,
                alert: "WatchkeepSloBudgetBurnFast".to_owned(),
                severity: "critical".to_owned(),
                labels,
            }];
        }
        if when.alert.is_empty() {
            return Vec::new();
        }
        let matchers: Vec<Matcher> =
            when.alert.iter().filter_map(|m| parse_matcher(m).ok()).collect();
        let fires = |alert: &&Alert| {
            !alert.is_resolved(now) && matchers.iter().all(|matcher| matcher.matches(&alert.labels))
        };
        let alerts = self.mirror.alerts.iter().filter(|(_, alert)| fires(alert));
        alerts
            .filter_map(|(fingerprint, alert)| self.trigger_of(policy, fingerprint, alert))
            .collect()
    }

    fn trigger_of(
        &self,
        policy: &FailoverPolicy,
        fingerprint: &str,
        alert: &Alert,
    ) -> Option<Trigger> {
        let (when, label) = (&policy.when, |name: &str| alert.labels.get(name).cloned());
        let service = label("service").or_else(|| when.service.clone())?;
        // What anybody posts as a service becomes part of keys, arguments and expressions.
        check_name("service", &service).ok()?;
        if when.service.as_ref().is_some_and(|wanted| *wanted != service) {
            return None;
        }
        // A label `instance` is often an address, and no instance of ours.
        let is_ours = |id: &String| self.mirror.instances.contains_key(&Target::new(&service, id));
        let instance = when.instance.clone().or_else(|| label("instance").filter(is_ours));
        let name = label("alertname").unwrap_or_default();
        let summary = alert.annotations.get("summary").cloned();
        Some(Trigger {
            policy: policy.clone(),
            key: format!("{KEY}{}/{fingerprint}", policy.name),
            fingerprint: Some(fingerprint.to_owned()),
            instance: instance.unwrap_or_default(),
            reason: summary
                .map_or_else(|| format!("alert {name} fires"), |s| format!("alert {name}: {s}")),
            since: alert.starts_at,
            began: alert.starts_at,
            alert: name,
            severity: label("severity").unwrap_or_else(|| "critical".to_owned()),
            labels: alert.labels.clone(),
            service,
        })
    }

    /// Asks for the burn rates, now and then.
    fn ask_burn_rates(&mut self, now: Time) {
        if self.triggers.asked.is_some_and(|asked| asked.elapsed() < BURN_INTERVAL) {
            return;
        }
        self.triggers.asked = Some(Instant::now());
        for policy in &self.rules.policies {
            let (Some(burn), Some(service)) = (&policy.when.burn_rate, &policy.when.service) else {
                continue;
            };
            let promised =
                self.mirror.services.get(service).and_then(|s| s.slo.as_ref()?.availability);
            let objective = burn.objective.or(promised).unwrap_or(self.context.availability);
            let (context, name) = (Arc::clone(&self.context), policy.name.clone());
            let expr = failover::failed_share(service, burn);
            self.tasks.spawn(async move {
                let rate = ask(&context, &expr, now).await;
                Done::Burned(name, rate.map(|share| share / (1.0 - objective)))
            });
        }
    }

    /// A policy's burn rate is known anew; nothing: it is as it was.
    pub(super) fn burned(&mut self, policy: &str, rate: Option<f64>) {
        let (Some(rate), Some(known)) = (rate, self.rules.policy(policy)) else { return };
        let Some(burn) = &known.when.burn_rate else { return };
        if rate > burn.above {
            let since = self.triggers.burning.get(policy).map(|(since, _)| *since);
            let since = since.unwrap_or_else(crate::clock::now);
            self.triggers.calm.remove(policy);
            self.triggers.burning.insert(policy.to_owned(), (since, rate));
        } else {
            self.triggers.burning.remove(policy);
            self.triggers.calm.insert(policy.to_owned());
        }
    }
}

async fn ask(context: &Context, expr: &str, now: Time) -> Option<f64> {
    match context.source.query(expr, now.timestamp_millis()).await {
        Ok(answer) => {
            let rows = answer.into_rows(now.timestamp_millis())?;
            rows.first()
                .and_then(|row| RowValue::float(&row.value))
                .filter(|share| share.is_finite())
        }
        Err(error) => {
            debug!(%error, "a burn rate is not known");
            None
        }
    }
}
