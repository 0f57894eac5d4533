//! The loop: changes in, decisions and effects out. It only wires; what to do is said by [`crate::decide`] and
//! [`crate::incident`].
//!
//! Every node keeps the mirror; the leader acts on it. Effects follow from records, not from decisions: what is
//! pending in the mirror and not yet under way is started. So what this leader decided a moment ago and what
//! its predecessor left behind go the same way.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Span, error, warn};
use watchkeep_catalog::{Incident, Status, Time, client::Change, keys};

use crate::{
    clock,
    context::Context,
    decide::{Decision, Hold, View, decide, deregister, deregister_at},
    dispute::Disputes,
    escalation::RoundRobin,
    fleet::Fleet,
    leader::Term,
    maintenance::Open,
    mirror::{Mirror, Target, Versioned},
    rules::Rules,
    store::Written,
    throttle::Sent,
    verdict::tally,
};

mod commit;
mod dead_man;
mod drains;
mod escalate;
mod failovers;
mod gauges;
mod heartbeats;
mod known;
mod mark;
mod pages;
mod panics;
mod retention;
mod survey;
mod trigger;
mod triggers;
mod waiting;

use commit::Outcome;
pub(crate) use heartbeats::deadline;
use waiting::Waiting;

/// Changes that are taken in before anything is decided on them.
const BATCH_MAX: usize = 256;
/// Decisions on their way to the registry at once.
const DECISIONS_MAX: usize = 64;
/// Effects under way at once; beyond it they wait in the registry.
const EFFECTS_MAX: usize = 10_000;

/// How often it is looked whose time has come.
const TICK: Duration = Duration::from_millis(100);
/// Every so many ticks the maintenance windows are looked at, and the time is marked.
const TICKS_PER_MARK: u32 = 10;

/// Something that is done once at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Effect {
    /// A failover's steps.
    Failover(String),
    /// Pages of an incident to a receiver by a channel, one after the other.
    Page(String, String, String),
    /// Pages that wait for a receiver's channel become one message.
    Gather(String, String),
    /// This message to a receiver by a channel.
    Summary(String, String, String),
}

/// What a task came back with.
enum Done {
    Decided(Target, Instant, Outcome),
    Panicked(String, panics::Outcome),
    Marked,
    DrainsSeenTo,
    SaidWell,
    Called(Effect, Option<Box<Written>>),
    Paged(Effect, Option<Box<Versioned<Incident>>>),
    Gathered(Effect, Vec<Versioned<Incident>>),
    Summarised(Effect, Option<Vec<Versioned<Incident>>>),
    /// It panicked.
    BrokeOff(Effect),
    Escalated(String, Option<Box<Versioned<Incident>>>),
    Heard(String, Option<Box<Versioned<Incident>>>),
    Tidied(usize),
    Judged(String, Option<Box<Written>>),
    Triggered(String, Option<Box<Written>>),
    Burned(String, Option<f64>),
}

struct Room {
    context: Arc<Context>,
    /// The context's, with what people changed in schedules.
    rules: Rules,
    mirror: Mirror,
    term: Term,
    /// Instances to decide on, and since when.
    dirty: BTreeMap<Target, Instant>,
    deciding: HashSet<Target>,
    /// Instances of which it is to be counted in how they seem to be.
    unsurveyed: BTreeSet<Target>,
    /// Instances to decide on when their time has come.
    wakes: BTreeMap<Target, Time>,
    fleet: Fleet,
    /// Services whose panic is being written.
    panicking: HashSet<String>,
    disputes: Disputes,
    /// Incidents whose next step is being written.
    escalating: HashSet<String>,
    robin: RoundRobin,
    /// What was sent to whom lately; none: not looked at in this term.
    sent: Option<Sent>,
    /// Since when pages wait.
    waiting: Waiting,
    /// Heartbeats of which something is being written.
    hearing: HashSet<String>,
    /// The maintenance windows that are open.
    open: Open,
    ticks: u32,
    marking: bool,
    /// What is known of drained instances is being written.
    seeing_to_drains: bool,
    /// Failovers on which is being decided, with service and policy.
    judging: BTreeMap<String, (String, String)>,
    /// What alerts and burn rates trigger.
    triggers: triggers::Triggers,
    /// When the dead man's switch was called last.
    called: Option<Instant>,
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
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let windows = context.rules.windows.clone();
    let mut lost = context.alone.lost();
    let mut room = Room {
        rules: context.rules.clone(),
        context,
        mirror: Mirror::new(windows),
        term: None,
        dirty: BTreeMap::new(),
        deciding: HashSet::new(),
        unsurveyed: BTreeSet::new(),
        wakes: BTreeMap::new(),
        fleet: Fleet::default(),
        panicking: HashSet::new(),
        disputes: Disputes::default(),
        escalating: HashSet::new(),
        robin: RoundRobin::default(),
        sent: None,
        waiting: Waiting::default(),
        hearing: HashSet::new(),
        open: Open::default(),
        ticks: 0,
        marking: false,
        seeing_to_drains: false,
        judging: BTreeMap::new(),
        triggers: triggers::Triggers::default(),
        called: None,
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
            Ok(()) = lost.changed() => {
                let known = lost.borrow_and_update().then(|| room.known());
                room.context.alone.remember(known);
            }
            Some(done) = room.tasks.join_next() => match done {
                Ok(done) => room.done(done),
                Err(error) if error.is_cancelled() => {}
                Err(error) => error!(%error, "a task of alerting broke off"),
            },
            _ = tidying.tick() => room.tidy(),
            _ = ticker.tick(), if room.term.is_some() => room.tick(),
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
        self.dispute(&touched.targets);
        if touched.duty {
            self.rules.changes = self.mirror.changes.clone();
            self.context.alone.learn(&self.rules.changes);
        }
        if self.term.is_some() {
            if touched.all {
                self.open = self.mirror.windows.open(clock::now());
                touched.targets.extend(self.mirror.targets());
            }
            for service in &touched.panics {
                touched.targets.extend(self.mirror.members(service));
            }
            // What depends on it is silenced by its fault, and speaks when it is over.
            let services: BTreeSet<&str> =
                touched.targets.iter().map(|target| target.service.as_str()).collect();
            let children: Vec<Target> = services
                .into_iter()
                .flat_map(|service| self.mirror.dependencies.children(service))
                .flat_map(|child| self.mirror.members(child))
                .filter(|child| self.is_critical(child))
                .collect();
            touched.targets.extend(children);
            self.soil(touched.targets, now);
        }
        if touched.records || !touched.panics.is_empty() {
            self.count();
        }
    }

