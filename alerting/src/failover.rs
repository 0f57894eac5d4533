//! Failovers: what a policy does about a fault, step by step, and never more than once.
//!
//! ```text
//! trigger ─▶ deciding ─▶ guards ─▶ held | observed | awaiting_approval ─▶ pending ─▶ delivered | failed | rolled_back
//! ```
//!
//! The journal comes first: a step is `running` in the registry before it has an effect, and what came of it is written
//! behind it, together with the beginning of the next. A leader that dies in between leaves a running step; the next one
//! does it again with the same idempotency key and the same fencing token (the create revision of the record's key), so
//! the receiver can do it once. What moves in the registry moves in the very transaction that writes that it has.

use std::{sync::Arc, time::Duration};

use rand::rngs::StdRng;
use tracing::warn;
use watchkeep_catalog::{
    Failover, FailoverStop, Incident, IncidentStatus, PageKind, StepState, keys,
};

use crate::{
    backoff, clock,
    config::FailoverPolicy,
    context::Context,
    incident::{self, WATCHKEEP},
    mirror::Versioned,
    store::{self, Extra, NotWritten, Written},
    text::shorten,
};

pub(crate) mod control;
mod end;
mod fault;
pub(crate) mod guard;
pub(crate) mod judge;
mod plan;
pub mod replay;
mod series;
mod step;

pub(crate) use fault::point;
pub(crate) use plan::{AFTER, BEFORE, UNDO, plan};
pub(crate) use series::failed_share;
pub(crate) use step::script::program;

use plan::Planned;

/// Longest reason of a step that failed, in characters: journal and incident have to fit into one request.
const WHY_MAX: usize = 500;
/// Pause while the registry does not take an outcome.
const PAUSE: Duration = Duration::from_millis(200);

/// Another node leads: whatever is left is its own.
struct Deposed;

/// Why what was to be written, or done, was not.
enum Interrupt {
    /// A person has ended it.
    Aborted,
    /// All failovers are stopped.
    Stopped(FailoverStop),
    /// What it was to change has changed meanwhile.
    Overtaken,
    /// Its trigger is gone.
    CalledOff,
}

/// A failover under way.
struct Run<'a> {
    context: &'a Context,
    fence: i64,
    policy: &'a FailoverPolicy,
    plan: Vec<Planned<'a>>,
    failover: Versioned<Failover>,
    incident: Option<Versioned<Incident>>,
    rng: StdRng,
    /// The step that an earlier leader has begun.
    inherited: Option<usize>,
    /// What this leader decided itself a moment ago cannot be out of date.
    fresh: bool,
    /// A callback was not answered, and may have been taken all the same.
    uncertain: bool,
}

/// Does what is left to do; answers with the records as they are then, or nothing when another node leads.
pub(crate) async fn execute(
    context: Arc<Context>,
    fence: i64,
    failover: Versioned<Failover>,
) -> Option<Written> {
    let policy = context.rules.policies.iter().find(|p| p.name == failover.record.policy);
    let rng = backoff::rng(&context.id, &failover.record.id);
    // Only the leader writes what is pending: what was written in this term was written by this node.
    let fresh = failover.mod_revision > fence;
    let gone = FailoverPolicy::gone();
    let plan = policy.map(plan::plan).unwrap_or_default();
    let mut run = Run {
        context: &context,
        fence,
        policy: policy.unwrap_or(&gone),
        plan,
        failover,
        incident: None,
        rng,
        inherited: None,
        fresh,
        uncertain: false,
    };
    point("decided");
    let done = match policy {
        Some(_) => run.all().await,
        None => {
            let why = format!("policy {} is not configured any more", run.failover.record.policy);
            run.failover.record.failure = Some(why);
            run.finish().await
        }
    };
    match done {
        Ok(()) => Some((run.failover, run.incident)),
        Err(Deposed) => None,
    }
}

