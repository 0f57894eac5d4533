//! The loop that runs the checks: changes of instances and collectors in, probes out, results in, one after the other.
//!
//! Whatever changes a check happens here, so nothing of it is locked, and a check that has been taken out says nothing more.
//! Probes themselves are tasks of their own, at most `probes_max` at a time; what finds no permit waits in [`Queue`].

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use watchkeep_catalog::{Client, client::Change, keys};

use crate::{
    check::{Check, Finished},
    metrics::Metrics,
    probe::Context,
    publish::Publisher,
    samples::Sink,
    sharing::Sharing,
    target::{Target, TargetId},
    targets::{Effect, Targets},
};

mod handover;
mod queue;
pub(crate) mod timetable;

use handover::Handover;
use queue::Queue;
use timetable::Turn;

/// Checks started or stopped between two looks at the clock.
const STEPS_MAX: usize = 64;
/// Results taken in between two looks at the clock.
const RESULTS_MAX: usize = 256;
/// What is due within this is begun together with what is due: to wake up for each costs about as much as a probe.
const EARLY: Duration = Duration::from_millis(4);

/// What all checks of a collector share.
pub(crate) struct Shared {
    pub(crate) collector: String,
    /// What schedules count from.
    pub(crate) epoch: Instant,
    pub(crate) probes_max: usize,
    pub(crate) context: Arc<Context>,
    pub(crate) publisher: Publisher,
    /// Most facts of a probe that become samples.
    pub(crate) facts_max: usize,
    /// Most targets with series of their own among the metrics.
    pub(crate) target_metrics_max: usize,
    pub(crate) sink: Sink,
    pub(crate) metrics: Metrics,
}

/// What is to be done to a check, in order.
enum Step {
    Target(Effect),
    /// It is this collector's now.
    Take(Arc<Target>),
    /// It is others' now.
    Leave(Arc<Target>),
}

struct Engine {
    shared: Arc<Shared>,
    targets: Targets,
    sharing: Sharing,
    /// At most a few for each target.
    steps: VecDeque<Step>,
    numbers: HashMap<TargetId, u64>,
    /// Boxed: half of the map's places are empty.
    checks: HashMap<u64, Box<Check>>,
    next_number: u64,
    /// When which check is due.
    agenda: BTreeSet<(Duration, u64)>,
    queue: Queue,
    probes: JoinSet<Finished>,
    handover: Handover,
    asking: JoinSet<Vec<TargetId>>,
    ask_at: Duration,
}

