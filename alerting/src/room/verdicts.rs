//! Verdicts and panics in the loop: on what is decided now, and what came of it.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;
use watchkeep_catalog::{KeyValue, Status, Time};

use super::{
    Done, Room,
    commit::{self, Outcome},
    panics,
};
use crate::{
    decide::{Decision, Hold, View, decide, deregister, deregister_at},
    mirror::Target,
    verdict::tally,
};

/// Decisions on their way to the registry at once.
const DECISIONS_MAX: usize = 64;

impl Room {
    /// Counts in what is new, and writes the panics that begin or end by it. None of such a service is decided on
    /// meanwhile.
    pub(super) fn assess(&mut self, fence: i64, now: Time) {
        let unsurveyed = std::mem::take(&mut self.unsurveyed);
        for service in self.survey(unsurveyed, now) {
            if self.panicking.contains(&service) {
                continue;
            }
            if let Some(decision) = self.panic(&service, now) {
                let context = Arc::clone(&self.context);
                self.panicking.insert(service.clone());
                self.tasks.spawn(async move {
                    let outcome = panics::commit(&context.client, fence, decision).await;
                    Done::Panicked(service, outcome)
                });
            }
        }
    }

    pub(super) fn decide(&mut self, fence: i64, now: Time) {
        let due: Vec<_> = self
            .dirty
            .iter()
            .filter(|(target, _)| {
                !self.deciding.contains(*target) && !self.panicking.contains(&target.service)
            })
            .map(|(target, since)| (target.clone(), *since))
            .collect();
        for (target, since) in due {
            if self.deciding.len() >= DECISIONS_MAX {
                break;
            }
            self.dirty.remove(&target);
            if let Some(decision) = self.evaluate(&target, now) {
                let context = Arc::clone(&self.context);
                self.deciding.insert(target.clone());
                // What acts as soon as it is written is to be seen by the guards of others.
                if let Some(failover) = decision.failover.as_ref().filter(|f| commit::acts(f)) {
                    let place = (failover.service.clone(), failover.policy.clone());
                    self.judging.insert(direct(&target), place);
                }
                self.tasks.spawn(async move {
                    let outcome = commit::commit(&context.client, fence, decision).await;
                    Done::Decided(target, since, outcome)
                });
            }
        }
    }

    fn evaluate(&mut self, target: &Target, now: Time) -> Option<Decision> {
        let begun = Instant::now();
        let (jury, opinions) = (self.jury(&target.service), self.mirror.heard(target));
        let instance = self.mirror.instances.get(target).map(|instance| &instance.record);
        let critical = instance
            .and_then(|instance| Some((instance, tally(instance, &opinions, jury)?)))
            .filter(|(_, tally)| tally.status == Status::Critical);
        let (mut quiet, mut hold, mut wake) = (None, Hold::Free, None);
        if let Some((instance, tally)) = &critical {
            let at;
            (quiet, at) = self.quiet(target, instance, tally, now);
            (hold, wake) = self.hold(target, instance, quiet.as_ref(), now);
            wake = wake.into_iter().chain(at).min();
        }
        let view = View {
            target,
            instance,
            opinions,
            verdict: self.mirror.verdicts.get(target),
            open: self.mirror.open_incident(target),
            jury,
            quiet,
            hold,
            node: &self.context.id,
            stopped: self.mirror.failover_stop.is_some() || !self.rules.failover_enabled,
        };
        let mut decision = decide(&view, &self.rules, now);
        if decision.is_none()
            && let Some(at) = deregister_at(&view)
        {
            let registered = self.mirror.instances.get(target).map(|i| i.mod_revision);
            match registered.filter(|_| at <= now) {
                Some(registered) => decision = Some(deregister(&view, registered, now)),
                None => wake = wake.into_iter().chain([at]).min(),
            }
        }
        match wake {
            Some(at) => self.wakes.insert(target.clone(), at),
            None => self.wakes.remove(target),
        };
        self.context.metrics.evaluations.inc();
        self.context.metrics.evaluation_seconds.observe(begun.elapsed().as_secs_f64());
        decision
    }

    pub(super) fn panicked(&mut self, service: &str, outcome: panics::Outcome) {
        match outcome {
            panics::Outcome::Committed(revision, decision) => {
                panics::enter(&mut self.mirror, *decision, revision);
            }
            panics::Outcome::Overtaken(revision, records) => self.found(records, revision),
            panics::Outcome::Unknown => {}
        }
        let members: Vec<Target> = self.mirror.members(service).collect();
        self.soil(members, Instant::now());
    }

    /// What the registry has instead of what was believed.
    fn found(&mut self, records: Vec<(String, Option<KeyValue>)>, revision: i64) {
        for (key, kv) in records {
            match kv {
                Some(kv) => self.mirror.put(&kv),
                None => self.mirror.delete(&key, revision),
            };
        }
    }

    pub(super) fn decided(&mut self, target: Target, since: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Committed { revision, decision } => {
                let metrics = &self.context.metrics;
                metrics.decision_seconds.observe(since.elapsed().as_secs_f64());
                if let Some(verdict) = &decision.verdict {
                    metrics.verdict_changes.with_label_values(&[verdict.status.as_str()]).inc();
                }
                commit::enter(&mut self.mirror, *decision, revision);
            }
            Outcome::Overtaken(found) => {
                self.found(found.records, found.revision);
                self.soil([target], since);
            }
            Outcome::Fenced => warn!("a decision was refused: another node leads"),
            Outcome::Unknown => self.soil([target], since),
        }
    }
}

/// Stands for what a decision on an instance begins; no failover has such an id.
pub(super) fn direct(target: &Target) -> String {
    format!("{}/{}", target.service, target.instance)
}
