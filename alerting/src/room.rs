//! The loop: changes in, decisions and effects out. It only wires; what to do is said by [`crate::decide`] and
//! [`crate::incident`].
//!
//! Every node keeps the mirror; the leader acts on it. Effects follow from records, not from decisions: what is
//! pending in the mirror and not yet under way is started. So what this leader decided a moment ago and what
//! its predecessor left behind go the same way.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Span, error, warn};
use watchkeep_catalog::{Incident, client::Change, keys};

use crate::{
    clock,
    context::Context,
    decide::{Decision, View, decide},
    failover, incident,
    leader::Term,
    mirror::{Mirror, Target, Versioned},
    notify,
    store::Written,
};

mod commit;
mod gauges;
mod retention;

use commit::Outcome;

/// Changes that are taken in before anything is decided on them.
const BATCH_MAX: usize = 256;
/// Decisions on their way to the registry at once.
const DECISIONS_MAX: usize = 64;
/// Effects under way at once; beyond it they wait in the registry.
const EFFECTS_MAX: usize = 10_000;

/// Something that is done once at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Effect {
    /// A failover's callback.
    Callback(String),
    /// Pages of an incident to a receiver by a channel, one after the other.
    Page(String, String, String),
}

/// What a task came back with.
enum Done {
    Decided(Target, Instant, Outcome),
    Called(Effect, Option<Box<Written>>),
    Paged(Effect, Option<Box<Versioned<Incident>>>),
    Tidied(usize),
}

struct Room {
    context: Arc<Context>,
    mirror: Mirror,
    term: Term,
    /// Instances to decide on, and since when.
    dirty: BTreeMap<Target, Instant>,
    deciding: HashSet<Target>,
    /// Effects under way, and those that may not begin again in this term.
    running: HashSet<Effect>,
    tasks: JoinSet<Done>,
}

/// Runs until `token` is cancelled. Dropped, it stops everything it began.
pub(crate) async fn run(
    context: Arc<Context>,
    mut term: watch::Receiver<Term>,
    token: &CancellationToken,
) {
    let mut changes = context.client.follow(keys::ROOT);
    let mut tidying = tokio::time::interval(retention::INTERVAL);
    let mut room = Room {
        context,
        mirror: Mirror::default(),
        term: None,
        dirty: BTreeMap::new(),
        deciding: HashSet::new(),
        running: HashSet::new(),
        tasks: JoinSet::new(),
    };
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            change = changes.recv() => match change {
                Some(change) => room.absorb(change, &mut changes),
                None => return,
            },
            changed = term.changed() => match changed {
                Ok(()) => room.begin_term(*term.borrow_and_update()),
                Err(_) => return,
            },
            Some(done) = room.tasks.join_next() => match done {
                Ok(done) => room.done(done),
                Err(error) if error.is_cancelled() => {}
                Err(error) => error!(%error, "a task of alerting broke off"),
            },
            _ = tidying.tick() => room.tidy(),
        }
        room.advance();
    }
}

impl Room {
    /// Takes in a change and what waits behind it.
    fn absorb(&mut self, first: Change, more: &mut mpsc::Receiver<Change>) {
        let now = Instant::now();
        let mut touched = self.mirror.apply(first);
        for _ in 1..BATCH_MAX {
            let Ok(change) = more.try_recv() else { break };
            touched.merge(self.mirror.apply(change));
        }
        if self.term.is_some() {
            for target in touched.targets {
                self.dirty.entry(target).or_insert(now);
            }
        }
        if touched.records {
            self.count();
        }
    }

    /// Everything of the last term stops; in a new one everything is looked at.
    fn begin_term(&mut self, term: Term) {
        self.term = term;
        self.tasks = JoinSet::new();
        self.deciding.clear();
        self.running.clear();
        self.dirty.clear();
        if term.is_some() {
            let now = Instant::now();
            self.dirty = self.mirror.targets().into_iter().map(|target| (target, now)).collect();
        }
    }

    /// Decides and starts what is due, once the mirror shows the own election.
    fn advance(&mut self) {
        let Some(fence) = self.term.filter(|fence| self.mirror.revision >= *fence) else { return };
        self.decide(fence);
        self.start_callbacks(fence);
        self.start_pages(fence);
    }

    fn decide(&mut self, fence: i64) {
        let due: Vec<_> = self
            .dirty
            .iter()
            .filter(|(target, _)| !self.deciding.contains(*target))
            .map(|(target, since)| (target.clone(), *since))
            .collect();
        for (target, since) in due {
            if self.deciding.len() >= DECISIONS_MAX {
                break;
            }
            self.dirty.remove(&target);
            if let Some(decision) = self.evaluate(&target) {
                let context = Arc::clone(&self.context);
                self.deciding.insert(target.clone());
                self.tasks.spawn(async move {
                    let outcome = commit::commit(&context.client, fence, decision).await;
                    Done::Decided(target, since, outcome)
                });
            }
        }
    }