    /// These are to be decided on.
    fn soil(&mut self, targets: impl IntoIterator<Item = Target>, since: Instant) {
        for target in targets {
            self.unsurveyed.insert(target.clone());
            self.dirty.entry(target).or_insert(since);
        }
    }

    fn is_critical(&self, target: &Target) -> bool {
        let verdict = self.mirror.verdicts.get(target);
        verdict.is_some_and(|verdict| verdict.record.status == Status::Critical)
    }

    /// Notes where collectors contradict each other, on whatever node this is.
    fn dispute(&mut self, targets: &BTreeSet<Target>) {
        let mut changed = false;
        for target in targets {
            changed |= self.disputes.set(target, self.mirror.outvoted(target));
        }
        if changed {
            gauges::disputes(&self.context.metrics, &self.disputes);
        }
    }

    /// Whoever waited for its time is decided on; windows open and close; the time is marked.
    fn tick(&mut self) {
        let now = clock::now();
        let due: Vec<Target> =
            self.wakes.iter().filter(|(_, at)| **at <= now).map(|(t, _)| t.clone()).collect();
        for target in &due {
            self.wakes.remove(target);
        }
        self.soil(due, Instant::now());
        self.ticks = self.ticks.wrapping_add(1);
        if let Some(fence) = self.fence() {
            self.say_that_all_is_well(fence);
        }
        if !self.ticks.is_multiple_of(TICKS_PER_MARK) {
            return;
        }
        let open = self.mirror.windows.open(now);
        self.context
            .metrics
            .maintenance_windows_open
            .set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        if open != self.open {
            self.open = open;
            self.soil(self.mirror.targets(), Instant::now());
        }
        let Some(fence) = self.fence() else { return };
        self.age_pages(now);
        self.listen(fence, now);
        self.trigger_failovers(fence, now);
        self.see_to_drains(fence, now);
        if self.marking {
            return;
        }
        if let Some((mark, revision)) = mark::due(&self.mirror, now) {
            let context = Arc::clone(&self.context);
            self.marking = true;
            self.tasks.spawn(async move {
                mark::write(&context.client, fence, mark, revision).await;
                Done::Marked
            });
        }
    }

    /// How long the oldest page has waited.
    fn age_pages(&mut self, now: Time) {
        let pending = self.mirror.pages_pending.iter();
        let pending = pending.filter_map(|id| self.mirror.incidents.get(id));
        let oldest = self.waiting.oldest(pending.map(|incident| &incident.record), now);
        self.context.metrics.oldest_page.set(oldest.as_seconds_f64());
    }

    /// The term, once the mirror shows the own election.
    fn fence(&self) -> Option<i64> {
        self.term.filter(|fence| self.mirror.revision >= *fence)
    }

