//! Failovers in the loop: what triggers them, when their guards are asked, and that their steps are done.
//!
//! Guards are asked of one failover of a service, and of a policy, at a time, so that each sees what the one before was
//! allowed to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, warn};
use watchkeep_catalog::{
    Alert, Failover, FailoverState, Incident, IncidentStatus, PageKind, Status, Time,
};

use super::{Done, EFFECTS_MAX, Effect, Room};
use crate::{
    alertmanager::{Matcher, parse_matcher},
    config::{BurnRate, FailoverPolicy},
    context::Context,
    failover::{
        self,
        guard::{Inputs, Member, Past},
        judge::{Judged, begin, expire, judge},
    },
    incident::{self, Finding, Report, WATCHKEEP},
    mirror::{Target, Versioned},
    rule::parse_duration,
    source::RowValue,
    store::{self, Extra, NotWritten, StoreError, Written},
};

/// How often burn rates are asked for.
const BURN_INTERVAL: Duration = Duration::from_secs(15);
/// Dedup keys of incidents that only a failover's trigger has opened.
const KEY: &str = "failover/";
/// Who opened them.
const SOURCE: &str = "failover";

/// What alerts and burn rates trigger.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    /// Being written, by dedup key.
    pub(super) under_way: BTreeSet<String>,
    /// Policies whose burn rate is exceeded: since when, and how fast.
    burning: BTreeMap<String, (Time, f64)>,
    asked: Option<Instant>,
}

/// A trigger that is there.
struct Trigger {
    policy: FailoverPolicy,
    key: String,
    service: String,
    instance: String,
    reason: String,
    since: Time,
    alert: String,
    severity: String,
    labels: BTreeMap<String, String>,
}

impl Room {
    /// Does the steps of what is decided.
    pub(super) fn start_failovers(&mut self, fence: i64) {
        for id in &self.mirror.failovers_pending {
            let effect = Effect::Failover(id.clone());
            if self.running.len() >= EFFECTS_MAX || self.running.contains(&effect) {
                continue;
            }
            let Some(failover) = self.mirror.failovers.get(id).cloned() else { continue };
            let context = Arc::clone(&self.context);
            self.running.insert(effect.clone());
            self.tasks.spawn(async move {
                let written = failover::execute(context, fence, failover).await;
                Done::Called(effect, written.map(Box::new))
            });
        }
    }

    /// Decides on what is due, and on what nobody has confirmed in time.
    pub(super) fn judge_failovers(&mut self, fence: i64, now: Time) {
        for id in self.mirror.failovers_undecided.clone() {
            let Some(known) = self.mirror.failovers.get(&id) else { continue };
            let record = &known.record;
            let busy = self.judging.iter().any(|(other, (service, policy))| {
                *other == id || *service == record.service || *policy == record.policy
            });
            if busy {
                continue;
            }
            let due = |at: Option<Time>| at.is_none_or(|at| at <= now);
            let judged = match record.state {
                FailoverState::Deciding if due(record.due_at) => {
                    let policy = self.rules.policy(&record.policy);
                    let inputs = self.inputs(record);
                    judge(policy, record, self.holds(record), &inputs, &self.context.id, now)
                }
                FailoverState::AwaitingApproval if !self.holds(record) => {
                    let policy = self.rules.policy(&record.policy);
                    judge(policy, record, false, &self.inputs(record), &self.context.id, now)
                }
                FailoverState::AwaitingApproval if due(record.expires_at) => expire(record, now),
                _ => continue,
            };
            let place = (record.service.clone(), record.policy.clone());
            let (context, failover) = (Arc::clone(&self.context), known.clone());
            self.judging.insert(id.clone(), place);
            self.tasks.spawn(async move {
                let written = write_judged(&context, fence, failover, judged, now).await;
                Done::Judged(id, written.map(Box::new))
            });
        }
    }

    /// Whether what triggered it is still so: its incident is not resolved.
    fn holds(&self, record: &Failover) -> bool {
        let incident = self.mirror.incidents.get(&record.incident);
        incident.is_none_or(|incident| incident.record.status != IncidentStatus::Resolved)
    }