    fn evaluate(&self, target: &Target) -> Option<Decision> {
        let begun = Instant::now();
        let view = View {
            target,
            instance: self.mirror.instances.get(target).map(|instance| &instance.record),
            opinions: self.mirror.heard(target),
            verdict: self.mirror.verdicts.get(target),
            open: self.mirror.open_incident(target),
        };
        let decision = decide(&view, &self.context.rules, clock::now());
        self.context.metrics.evaluations.inc();
        self.context.metrics.evaluation_seconds.observe(begun.elapsed().as_secs_f64());
        decision
    }

    fn start_callbacks(&mut self, fence: i64) {
        for id in &self.mirror.failovers_pending {
            let effect = Effect::Callback(id.clone());
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

    fn start_pages(&mut self, fence: i64) {
        for id in &self.mirror.pages_pending {
            let Some(incident) = self.mirror.incidents.get(id) else { continue };
            for page in incident::next_pages(&incident.record) {
                let effect = Effect::Page(id.clone(), page.receiver.clone(), page.channel.clone());
                if self.running.len() >= EFFECTS_MAX || self.running.contains(&effect) {
                    continue;
                }
                let (context, page) = (Arc::clone(&self.context), page.id.clone());
                let (incident, parent) = (incident.clone(), self.trace_parent(&incident.record));
                self.running.insert(effect.clone());
                self.tasks.spawn(async move {
                    let done = notify::deliver(context, fence, incident, page, parent).await;
                    Done::Paged(effect, done.map(Box::new))
                });
            }
        }
    }

    /// The trace of the fault behind an incident: its failover's, else the verdict's.
    fn trace_parent(&self, incident: &Incident) -> Option<String> {
        let failover = incident.failover.as_ref().and_then(|id| self.mirror.failovers.get(id));
        if let Some(failover) = failover {
            return failover.record.trace_parent.clone();
        }
        let (service, instance) =
            (incident.labels.get("service")?, incident.labels.get("instance")?);
        let verdict = self.mirror.verdicts.get(&Target::new(service, instance))?;
        verdict.record.trace_parent.clone()
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Decided(target, since, outcome) => {
                self.deciding.remove(&target);
                self.decided(target, since, outcome);
            }
            Done::Called(effect, Some(written)) => {
                self.running.remove(&effect);
                let (failover, incident) = *written;
                let id = failover.record.id.clone();
                self.mirror.set_failover(&id, failover);
                if let Some(incident) = incident {
                    self.enter(incident);
                }
            }
            Done::Paged(effect, Some(incident)) => {
                self.running.remove(&effect);
                self.enter(*incident);
            }
            // Another node leads: in this term it does not begin again.
            Done::Called(_, None) | Done::Paged(_, None) => {}
            Done::Tidied(removed) => tracing::info!(removed, "old incidents and failovers removed"),
        }
        self.count();
    }

    fn enter(&mut self, incident: Versioned<Incident>) {
        let id = incident.record.id.clone();
        self.mirror.set_incident(&id, incident);
    }

    fn decided(&mut self, target: Target, since: Instant, outcome: Outcome) {
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
                for (key, kv) in found.records {
                    match kv {
                        Some(kv) => self.mirror.put(&kv),
                        None => self.mirror.delete(&key, found.revision),
                    };
                }
                self.dirty.entry(target).or_insert(since);
            }
            Outcome::Fenced => warn!("a decision was refused: another node leads"),
            Outcome::Unknown => {
                self.dirty.entry(target).or_insert(since);
            }
        }
    }

    fn count(&self) {
        gauges::set(&self.context.metrics, &self.mirror);
    }

    /// Removes what is older than [`retention::DAYS`].
    fn tidy(&mut self) {
        let Some(fence) = self.term else { return };
        let old = retention::old(&self.mirror, clock::now());
        if !old.is_empty() {
            let context = Arc::clone(&self.context);
            self.tasks.spawn(async move {
                Done::Tidied(retention::remove(&context.client, fence, old).await)
            });
        }
    }
}

/// The span a decision is made in: a child of the probe that tipped the scale.
fn verdict_span(decision: &Decision) -> Span {
    let target = &decision.target;
    let status = decision.verdict.as_ref().map_or("gone", |verdict| verdict.status.as_str());
    tracing::info_span!("verdict", service = target.service, instance = target.instance, status)
}
