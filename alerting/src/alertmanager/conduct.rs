//! The dispatcher: on the leader (or, where the registry is lost, on every node) what is due is written down, sent, and
//! written down again. One transaction carries what many groups have to say, and of one record what is written later is
//! later. What the registry refuses to write down, or does not for a while, is sent all the same: who leads now tells
//! nobody twice, only the next leader may.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use watchkeep_catalog::Time;

use super::{
    group::GroupId,
    intake::RECORDS_PER_TXN_MAX,
    notify,
    plan::{Integration, Plan},
    shared::Shared,
    tell::Telling,
    tidy,
};
use crate::{clock, leader::Term};

mod arrive;
mod batch;
mod office;
#[cfg(test)]
mod tests;

use arrive::Arrival;
pub(crate) use arrive::Handover;
use batch::{Batch, Entry, Outcome};
use office::Office;

/// Tasks that have ended are heard of before anything else is looked at.
const DONE_MAX: usize = 256;
/// How often what nobody needs any more is taken away; groups without alerts go then, as with Alertmanager.
const TIDY: Duration = Duration::from_secs(30);
/// Longest sleep: clocks are moved.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// What is on its way is counted so often: in a storm it is much.
const COUNT: Duration = Duration::from_secs(1);

/// What a task came back with.
enum Done {
    /// A transaction with these records, of this epoch, and what came of it.
    Written(u64, Batch, Outcome),
    /// A transaction with alerts and what was decided of them, and its revision.
    Arrived(Box<Arrival>, Option<i64>),
    Told(Box<Telling>, Result<(), String>),
    Tidied,
}

/// A delivery on its way.
struct Running {
    integration: Arc<Integration>,
    /// The plan by which it was begun.
    plan: Arc<Plan>,
    group: GroupId,
    decided_at: Time,
    task: AbortHandle,
}

struct Conductor {
    shared: Arc<Shared>,
    office: Option<Office>,
    /// The configuration that is in use.
    epoch: u64,
    /// To be written, by id: what is newer replaces what is older.
    queue: Batch,
    /// Transactions under way, and the ids of what is in them.
    writes: usize,
    writing: HashSet<String>,
    /// Alerts are among what is being written: nothing is decided before they are there.
    arriving: bool,
    /// So many records are written each by itself, to find the one that is refused.
    singly: usize,
    /// Since when the registry takes no transaction.
    failing_since: Option<Instant>,
    tidying: bool,
    /// By the records' ids.
    running: HashMap<String, Running>,
    tasks: JoinSet<Done>,
    /// When it was counted last what is on its way.
    counted: Option<Instant>,
}

/// Runs until `token` is cancelled.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut term: watch::Receiver<Term>,
    mut handovers: mpsc::Receiver<Handover>,
    token: CancellationToken,
) {
    let mut conductor = Conductor::new(Arc::clone(&shared));
    let mut tidying = tokio::time::interval(TIDY);
    loop {
        let due = conductor.next_due();
        let (now, mut handover) = (clock::now(), None);
        tokio::select! {
            () = token.cancelled() => return,
            changed = term.changed() => if changed.is_err() { return },
            Some(given) = handovers.recv() => handover = Some(given),
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(until(due, now)) => {}
            _ = tidying.tick() => conductor.tidy(),
            Some(done) = conductor.tasks.join_next() => conductor.joined(done),
        }
        conductor.take_office(*term.borrow());
        if let Some(handover) = handover {
            conductor.arrive(handover);
        }
        conductor.advance();
    }
}

/// How long to sleep.
fn until(due: Option<Time>, now: Time) -> Duration {
    let wait = due.map_or(SLEEP_MAX, |due| (due - now).to_std().unwrap_or_default());
    // The clock of the operating system has finer steps than its timer: a little later is late enough.
    wait.min(SLEEP_MAX)
}

