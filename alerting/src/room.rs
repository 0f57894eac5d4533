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

use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::error;
use watchkeep_catalog::{Incident, Time, client::Changes};

use crate::{
    clock,
    context::Context,
    dispute::Disputes,
    escalation::RoundRobin,
    fleet::Fleet,
    leader::Term,
    maintenance::Open,
    mirror::{self, Mirror, Target, Versioned},
    notify::Lines,
    rules::Rules,
    store::Written,
    throttle::Sent,
};

mod changes;
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
mod verdicts;
mod waiting;

use commit::Outcome;
pub(crate) use heartbeats::deadline;
use verdicts::direct;
use waiting::Waiting;

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
    /// Pages that a way did not take.
    lines: Lines,
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
    let mut tidying = tokio::time::interval(retention::INTERVAL);
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let windows = context.rules.windows.clone();
    let by_alert = context.rules.policies.iter().any(|policy| !policy.when.alert.is_empty());
    let opens_incidents = context.rules.opens_incidents;
    let mut lost = context.alone.lost();
    // Those that open incidents are known without the registry, too.
    let keeps_alerts = by_alert || opens_incidents;
    let wanted = move |key: &str| mirror::wants(key, keeps_alerts);
    let mut changes = Changes::from(context.client.follow_shared(wanted));
    let mut room = Room {
        rules: context.rules.clone(),
        context,
        mirror: Mirror::new(windows, keeps_alerts),
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
        lines: Lines::default(),
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
        self.lines = Lines::default();
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

    fn enter(&mut self, incident: Versioned<Incident>) {
        let id = incident.record.id.clone();
        if let (Some(sent), Some(limit)) = (&mut self.sent, self.rules.pages.rate_limit) {
            sent.learn(&incident.record, limit, clock::now());
        }
        self.mirror.set_incident(&id, incident);
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
