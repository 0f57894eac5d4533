//! Failovers in the loop: when their guards are asked, and that their steps are done. What triggers them by alert or burn rate
//! is in [`super::triggers`].
//!
//! Guards are asked of one failover of a service, and of a policy, at a time, so that each sees what the one before was
//! allowed to do.

use std::{sync::Arc, time::Duration};

use tracing::warn;
use watchkeep_catalog::{
    Failover, FailoverState, Incident, IncidentStatus, Instance, PageKind, Panic, SilenceReason,
    Status, Time,
};

use super::{Done, EFFECTS_MAX, Effect, Room};
use crate::{
    context::Context,
    failover::{
        self,
        guard::{Inputs, Member, Past},
        judge::{Judged, expire, judge},
    },
    incident::{self, WATCHKEEP},
    mirror::{Target, Versioned},
    store::{self, Extra, NotWritten, Written},
    verdict::tally,
};

/// Failovers under way beside all other effects.
const FAILOVERS_MAX: usize = 1_000;
/// Pause after a decision that was not written: the watch tells what there is instead.
const PAUSE: Duration = Duration::from_millis(50);

impl Room {
    /// Does the steps of what is decided.
    pub(super) fn start_failovers(&mut self, fence: i64) {
        for id in &self.mirror.failovers_pending {
            let effect = Effect::Failover(id.clone());
            // Pages that wait for their receivers do not keep them waiting.
            let is_full = self.running.len() >= EFFECTS_MAX + FAILOVERS_MAX;
            if is_full || self.running.contains(&effect) {
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
                    judge(policy, record, self.holds(record, now), &inputs, &self.context.id, now)
                }
                FailoverState::AwaitingApproval if !self.holds(record, now) => {
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

    /// Whether what triggered it is still so: its incident is not resolved, and what else it was is there.
    fn holds(&self, record: &Failover, now: Time) -> bool {
        let incident = self.mirror.incidents.get(&record.incident);
        let is_open =
            incident.is_none_or(|incident| incident.record.status != IncidentStatus::Resolved);
        is_open && (record.rehearsal || self.is_still_there(record, now))
    }

    /// The maintenance window that covers what it is about: all that is critical of an instance, or, of one that is
    /// registered no more, the instance itself.
    fn in_maintenance(&self, target: &Target) -> Option<&str> {
        if target.instance.is_empty() {
            return self.open.of_service(&target.service);
        }
        let Some(instance) = self.mirror.instances.get(target).map(|known| &known.record) else {
            return self.open.covering(&gone(target), &[String::new()]);
        };
        let jury = self.jury(&target.service);
        let critical = tally(instance, &self.mirror.heard(target), jury).map(|t| t.critical);
        let checks = match critical.filter(|checks| !checks.is_empty()) {
            Some(checks) => checks,
            None if instance.checks.is_empty() => vec![String::new()],
            None => instance.checks.iter().map(|check| check.name.clone()).collect(),
        };
        self.open.covering(instance, &checks)
    }

    /// Why an instance is not believed to have failed by itself, although it was when the failover was triggered.
    fn doubt(&self, target: &Target) -> Option<String> {
        if let Some(panic) = self.mirror.panics.get(&target.service) {
            let Panic { service, incident, .. } = &panic.record;
            return Some(format!("{service} is in panic: incident {incident}"));
        }
        let silence = self.mirror.verdicts.get(target)?.record.silenced.as_ref()?;
        let depends = matches!(silence.reason, SilenceReason::Dependency | SilenceReason::Waiting);
        depends.then(|| format!("{}, which it depends on, is down, or may be", silence.by))
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
        let zone = own.map(|own| own.zone.clone()).or(known_zone).unwrap_or_default();
        let maintenance = self.in_maintenance(&target);
        let stop = self.mirror.failover_stop.as_ref();
        Inputs {
            service: record.service.clone(),
            instance: record.instance.clone(),
            members: members.collect(),
            past: past.collect(),
            collectors: match record.instance.as_str() {
                "" => self.mirror.collectors.len(),
                _ => self.mirror.critical_collectors(&target),
            },
            maintenance: maintenance.map(str::to_owned),
            never_passed: record.never_passed
                || self.mirror.verdicts.get(&target).is_some_and(|v| v.record.never_passed),
            doubt: self.doubt(&target),
            zone,
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
            tokio::time::sleep(PAUSE).await;
            None
        }
        Err(_) => {
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

/// What is left of an instance that is registered no more.
fn gone(target: &Target) -> Instance {
    Instance {
        service: target.service.clone(),
        id: target.instance.clone(),
        address: String::new(),
        port: 0,
        zone: String::new(),
        role: String::new(),
        weight: 1,
        tags: Vec::new(),
        metadata: std::collections::BTreeMap::new(),
        checks: Vec::new(),
        scrape: None,
    }
}
