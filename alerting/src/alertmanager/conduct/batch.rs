//! What is written in one transaction: records, and what is sent once they are in the registry. One is under way at a time,
//! so that each carries much, unless more is waiting than one can carry; and each record is in one of them at most.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tracing::{debug, error, warn};
use watchkeep_catalog::{
    Client, Notification,
    client::{Compare, Op, Txn},
    keys,
};

use super::{Conductor, Done};
use crate::alertmanager::{intake::RECORDS_PER_TXN_MAX, tell::Telling};

/// Bytes of the records in one transaction: the registry takes requests of 1.5 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Transactions under way at once, where there is much to be written.
pub(super) const WRITES_MAX: usize = 4;
/// A registry that takes no transaction for so long is as good as one that refuses.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a transaction whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(100);

/// What is written together.
pub(super) type Batch = BTreeMap<String, Entry>;

/// A record, and what is sent once it is written.
pub(super) struct Entry {
    pub(super) record: Notification,
    pub(super) then: Option<Telling>,
}

impl Entry {
    /// About as many bytes as its JSON.
    pub(super) fn size(&self) -> usize {
        const FINGERPRINT: usize = 21;
        const OTHERS: usize = 400;
        let Notification { firing, resolved, group_key, receiver, .. } = &self.record;
        let fingerprints = (firing.len() + resolved.len()) * FINGERPRINT;
        fingerprints + group_key.len() + receiver.len() + OTHERS
    }
}

/// What came of a transaction.
pub(super) enum Outcome {
    /// At this revision.
    Applied(i64),
    /// Another node leads.
    Deposed,
    /// The registry will not take it.
    Refused(String),
    /// Perhaps applied.
    Unknown(String),
}

/// Writes all of it if this node leads.
async fn commit(client: &Client, fence: i64, batch: &Batch) -> Outcome {
    let mut txn = Txn::new().when(Compare::create_revision(keys::ALERTING_LEADER, fence));
    for (id, entry) in batch {
        match Op::put_json(&keys::notification(id), &entry.record) {
            Ok(op) => txn = txn.then(op),
            Err(error) => return Outcome::Refused(error.to_string()),
        }
    }
    let outcome = match client.txn(txn).await {
        Ok(outcome) if outcome.succeeded => return Outcome::Applied(outcome.revision),
        Ok(_) => {
            debug!("another node leads: what was to be told is told by that one");
            Outcome::Deposed
        }
        Err(error) if error.is_refusal() && !error.is_exhausted() => {
            return Outcome::Refused(error.to_string());
        }
        Err(error) => Outcome::Unknown(error.to_string()),
    };
    tokio::time::sleep(PAUSE).await;
    outcome
}

impl Conductor {
    /// With one at a time each carries much.
    pub(super) fn writes_max(&self) -> usize {
        let is_well = !self.arriving && self.singly == 0 && self.failing_since.is_none();
        match is_well && self.queue.len() >= RECORDS_PER_TXN_MAX {
            true => WRITES_MAX,
            false => 1,
        }
    }

    /// Starts a transaction with what is not in one that is under way; whether there was anything.
    pub(super) fn write(&mut self, fence: i64) -> bool {
        let records_max = if self.singly > 0 { 1 } else { RECORDS_PER_TXN_MAX };
        let (mut batch, mut bytes, mut later) = (Batch::new(), 0, Batch::new());
        while let Some((id, entry)) = self.queue.pop_first() {
            if self.writing.contains(&id) {
                later.insert(id, entry);
                continue;
            }
            let size = entry.size();
            let is_full = batch.len() >= records_max || bytes + size > BATCH_BYTES_MAX;
            if is_full && !batch.is_empty() {
                self.queue.insert(id, entry);
                break;
            }
            bytes += size;
            batch.insert(id, entry);
        }
        self.queue.append(&mut later);
        if batch.is_empty() {
            return false;
        }
        self.singly = self.singly.saturating_sub(1);
        self.begin_write(batch.keys().cloned());
        let (client, epoch) = (self.shared.client.clone(), self.epoch);
        self.tasks.spawn(async move {
            let outcome = commit(&client, fence, &batch).await;
            Done::Written(epoch, batch, outcome)
        });
        true
    }

    /// A transaction with these records is under way.
    pub(super) fn begin_write(&mut self, ids: impl IntoIterator<Item = String>) {
        self.writes += 1;
        self.writing.extend(ids);
    }

    /// It is not any more.
    pub(super) fn end_write<'a>(&mut self, ids: impl Iterator<Item = &'a String>) {
        self.writes -= 1;
        for id in ids {
            self.writing.remove(id);
        }
    }

    /// The registry has these at `revision`.
    pub(super) fn saved(&self, batch: &Batch, revision: i64) {
        let mut board = self.shared.board_mut();
        batch.iter().for_each(|(id, entry)| board.saved(id, &entry.record, revision));
    }

    pub(super) fn written(&mut self, batch: Batch, outcome: Outcome) {
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
}
