//! The dispatcher: on the leader (or, where the registry is lost, on every node) what is due is written down, sent, and
//! written down again. One transaction carries what many groups have to say, and one is under way at a time, so that
//! what is written later is later. What the registry refuses to write down, or does not for a while, is sent all the
//! same: who leads now tells nobody twice, only the next leader may.

use std::{collections::HashMap, sync::Arc, time::Duration};

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
use batch::{Batch, Entry, Outcome, commit};
use office::Office;

/// Bytes of the records in one transaction: the registry takes requests of 1.5 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// A registry that takes no transaction for so long is as good as one that refuses.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
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
    writing: bool,
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
            Some(done) = conductor.tasks.join_next() => match done {
                Ok(done) => conductor.done(done),
                Err(error) if error.is_cancelled() => {}
                Err(error) => conductor.broke_off(&error),
            },
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
            writing: false,
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
        if let (Office::Leader(fence), false, false) = (office, self.writing, self.queue.is_empty())
        {
            self.write(fence);
        }
        self.count(now);
    }

    fn write(&mut self, fence: i64) {
        let records_max = if self.singly > 0 { 1 } else { RECORDS_PER_TXN_MAX };
        self.singly = self.singly.saturating_sub(1);
        let (mut batch, mut bytes) = (Batch::new(), 0);
        while let Some((id, entry)) = self.queue.pop_first() {
            let size = entry.size();
            let is_full = batch.len() >= records_max || bytes + size > BATCH_BYTES_MAX;
            if is_full && !batch.is_empty() {
                self.queue.insert(id, entry);
                break;
            }
            bytes += size;
            batch.insert(id, entry);
        }
        self.writing = true;
        let (client, epoch) = (self.shared.client.clone(), self.epoch);
        self.tasks.spawn(async move {
            let outcome = commit(&client, fence, &batch).await;
            Done::Written(epoch, batch, outcome)
        });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Written(epoch, batch, outcome) => {
                self.writing = false;
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

    /// The registry has these at `revision`.
    fn saved(&self, batch: &Batch, revision: i64) {
        let mut board = self.shared.board_mut();
        batch.iter().for_each(|(id, entry)| board.saved(id, &entry.record, revision));
    }

    fn written(&mut self, batch: Batch, outcome: Outcome) {
        if !matches!(outcome, Outcome::Unknown(_)) {
            self.failing_since = None;
        }
        match outcome {
            Outcome::Applied(revision) => {
                self.saved(&batch, revision);
                for telling in batch.into_values().filter_map(|entry| entry.then) {
                    self.send(telling, false);
                }
            }
            // The same again until the office is lost.
            Outcome::Deposed => self.again(batch),
            // One of them is to blame, or all are.
            Outcome::Refused(error) if batch.len() > 1 => {
                warn!(error, records = batch.len(), "refused together, tried one by one");
                self.singly = batch.len();
                self.again(batch);
            }
            Outcome::Refused(error) => self.send_unwritten(batch, &error),
            Outcome::Unknown(error) => {
                let since = *self.failing_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= WRITE_PATIENCE {
                    return self.send_unwritten(batch, &error);
                }
                warn!(error, "what is told is not written down yet");
                self.again(batch);
            }
        }
    }

    /// To be written once more, unless there is something newer.
    fn again(&mut self, batch: Batch) {
        for (id, entry) in batch {
            self.queue.entry(id).or_insert(entry);
        }
    }

    /// Nobody must stay untold because it cannot be written down. It is tried again when it is tidied up.
    fn send_unwritten(&mut self, batch: Batch, error: &str) {
        for (id, Entry { record, then }) in batch {
            self.shared.board_mut().unsaved.insert(id);
            let Some(telling) = then else { continue };
            error!(
                error,
                receiver = record.receiver,
                group = record.group_key,
                "it cannot be written down who is told: told all the same, and by the next leader perhaps again"
            );
            self.send(telling, true);
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
        if !self.writing {
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