impl Conductor {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            office: None,
            epoch: 0,
            queue: Batch::new(),
            writes: 0,
            writing: HashSet::new(),
            arriving: false,
            singly: 0,
            failing_since: None,
            tidying: false,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            counted: None,
        }
    }

    /// When the next group is to be looked at.
    fn next_due(&self) -> Option<Time> {
        let board = self.shared.board();
        board.groups.as_ref().filter(|_| !self.arriving).and_then(super::group::Groups::next_due)
    }

    /// Takes what a task came back with, and what others did that have ended by now.
    fn joined(&mut self, first: Result<Done, JoinError>) {
        let (mut next, mut left) = (Some(first), DONE_MAX);
        while let Some(done) = next {
            match done {
                Ok(done) => self.done(done),
                Err(error) if error.is_cancelled() => {}
                // The office may end by it.
                Err(error) => return self.broke_off(&error),
            }
            left -= 1;
            next = if left > 0 { self.tasks.try_join_next() } else { None };
        }
    }

    /// It panicked: the next look tells again; where it was no delivery, the office begins anew.
    fn broke_off(&mut self, error: &JoinError) {
        error!(%error, "a task of the dispatcher broke off");
        let broken = self.running.iter().find(|(_, running)| running.task.id() == error.id());
        match broken.map(|(id, running)| (id.clone(), running.group)) {
            Some((id, group)) => {
                self.running.remove(&id);
                self.shared.board_mut().land(&id, group, false);
            }
            None => self.office = None,
        }
    }

    /// What was told and is not known to be written down is to be, at most so much of it.
    fn catch_up(&mut self, records_max: usize) {
        if !matches!(self.office, Some(Office::Leader(_))) {
            return;
        }
        for (id, record) in self.shared.board().unwritten().into_iter().take(records_max) {
            self.queue.entry(id).or_insert(Entry { record, then: None });
        }
    }

    /// Takes what is due, and starts what is to be written and sent.
    fn advance(&mut self) {
        let now = clock::now();
        let Some(office) = self.office else { return self.count(now) };
        let tellings = match self.arriving {
            true => Vec::new(),
            false => self.shared.board_mut().due(now),
        };
        for telling in tellings {
            match office {
                Office::Alone => self.send(telling, true),
                Office::Leader(_) => {
                    let record = telling.record.clone();
                    self.queue.insert(telling.id.clone(), Entry { record, then: Some(telling) });
                }
            }
        }
        if let Office::Leader(fence) = office {
            while self.writes < self.writes_max() && self.write(fence) {}
        }
        self.count(now);
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Written(epoch, batch, outcome) => {
                self.end_write(batch.keys());
                match outcome {
                    // Of an earlier configuration: what it was to tell has been looked at anew.
                    Outcome::Applied(at) if epoch != self.epoch => self.saved(&batch, at),
                    _ if epoch != self.epoch => {}
                    outcome => self.written(batch, outcome),
                }
            }
            Done::Arrived(arrival, revision) => self.arrived(*arrival, revision),
            Done::Told(telling, result) => {
                self.running.remove(&telling.id);
                self.told(&telling, result);
            }
            Done::Tidied => self.tidying = false,
        }
    }

    /// Sends; `unwritten`: without the registry knowing of it.
    fn send(&mut self, telling: Telling, unwritten: bool) {
        let shared = Arc::clone(&self.shared);
        if telling.alerts.is_empty() {
            self.told(&telling, Ok(()));
            return;
        }
        let fence = match self.office {
            Some(Office::Leader(fence)) if !unwritten => Some(fence),
            _ => None,
        };
        let (id, group, decided_at) =
            (telling.id.clone(), telling.group, telling.record.decided_at);
        let integration = Arc::clone(&telling.integration);
        let plan = Arc::clone(&self.shared.board().plan);
        let task = self.tasks.spawn(async move {
            let result = notify::deliver(&shared, &telling, fence).await;
            Done::Told(Box::new(telling), result)
        });
        self.running.insert(id, Running { integration, plan, group, decided_at, task });
    }

    fn told(&mut self, telling: &Telling, result: Result<(), String>) {
        if let Err(error) = &result {
            let record = &telling.record;
            warn!(
                receiver = record.receiver,
                integration = record.integration,
                group = record.group_key,
                error,
                "notification not delivered; the group's next look tries again"
            );
        }
        let mut board = self.shared.board_mut();
        let Some(record) = board.finish(telling, result.is_ok(), clock::now()) else { return };
        // Until the registry has it: the queue does not outlive the office.
        board.unsaved.insert(telling.id.clone());
        if matches!(self.office, Some(Office::Leader(_))) {
            self.queue.insert(telling.id.clone(), Entry { record, then: None });
        }
    }

    fn tidy(&mut self) {
        let Some(office) = self.office else { return };
        if let Some(groups) = &mut self.shared.board_mut().groups {
            groups.tidy();
        }
        if self.writes == 0 {
            self.catch_up(RECORDS_PER_TXN_MAX);
        }
        let Office::Leader(fence) = office else { return };
        if std::mem::replace(&mut self.tidying, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            tidy::run(&shared, fence).await;
            Done::Tidied
        });
    }

    fn count(&mut self, now: Time) {
        let groups = self.shared.board().groups.as_ref().map_or(0, super::group::Groups::len);
        self.shared.metrics.groups.set(i64::try_from(groups).unwrap_or(i64::MAX));
        if self.counted.is_some_and(|at| at.elapsed() < COUNT) {
            return;
        }
        self.counted = Some(Instant::now());
        let counts = (self.queue.len(), self.running.len());
        self.shared.metrics.queued(counts, self.oldest(now));
    }

    /// How long ago the oldest was decided of what is on its way.
    fn oldest(&self, now: Time) -> Duration {
        let waiting = self.queue.values().filter(|entry| entry.then.is_some());
        let waiting = waiting.map(|entry| entry.record.decided_at);
        let all = waiting.chain(self.running.values().map(|running| running.decided_at));
        all.min().and_then(|at| (now - at).to_std().ok()).unwrap_or_default()
    }
}