    /// What its guards are to know.
    fn inputs(&self, record: &Failover) -> Inputs {
        let target = Target::new(&record.service, &record.instance);
        let own = self.mirror.instances.get(&target).map(|instance| &instance.record);
        let labels = self.mirror.incidents.get(&record.incident).map(|i| &i.record.labels);
        let known_zone = labels.and_then(|labels| labels.get("zone")).cloned();
        let members = self.mirror.members(&record.service).filter_map(|member| {
            let instance = &self.mirror.instances.get(&member)?.record;
            let verdict = self.mirror.verdicts.get(&member).map(|verdict| verdict.record.status);
            let passes = verdict.map_or(instance.checks.is_empty(), |s| s == Status::Passing);
            Some(Member {
                id: instance.id.clone(),
                zone: instance.zone.clone(),
                serves: passes && !self.mirror.drains.contains_key(&member),
            })
        });
        let others = self.mirror.failovers.values().map(|other| &other.record);
        let others = others.filter(|other| other.id != record.id && !other.rehearsal);
        let past = others.filter_map(|other| {
            Some(Past {
                id: other.id.clone(),
                policy: other.policy.clone(),
                service: other.service.clone(),
                instance: other.instance.clone(),
                started_at: other.started_at.or_else(|| before_journals(other))?,
                finished_at: other.finished_at,
            })
        });
        let maintenance = match own {
            Some(instance) if instance.checks.is_empty() => {
                self.open.covering(instance, &[String::new()])
            }
            Some(instance) => {
                let checks: Vec<_> = instance.checks.iter().map(|c| c.name.clone()).collect();
                self.open.covering(instance, &checks)
            }
            None => self.open.of_service(&record.service),
        };
        let stop = self.mirror.failover_stop.as_ref();
        Inputs {
            service: record.service.clone(),
            instance: record.instance.clone(),
            zone: own.map(|own| own.zone.clone()).or(known_zone).unwrap_or_default(),
            members: members.collect(),
            past: past.collect(),
            collectors: match record.instance.as_str() {
                "" => self.mirror.collectors.len(),
                _ => self.mirror.critical_collectors(&target),
            },
            maintenance: maintenance.map(str::to_owned),
            stopped: stop.map(|stop| match stop.reason.as_str() {
                "" => stop.by.clone(),
                reason => format!("{}: {reason}", stop.by),
            }),
            enabled: self.rules.failover_enabled,
        }
    }

    pub(super) fn enter_failover(&mut self, (failover, incident): Written) {
        let id = failover.record.id.clone();
        self.mirror.set_failover(&id, failover);
        if let Some(incident) = incident {
            self.enter(incident);
        }
    }

    /// Begins what alerts and burn rates trigger, and ends the incidents of triggers that are gone.
    pub(super) fn trigger_failovers(&mut self, fence: i64, now: Time) {
        self.ask_burn_rates(now);
        let triggers: Vec<Trigger> =
            self.rules.policies.iter().flat_map(|policy| self.triggers_of(policy, now)).collect();
        let there: BTreeSet<&str> = triggers.iter().map(|trigger| trigger.key.as_str()).collect();
        let own = self.mirror.keyed.keys().filter(|key| key.starts_with(KEY));
        let gone: Vec<String> = own
            .filter(|key| !there.contains(key.as_str()) && !self.triggers.under_way.contains(*key))
            .filter(|key| self.is_known_gone(key))
            .cloned()
            .collect();
        for key in gone {
            let context = Arc::clone(&self.context);
            self.tasks.spawn(async move {
                settle(&context, fence, key, now).await;
                Done::Settled
            });
        }
        for trigger in triggers {
            if self.is_answered(&trigger) || self.triggers.under_way.contains(&trigger.key) {
                continue;
            }
            let same = |incident: &&Versioned<Incident>| {
                let record = &incident.record;
                record.status != IncidentStatus::Resolved && record.labels == trigger.labels
            };
            let open = self.mirror.keyed.get(&trigger.key).cloned();
            let open = open
                .or_else(|| self.mirror.incidents.values().find(same).map(|i| i.record.id.clone()));
            let (context, key) = (Arc::clone(&self.context), trigger.key.clone());
            let stopped = self.mirror.failover_stop.is_some() || !self.rules.failover_enabled;
            self.triggers.under_way.insert(key.clone());
            self.tasks.spawn(async move {
                let written = trigger.begin(&context, fence, open, stopped, now).await;
                Done::Triggered(key, written.map(Box::new))
            });
        }
    }

    /// A burn rate that was not asked for yet by this leader may still be there.
    fn is_known_gone(&self, key: &str) -> bool {
        !key.ends_with("/burn")
            || self.triggers.asked.is_some_and(|at| at.elapsed() > BURN_INTERVAL / 2)
    }