impl Run<'_> {
    fn record(&mut self) -> &mut Failover {
        &mut self.failover.record
    }

    /// One step after the other.
    async fn all(&mut self) -> Result<(), Deposed> {
        if self.failover.record.steps.is_empty() {
            // Of an earlier version, which knew but one step.
            self.record().steps = plan::journal(self.policy);
        } else if !plan::fits(&self.plan, &self.failover.record) {
            let why = format!("policy {} was changed meanwhile", self.policy.name);
            self.record().failure = Some(why);
            return self.finish().await;
        }
        if !self.fresh {
            let running = |step: &watchkeep_catalog::FailoverStep| step.state == StepState::Running;
            self.inherited = self.failover.record.steps.iter().position(running);
            // Whoever began it may have called, and died before the answer.
            let step = self.inherited.map(|at| &self.failover.record.steps[at]);
            self.uncertain = step.is_some_and(plan::has_effect);
        }
        if let Some(stop) = self.switched_off() {
            return self.interrupted(Interrupt::Stopped(stop)).await;
        }
        loop {
            if self.failover.record.aborted_by.is_some() {
                return self.interrupted(Interrupt::Aborted).await;
            }
            if !self.fresh && self.is_called_off().await {
                return self.interrupted(Interrupt::CalledOff).await;
            }
            self.fresh = false;
            let Some(at) = plan::current(&self.plan, &self.failover.record) else {
                return self.finish().await;
            };
            if self.failover.record.steps[at].state == StepState::Waiting {
                self.begin(at);
                if let Some(interrupt) =
                    self.write(Extra { acts: true, ..Extra::default() }, None).await?
                {
                    self.failover.record.steps[at].state = StepState::Waiting;
                    return self.interrupted(interrupt).await;
                }
                if self.failover.record.aborted_by.is_some() {
                    continue;
                }
            } else if self.inherited == Some(at)
                && let Some(interrupt) = step::interrupted(self).await?
            {
                // Whoever began it wrote so before the stop.
                return self.interrupted(interrupt).await;
            }
            let name = self.failover.record.steps[at].name.clone();
            point(&format!("{name}.begun"));
            let outcome = step::perform(self, at).await?;
            point(&format!("{name}.performed"));
            if self.enter(at, outcome).await? {
                return Ok(());
            }
        }
    }

    /// `alerting.failover_enabled: false` stops what an earlier leader has begun, too.
    fn switched_off(&self) -> Option<FailoverStop> {
        (!self.context.rules.failover_enabled).then(|| FailoverStop {
            since: clock::now(),
            by: "alerting.failover_enabled: false".to_owned(),
            reason: String::new(),
        })
    }

    /// The step is under way, says the record; it is to be written before anything else.
    fn begin(&mut self, at: usize) {
        let (node, now) = (self.context.id.clone(), clock::now());
        judge::run(&mut self.record().steps[at], &node, now);
    }

    /// Writes what came of a step, and that the next one is under way; true when all is over.
    async fn enter(&mut self, at: usize, outcome: step::Outcome) -> Result<bool, Deposed> {
        let now = clock::now();
        let (extra, text, tell) = match outcome {
            step::Outcome::Interrupted(Interrupt::Overtaken) => return Ok(false),
            step::Outcome::Interrupted(interrupt) => {
                return self.interrupted(interrupt).await.map(|()| true);
            }
            step::Outcome::Failed(why) => {
                let why = shorten(&why, WHY_MAX);
                plan::fail(&self.plan, &mut self.failover.record, at, &why);
                (Extra::default(), format!("failed: {why}"), None)
            }
            step::Outcome::Done { detail, extra, tell } => {
                let undoes = self.failover.record.steps[at].undoes;
                if let Some(undone) = undoes.and_then(|at| usize::try_from(at).ok())
                    && let Some(step) = self.record().steps.get_mut(undone)
                {
                    step.state = StepState::Undone;
                }
                let step = &mut self.record().steps[at];
                step.state = StepState::Done;
                step.detail.clone_from(&detail);
                (extra, detail, tell)
            }
        };
        let name = self.failover.record.steps[at].name.clone();
        let step = &mut self.record().steps[at];
        // One that is to be done again has not ended.
        step.finished_at = (step.state != StepState::Waiting).then_some(now);
        let next = plan::current(&self.plan, &self.failover.record);
        let changes = !extra.then.is_empty() || tell.is_some();
        if next.is_none() && !changes {
            return self.finish().await.map(|()| true);
        }
        let before = self.failover.record.clone();
        if let Some(next) = next {
            self.begin(next);
        }
        let extra = Extra { acts: next.is_some() || extra.acts, ..extra };
        let note = format!("failover {}: step {name}: {text}", self.policy.name);
        match self.write(extra, Some((note, tell))).await? {
            None => Ok(false),
            Some(Interrupt::Overtaken) => {
                // It is done again, with what is so now.
                let step = &mut self.record().steps[at];
                (step.state, step.finished_at) = (StepState::Running, None);
                if let Some(next) = next {
                    self.record().steps[next] = before.steps[next].clone();
                }
                Ok(false)
            }
            Some(interrupt) => {
                let (aborted, changed) = (self.failover.record.aborted_by.clone(), changes);
                self.failover.record =
                    watchkeep_catalog::Failover { aborted_by: aborted, ..before };
                if changed {
                    plan::not_done(self.record(), at);
                }
                self.interrupted(interrupt).await.map(|()| true)
            }
        }
    }

    /// The record is written in this form, with a line and perhaps pages in the incident.
    async fn write(
        &mut self,
        extra: Extra,
        note: Option<(String, Option<String>)>,
    ) -> Result<Option<Interrupt>, Deposed> {
        let (context, now) = (self.context, clock::now());
        loop {
            let change = |incident: &mut Incident| {
                let Some((text, tell)) = &note else { return false };
                incident::note(incident, now, WATCHKEEP, text.clone());
                // What broke off halfway is a person's, whether or not the fault is over.
                let open = incident.status != IncidentStatus::Resolved;
                if let Some(reason) = tell.as_ref().filter(|tell| open || *tell == judge::FAILED) {
                    let to = context.rules.recipients(incident.on_call.as_deref());
                    incident::page(incident, reason, PageKind::Firing, &to);
                }
                true
            };
            let failover = self.failover.clone();
            match store::write_failover(&context.client, self.fence, failover, &extra, change).await
            {
                Ok((failover, incident)) => {
                    self.failover = failover;
                    self.incident = incident.or(self.incident.take());
                    return Ok(None);
                }
                Err(NotWritten::Fenced) => return Err(Deposed),
                Err(NotWritten::Aborted(now)) => {
                    self.failover.record.aborted_by = now.record.aborted_by;
                    self.failover.mod_revision = now.mod_revision;
                    return Ok(Some(Interrupt::Aborted));
                }
                Err(NotWritten::Stopped(stop)) => return Ok(Some(Interrupt::Stopped(stop))),
                Err(NotWritten::Overtaken) => return Ok(Some(Interrupt::Overtaken)),
                // This task ends with the node's leadership, so it does not try for ever.
                Err(NotWritten::Failed(error)) => {
                    warn!(failover = self.failover.record.id, %error, "outcome not written yet");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the reason for the failover is gone before it has done anything: its incident is resolved, by the verdict
    /// or by a person.
    async fn is_called_off(&self) -> bool {
        let record = &self.failover.record;
        let may_be_touched = self.uncertain || !plan::is_untouched(record);
        if record.incident.is_empty() || record.failure.is_some() || may_be_touched {
            return false;
        }
        // When the registry does not answer nothing is known, and the decision stands.
        let Ok(Some(kv)) = self.context.client.get(&keys::incident(&record.incident)).await else {
            return false;
        };
        kv.json::<Incident>().is_ok_and(|incident| incident.status == IncidentStatus::Resolved)
    }
}
