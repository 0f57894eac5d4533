//! What is written in one transaction: records, and what is sent once they are in the registry.

use std::{collections::BTreeMap, time::Duration};

use tracing::debug;
use watchkeep_catalog::{
    Client, Notification,
    client::{Compare, Op, Txn},
    keys,
};

use crate::alertmanager::tell::Telling;

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
pub(super) async fn commit(client: &Client, fence: i64, batch: &Batch) -> Outcome {
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