    /// Whether a failover answers it already.
    fn is_answered(&self, trigger: &Trigger) -> bool {
        self.mirror.failovers.values().map(|known| &known.record).any(|known| {
            known.policy == trigger.policy.name
                && (&known.service, &known.instance) == (&trigger.service, &trigger.instance)
                && known.decided_at >= trigger.since
                && !known.rehearsal
        })
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
            let since = window.map_or(*since, |window| (*since).min(now - window));
            let instance = when.instance.clone().unwrap_or_default();
            let labels = BTreeMap::from([
                ("alertname".to_owned(), "WatchkeepSloBudgetBurnFast".to_owned()),
                ("service".to_owned(), service.clone()),
            ]);
            return vec![Trigger {
                policy: policy.clone(),
                key: format!("{KEY}{}/burn", policy.name),
                service: service.clone(),
                instance,
                reason: format!("burn rate {rate:.1} over {}, above {}", burn.window, burn.above),
                since,
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
            instance: instance.unwrap_or_default(),
            reason: summary
                .map_or_else(|| format!("alert {name} fires"), |s| format!("alert {name}: {s}")),
            since: alert.starts_at,
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
            let expr = burn_expression(service, burn);
            self.tasks.spawn(async move {
                let rate = failed_share(&context, &expr, now).await;
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
            self.triggers.burning.insert(policy.to_owned(), (since, rate));
        } else {
            self.triggers.burning.remove(policy);
        }
    }
}

/// The share of failed probes.
fn burn_expression(service: &str, burn: &BurnRate) -> String {
    let series = format!("probe_success{{service={service:?}}}[{}]", burn.window);
    format!("1 - sum(sum_over_time({series})) / sum(count_over_time({series}))")
}

async fn failed_share(context: &Context, expr: &str, now: Time) -> Option<f64> {
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

/// One of a version that kept no journal of steps: it acted when it was decided, if ever.
fn before_journals(failover: &Failover) -> Option<Time> {
    failover.attempts.first().map(|attempt| attempt.at)
}

/// Writes what was decided, and tells whoever is to be told.
async fn write_judged(
    context: &Context,
    fence: i64,
    mut failover: Versioned<Failover>,
    judged: Judged,
    now: Time,
) -> Option<Written> {
    let Judged { record, note, page } = judged;
    let acts = record.state == FailoverState::Pending;
    failover.record = record;
    let change = |incident: &mut Incident| {
        incident::note(incident, now, WATCHKEEP, note.clone());
        if let Some(reason) = page.filter(|_| incident.status != IncidentStatus::Resolved) {
            let to = context.rules.recipients(incident.on_call.as_deref());
            incident::page(incident, reason, PageKind::Firing, &to);
        }
        true
    };
    failover::point("judged");
    let extra = Extra { acts, ..Extra::default() };
    match store::write_failover(&context.client, fence, failover, &extra, change).await {
        Ok(written) => {
            tracing::info!(failover = written.0.record.id, "{note}");
            Some(written)
        }
        // The watch tells what it is instead, and it is decided on that.
        Err(NotWritten::Failed(error)) => {
            warn!(%error, "a failover is not known to be decided on, deciding again");
            None
        }
        Err(_) => None,
    }
}

impl Trigger {
    /// Writes the failover, and its incident before it where there is none.
    async fn begin(
        &self,
        context: &Context,
        fence: i64,
        open: Option<String>,
        stopped: bool,
        now: Time,
    ) -> Option<Written> {
        let incident = match open {
            Some(open) => open,
            None => match self.open(context, fence, now).await {
                Ok(id) => id?,
                Err(error) => {
                    warn!(%error, policy = self.policy.name, "a failover is not begun yet");
                    return None;
                }
            },
        };
        let id = format!("{incident}.{}", self.policy.name);
        let record = Failover {
            reason: self.reason.clone(),
            incident,
            ..Failover::new(id.clone(), &self.policy.name, &self.service, &self.instance, now)
        };
        let record = begin(&self.policy, record, &context.id, stopped);
        let acts = record.state == FailoverState::Pending;
        let note = format!("failover {} is triggered: {}", self.policy.name, self.reason);
        let change = |incident: &mut Incident| {
            incident.failover = Some(id.clone());
            incident::note(incident, now, WATCHKEEP, note.clone());
            true
        };
        let failover = Versioned { record, create_revision: 0, mod_revision: 0 };
        let extra = Extra { acts, ..Extra::default() };
        match store::write_failover(&context.client, fence, failover, &extra, change).await {
            Ok(written) => Some(written),
            Err(NotWritten::Failed(error)) => {
                warn!(%error, policy = self.policy.name, "a failover is not begun yet");
                None
            }
            Err(_) => None,
        }
    }

    async fn open(
        &self,
        context: &Context,
        fence: i64,
        now: Time,
    ) -> Result<Option<String>, StoreError> {
        let report = Report::Trigger(Finding {
            dedup_key: self.key.clone(),
            title: format!("{}: {}", self.service, self.reason),
            alert: self.alert.clone(),
            severity: self.severity.clone(),
            labels: self.labels.clone(),
            details: BTreeMap::new(),
            source: SOURCE.to_owned(),
            escalation: None,
            started_at: self.since.min(now),
        });
        let raised = incident::report(&context.client, &context.rules, Some(fence), &report, now);
        Ok(raised.await?.incident().map(|incident| incident.id.clone()))
    }
}

/// The trigger is gone: its own incident ends.
async fn settle(context: &Context, fence: i64, dedup_key: String, now: Time) {
    let why = "what triggered the failover is over".to_owned();
    let report = Report::Resolve { dedup_key, by: WATCHKEEP.to_owned(), why };
    let settled = incident::report(&context.client, &context.rules, Some(fence), &report, now);
    if let Err(error) = settled.await {
        debug!(%error, "an incident of a failover is not ended yet");
    }
}