/// Probes this collector's share until the token is cancelled; at the end nothing runs.
pub(crate) async fn run(
    shared: Arc<Shared>,
    sharing: Sharing,
    client: &Client,
    token: &CancellationToken,
) {
    let (mut members, mut instances) =
        (client.follow(keys::COLLECTORS), client.follow(keys::INSTANCES));
    let mut engine = Engine {
        shared,
        targets: Targets::default(),
        sharing,
        steps: VecDeque::new(),
        numbers: HashMap::new(),
        checks: HashMap::new(),
        next_number: 0,
        agenda: BTreeSet::new(),
        queue: Queue::default(),
        probes: JoinSet::new(),
        handover: Handover::default(),
        asking: JoinSet::new(),
        ask_at: Duration::ZERO,
    };
    // Made once: the loop comes by here several times for each probe.
    let (sleep, cancelled) = (sleep_until(engine.shared.epoch), token.cancelled());
    tokio::pin!(sleep, cancelled);
    loop {
        let wake = engine.shared.epoch + engine.wake();
        if sleep.deadline() != wake {
            sleep.as_mut().reset(wake);
        }
        tokio::select! {
            biased;
            () = &mut cancelled => return,
            Some(ended) = engine.probes.join_next() => engine.ended(ended),
            () = &mut sleep => {}
            Some(change) = members.recv() => engine.members(change),
            Some(answer) = engine.asking.join_next() => engine.handed_over(answer.unwrap_or_default()),
            Some(change) = instances.recv(), if engine.steps.len() < STEPS_MAX => engine.instances(change),
        }
        engine.advance(client);
        if !engine.steps.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

impl Engine {
    fn now(&self) -> Duration {
        self.shared.epoch.elapsed()
    }

    /// When there is something to do at the latest, since the epoch.
    fn wake(&self) -> Duration {
        if !self.steps.is_empty() {
            return Duration::ZERO;
        }
        let due = self.agenda.first().map(|(due, _)| *due);
        let ask = (self.handover.len() > 0).then_some(self.ask_at);
        // With nothing to do, a look at the clock every hour does no harm.
        due.into_iter().chain(ask).min().unwrap_or_else(|| self.now() + Duration::from_secs(3_600))
    }

    /// Does what is due: takes in what has ended, begins what is due and has a permit, then a few steps.
    fn advance(&mut self, client: &Client) {
        for _ in 0..RESULTS_MAX {
            let Some(ended) = self.probes.try_join_next() else { break };
            self.ended(ended);
        }
        self.tick();
        self.dispatch();
        for _ in 0..STEPS_MAX {
            let Some(step) = self.steps.pop_front() else { break };
            self.step(step);
        }
        if self.handover.len() > 0 && self.ask_at <= self.now() {
            self.ask(client);
        }
    }

    fn instances(&mut self, change: Change) {
        let effects = self.targets.apply(change);
        self.steps.extend(effects.into_iter().map(Step::Target));
        let metrics = &self.shared.metrics;
        metrics.targets_known.set(self.targets.len() as i64);
        metrics.invalid_instances.set(self.targets.invalid() as i64);
    }

    fn members(&mut self, change: Change) {
        if !self.sharing.apply(change) {
            return;
        }
        self.shared.metrics.members.set(self.sharing.members() as i64);
        // Who was asked for is no longer who is to be asked for.
        self.asking = JoinSet::new();
        for target in self.targets.iter() {
            let runs = self.numbers.contains_key(&target.id);
            let leaving = self.handover.is_leaving(&target.id);
            match (self.sharing.is_mine(&target.id), runs && !leaving) {
                (true, false) => self.steps.push_back(Step::Take(target.clone())),
                (false, true) => self.steps.push_back(Step::Leave(target.clone())),
                _ => {}
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Target(Effect::Invalid { key, message }) => {
                warn!(key, message, "instance record is not taken");
            }
            Step::Target(Effect::Stop { id, gone }) => {
                let gone = gone || !self.sharing.is_mine(&id);
                self.stop(&id, gone);
            }
            Step::Target(Effect::Start(target)) | Step::Take(target) => {
                if self.sharing.is_known() && self.sharing.is_mine(&target.id) {
                    self.handover.end(&target.id);
                    self.start(target);
                }
            }
            Step::Leave(target) => {
                if self.numbers.contains_key(&target.id) && !self.sharing.is_mine(&target.id) {
                    self.handover.begin(&target, self.now());
                }
            }
        }
        self.gauges();
    }

    fn gauges(&self) {
        let metrics = &self.shared.metrics;
        metrics.targets.set(self.checks.len() as i64);
        metrics.leaving.set(self.handover.len() as i64);
    }

    fn start(&mut self, target: Arc<Target>) {
        if self.numbers.contains_key(&target.id) {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(target.id.clone(), number);
        let check = Box::new(Check::new(target, self.shared.clone(), self.now()));
        self.agenda.insert((check.timetable.due(), number));
        self.checks.insert(number, check);
    }

    /// Probes it no more; `gone`: its opinion and its metrics go as well.
    fn stop(&mut self, id: &TargetId, gone: bool) {
        self.handover.end(id);
        let Some(number) = self.numbers.remove(id) else { return };
        if let Some(check) = self.checks.remove(&number) {
            self.agenda.remove(&(check.timetable.due(), number));
        }
        if gone {
            let collector = &self.shared.collector;
            self.shared.publisher.delete(&id.opinion_key(collector));
            let last = !self.targets.has(&id.service, &id.check);
            self.shared.metrics.forget(id, collector, last);
        }
    }

    /// All whose time has come are queued, and with them those whose time is near.
    fn tick(&mut self) {
        let now = self.now();
        if self.agenda.first().is_none_or(|(due, _)| *due > now) {
            return;
        }
        while let Some((due, number)) = self.agenda.first().copied()
            && due <= now + EARLY
        {
            let check = self.checks.get_mut(&number);
            if due > now && check.as_ref().is_some_and(|check| !check.timetable.bears(EARLY)) {
                return;
            }
            self.agenda.pop_first();
            let Some(check) = check else { continue };
            let turn = check.timetable.tick(now);
            self.agenda.insert((check.timetable.due(), number));
            self.turn(number, turn);
        }
    }

    fn turn(&mut self, number: u64, turn: Turn) {
        self.shared.metrics.missed_runs.inc_by(turn.missed);
        self.shared.metrics.shed_runs.inc_by(turn.shed);
        if turn.queue
            && let Some(check) = self.checks.get_mut(&number)
        {
            // Mostly nobody waits, and there are permits enough: then there are no turns to be kept.
            if self.queue.is_empty() && self.probes.len() * 2 < self.shared.probes_max {
                check.begin(number, &mut self.probes);
            } else {
                self.queue.push(&check.target.id.service, number);
            }
        }
    }

    /// Begins as many as there are permits for.
    fn dispatch(&mut self) {
        while self.probes.len() < self.shared.probes_max
            && let Some(number) = self.queue.pop()
        {
            if let Some(check) = self.checks.get_mut(&number) {
                check.begin(number, &mut self.probes);
            }
        }
    }

    fn ended(&mut self, ended: Result<Finished, JoinError>) {
        let number = match ended {
            Ok(finished) => {
                let number = finished.check;
                // None: it was taken out meanwhile.
                let Some(check) = self.checks.get_mut(&number) else { return };
                check.finished(finished);
                number
            }
            Err(cause) if cause.is_panic() => {
                error!(%cause, "a probe broke off");
                let words = cause.to_string();
                let mut checks = self.checks.iter_mut();
                let found = checks.find_map(|(number, check)| {
                    check.broke_off(cause.id(), &words).then_some(*number)
                });
                let Some(number) = found else { return };
                number
            }
            // Its check was taken out.
            Err(_) => return,
        };
        let now = self.now();
        let Some(check) = self.checks.get_mut(&number) else { return };
        let turn = check.timetable.end(now);
        let due = check.timetable.due();
        if check.is_on_edge() && check.timetable.hurry(now) {
            self.agenda.remove(&(due, number));
            self.agenda.insert((check.timetable.due(), number));
        }
        self.turn(number, turn);
    }

    /// Asks which checks that are handed over have the opinions of their owners; ends the wait of those that are late.
    fn ask(&mut self, client: &Client) {
        self.ask_at = self.now() + handover::ASK_EVERY;
        for id in self.handover.late(self.now()) {
            self.stop(&id, true);
        }
        if self.asking.is_empty() && self.handover.len() > 0 {
            let questions = self.handover.questions(|id| self.sharing.owners(id));
            self.asking.spawn(handover::ask(client.clone(), questions));
        }
        self.gauges();
    }

    fn handed_over(&mut self, ids: Vec<TargetId>) {
        for id in ids {
            if self.handover.is_leaving(&id) {
                self.stop(&id, true);
            }
        }
        self.gauges();
    }
}
