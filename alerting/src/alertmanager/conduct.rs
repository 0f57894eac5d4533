//! The dispatcher: on the leader (or, where the registry is lost, on every node) what is due is written down, sent, and
//! written down again. One transaction carries what many groups have to say, and one is under way at a time, so that
//! what is written later is later.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use watchkeep_catalog::{
    Client, Notification, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{intake::RECORDS_PER_TXN_MAX, notify, shared::Shared, tell::Telling, tidy};
use crate::{clock, leader::Term};

/// Pause after a transaction whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(100);
/// How often what nobody needs any more is taken away; groups without alerts go then, as with Alertmanager.
const TIDY: Duration = Duration::from_secs(30);
/// Longest sleep: clocks are moved.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// On whose account somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Office {
    /// This node leads; the number fences its writes.
    Leader(i64),
    /// The registry is lost.
    Alone,
}

/// What a task came back with.
enum Done {
    /// A transaction with the records of these ids: whether it was applied.
    Written(Batch, Result<bool, String>),
    Told(Box<Telling>, Result<(), String>),
    Tidied,
}

/// What is written together.
type Batch = BTreeMap<String, Entry>;

/// A record, and what is sent once it is written.
struct Entry {
    record: Notification,
    then: Option<Telling>,
}

struct Conductor {
    shared: Arc<Shared>,
    office: Option<Office>,
    /// The configuration that is in use.
    epoch: u64,
    /// To be written, by id: what is newer replaces what is older.
    queue: Batch,
    writing: bool,
    tidying: bool,
    tasks: JoinSet<Done>,
}

/// Runs until `token` is cancelled.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut term: watch::Receiver<Term>,
    token: CancellationToken,
) {
    let mut conductor = Conductor {
        shared: Arc::clone(&shared),
        office: None,
        epoch: 0,
        queue: Batch::new(),
        writing: false,
        tidying: false,
        tasks: JoinSet::new(),
    };
    let mut tidying = tokio::time::interval(TIDY);
    loop {
        let due = shared.board().groups.as_ref().and_then(super::group::Groups::next_due);
        let now = clock::now();
        tokio::select! {
            () = token.cancelled() => return,
            changed = term.changed() => if changed.is_err() { return },
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(until(due, now)) => {}
            _ = tidying.tick() => conductor.tidy(),
            Some(done) = conductor.tasks.join_next() => match done {
                Ok(done) => conductor.done(done),
                Err(error) if error.is_cancelled() => {}
                Err(error) => error!(%error, "a task of the dispatcher broke off"),
            },
        }
        conductor.take_office(*term.borrow());
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
    /// In a new office everything is looked at anew; what was under way in the old one stops.
    fn take_office(&mut self, term: Term) {
        let office = match term {
            _ if self.shared.is_lost() => Some(Office::Alone),
            // Once the board shows the own election, it shows what was told before.
            Some(fence) if self.shared.board().revision >= fence => Some(Office::Leader(fence)),
            _ => None,
        };
        let epoch = self.shared.board().epoch;
        if (office, epoch) == (self.office, self.epoch) {
            return;
        }
        (self.office, self.epoch) = (office, epoch);
        self.tasks = JoinSet::new();
        self.queue.clear();
        (self.writing, self.tidying) = (false, false);
        let mut board = self.shared.board_mut();
        match office {
            Some(_) => board.begin(clock::now()),
            None => board.end(),
        }
        let told_alone: Vec<String> = match office {
            Some(Office::Leader(_)) => board.unsaved.drain().collect(),
            _ => Vec::new(),
        };
        for id in told_alone {
            if let Some(logged) = board.log.get(&id) {
                self.queue.insert(id, Entry { record: logged.record.clone(), then: None });
            }
        }
    }

    /// Takes what is due, and starts what is to be written and sent.
    fn advance(&mut self) {
        let Some(office) = self.office else { return };
        let now = clock::now();
        let tellings = self.shared.board_mut().due(now);
        for telling in tellings {
            match office {
                Office::Alone => self.send(telling),
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
        self.count();
    }

    fn write(&mut self, fence: i64) {
        let mut batch = std::mem::take(&mut self.queue);
        if let Some(next) = batch.keys().nth(RECORDS_PER_TXN_MAX).cloned() {
            self.queue = batch.split_off(&next);
        }
        self.writing = true;
        let client = self.shared.client.clone();
        self.tasks.spawn(async move {
            let written = commit(&client, fence, &batch).await;
            Done::Written(batch, written)
        });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Written(batch, Ok(true)) => {
                self.writing = false;
                for telling in batch.into_values().filter_map(|entry| entry.then) {
                    self.send(telling);
                }
            }
            // Another node leads, or the registry does not answer: the same again until the office is lost.
            Done::Written(batch, result) => {
                self.writing = false;
                if let Err(error) = result {
                    warn!(error, "what is told is not written down yet");
                }
                for (id, entry) in batch {
                    self.queue.entry(id).or_insert(entry);
                }
            }
            Done::Told(telling, result) => self.told(&telling, result),
            Done::Tidied => self.tidying = false,
        }
    }

    fn send(&mut self, telling: Telling) {
        let shared = Arc::clone(&self.shared);
        if telling.alerts.is_empty() {
            self.told(&telling, Ok(()));
            return;
        }
        let alone = self.office == Some(Office::Alone);
        self.tasks.spawn(async move {
            let result = notify::deliver(&shared, &telling, alone).await;
            Done::Told(Box::new(telling), result)
        });
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
        match self.office {
            Some(Office::Leader(_)) => {
                self.queue.insert(telling.id.clone(), Entry { record, then: None });
            }
            _ => {
                board.unsaved.insert(telling.id.clone());
            }
        }
    }

    fn tidy(&mut self) {
        let Some(office) = self.office else { return };
        if let Some(groups) = &mut self.shared.board_mut().groups {
            groups.tidy();
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

    fn count(&self) {
        let groups = self.shared.board().groups.as_ref().map_or(0, super::group::Groups::len);
        self.shared.metrics.groups.set(i64::try_from(groups).unwrap_or(i64::MAX));
    }
}

/// Writes all of it if this node leads; false: it does not.
async fn commit(client: &Client, fence: i64, batch: &Batch) -> Result<bool, String> {
    let mut txn = Txn::new().when(Compare::create_revision(keys::ALERTING_LEADER, fence));
    for (id, entry) in batch {
        let op = Op::put_json(&keys::notification(id), &entry.record).map_err(|e| e.to_string())?;
        txn = txn.then(op);
    }
    match client.txn(txn).await {
        Ok(outcome) => {
            if !outcome.succeeded {
                debug!("another node leads: what was to be told is told by that one");
                tokio::time::sleep(PAUSE).await;
            }
            Ok(outcome.succeeded)
        }
        Err(error) => {
            tokio::time::sleep(PAUSE).await;
            Err(error.to_string())
        }
    }
}