    /// Everything of the last term stops; in a new one everything is looked at.
    fn begin_term(&mut self, term: Term) {
        self.term = term;
        self.tasks = JoinSet::new();
        self.deciding.clear();
        self.running.clear();
        self.dirty.clear();
        self.unsurveyed.clear();
        self.wakes.clear();
        self.panicking.clear();
        self.escalating.clear();
        self.hearing.clear();
        self.judging.clear();
        self.triggers = triggers::Triggers::default();
        self.sent = None;
        self.robin = RoundRobin::default();
        for incident in self.mirror.incidents.values() {
            self.robin.learn(&incident.record);
        }
        (self.marking, self.seeing_to_drains, self.called) = (false, false, None);
        self.fleet = Fleet::default();
        self.open = self.mirror.windows.open(clock::now());
        if term.is_some() {
            self.soil(self.mirror.targets(), Instant::now());
        } else {
            self.context.metrics.maintenance_windows_open.set(0);
            self.waiting = Waiting::default();
            self.context.metrics.oldest_page.set(0.0);
        }
    }

    /// Decides and starts what is due, once the mirror shows the own election.
    fn advance(&mut self) {
        let Some(fence) = self.fence() else { return };
        let now = clock::now();
        self.assess(fence, now);
        self.decide(fence, now);
        self.escalate(fence, now);
        self.judge_failovers(fence, now);
        self.start_failovers(fence);
        self.start_pages(fence, now);
    }

    /// Counts in what is new, and writes the panics that begin or end by it. None of such a service is decided on
    /// meanwhile.
    fn assess(&mut self, fence: i64, now: Time) {
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

    fn decide(&mut self, fence: i64, now: Time) {
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
                self.judging.remove(&direct(&target));
                self.decided(target, since, outcome);
            }
            Done::Panicked(service, outcome) => {
                self.panicking.remove(&service);
                self.panicked(&service, outcome);
            }
            Done::Marked => {
                self.marking = false;
                return;
            }
            Done::DrainsSeenTo => {
                self.seeing_to_drains = false;
                return;
            }
            Done::SaidWell => return,
            Done::Called(effect, Some(written)) => {
                self.running.remove(&effect);
                self.enter_failover(*written);
            }
            Done::Judged(id, written) => {
                self.judging.remove(&id);
                if let Some(written) = written {
                    self.context.metrics.failover_judged(&written.0.record);
                    self.enter_failover(*written);
                }
            }
            Done::Triggered(key, written) => {
                self.triggers.under_way.remove(&key);
                if let Some(written) = written {
                    self.enter_failover(*written);
                }
            }
            Done::Burned(policy, rate) => {
                self.burned(&policy, rate);
                return;
            }
            Done::Paged(effect, Some(incident)) => {
                self.running.remove(&effect);
                self.enter(*incident);
            }
            Done::Gathered(effect, incidents) | Done::Summarised(effect, Some(incidents)) => {
                self.running.remove(&effect);
                for incident in incidents {
                    self.enter(incident);
                }
            }
            Done::Escalated(id, incident) => {
                self.escalating.remove(&id);
                if let Some(incident) = incident {
                    self.enter(*incident);
                }
            }
            Done::Heard(name, incident) => {
                self.hearing.remove(&name);
                if let Some(incident) = incident {
                    self.enter(*incident);
                }
            }
            Done::BrokeOff(effect) => drop(self.running.remove(&effect)),
            // Another node leads: in this term it does not begin again.
            Done::Called(_, None) | Done::Paged(_, None) | Done::Summarised(_, None) => {}
            Done::Tidied(removed) => tracing::info!(removed, "old incidents and failovers removed"),
        }
        self.count();
    }

    fn panicked(&mut self, service: &str, outcome: panics::Outcome) {
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
    fn found(
        &mut self,
        records: Vec<(String, Option<watchkeep_catalog::KeyValue>)>,
        revision: i64,
    ) {
        for (key, kv) in records {
            match kv {
                Some(kv) => self.mirror.put(&kv),
                None => self.mirror.delete(&key, revision),
            };
        }
    }

    fn enter(&mut self, incident: Versioned<Incident>) {
        let id = incident.record.id.clone();
        if let (Some(sent), Some(limit)) = (&mut self.sent, self.rules.pages.rate_limit) {
            sent.learn(&incident.record, limit, clock::now());
        }
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
                self.found(found.records, found.revision);
                self.soil([target], since);
            }
            Outcome::Fenced => warn!("a decision was refused: another node leads"),
            Outcome::Unknown => self.soil([target], since),
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

/// Stands for what a decision on an instance begins; no failover has such an id.
fn direct(target: &Target) -> String {
    format!("{}/{}", target.service, target.instance)
}

/// The span a decision is made in: a child of the probe that tipped the scale.
fn verdict_span(decision: &Decision) -> Span {
    let target = &decision.target;
    let status = decision.verdict.as_ref().map_or("gone", |verdict| verdict.status.as_str());
    tracing::info_span!("verdict", service = target.service, instance = target.instance, status)
}
