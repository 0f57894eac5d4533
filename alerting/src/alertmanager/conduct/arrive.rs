//! Alerts that have just come in and what is decided of them, in one transaction, where this node leads. Unless that is
//! known to be written the board shows nothing of it, and the intake writes the alerts by itself.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;
use tracing::debug;
use watchkeep_catalog::{
    Alert, Client, ClientError, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{Conductor, Done, Office, batch::WRITES_MAX};
use crate::{
    alertmanager::{foresee::Foreseen, intake::RECORDS_PER_TXN_MAX, tell::Telling},
    clock,
};

/// Longest wait for the answer; then the intake writes the alerts again.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Alerts of the intake, by their fingerprints. Whoever drops it leaves them to the intake.
pub(crate) struct Handover {
    pub(crate) alerts: Vec<(u64, Arc<Alert>)>,
    /// They are in the registry, and on the board.
    pub(crate) done: oneshot::Sender<()>,
}

/// What is being written together.
pub(super) struct Arrival {
    pub(super) handover: Handover,
    pub(super) foreseen: Vec<Foreseen>,
    /// The configuration by which it was foreseen, and when.
    pub(super) epoch: u64,
    pub(super) at: Time,
}

impl Arrival {
    fn tellings(&self) -> impl Iterator<Item = &Telling> {
        self.foreseen.iter().flat_map(|group| &group.tellings)
    }

    /// All of it if `fence` holds, else nothing.
    pub(super) fn txn(&self, fence: i64) -> Result<Txn, ClientError> {
        let mut txn = Txn::new().when(Compare::create_revision(keys::ALERTING_LEADER, fence));
        for (fingerprint, alert) in &self.handover.alerts {
            txn = txn.then(Op::put_json(&keys::alert(*fingerprint), &**alert)?);
        }
        for telling in self.tellings() {
            txn = txn.then(Op::put_json(&keys::notification(&telling.id), &telling.record)?);
        }
        Ok(txn)
    }

    /// The revision at which it is in the registry; none when it is not, or nobody knows.
    async fn write(&self, client: &Client, fence: i64) -> Option<i64> {
        let txn = self.txn(fence).ok()?;
        match tokio::time::timeout(ANSWER_MAX, client.txn(txn)).await {
            Ok(Ok(outcome)) if outcome.succeeded => return Some(outcome.revision),
            Ok(Ok(_)) => debug!("another node leads: the alerts go there by themselves"),
            Ok(Err(error)) => {
                debug!(%error, "alerts and what is told of them not written together")
            }
            Err(_) => debug!("no answer to alerts and what is told of them"),
        }
        None
    }
}

impl Conductor {
    /// Takes alerts that begin something to be told at once. Until they are written nothing else is decided: what was
    /// foreseen holds.
    pub(super) fn arrive(&mut self, handover: Handover) {
        let Some(Office::Leader(fence)) = self.office else { return };
        let is_well = self.singly == 0 && self.failing_since.is_none();
        if self.arriving || !is_well || self.writes >= WRITES_MAX {
            return;
        }
        let at = clock::now();
        let arrival = {
            let board = self.shared.board();
            let foreseen = board.foresee(&handover.alerts, at);
            Arrival { handover, foreseen, epoch: board.epoch, at }
        };
        let ids: Vec<String> = arrival.tellings().map(|telling| telling.id.clone()).collect();
        // What is written later is later.
        let waits = |id: &String| self.writing.contains(id) || self.queue.contains_key(id);
        let is_much = arrival.handover.alerts.len() + ids.len() > RECORDS_PER_TXN_MAX;
        if ids.is_empty() || is_much || ids.iter().any(waits) {
            return;
        }
        self.begin_write(ids);
        self.arriving = true;
        let client = self.shared.client.clone();
        self.tasks.spawn(async move {
            let revision = arrival.write(&client, fence).await;
            Done::Arrived(Box::new(arrival), revision)
        });
    }

    /// They are on the board with what was decided of them, and that is sent.
    pub(super) fn arrived(&mut self, arrival: Arrival, revision: Option<i64>) {
        self.end_write(arrival.tellings().map(|telling| &telling.id));
        self.arriving = false;
        let Some(revision) = revision else { return };
        let Arrival { handover: Handover { alerts, done }, foreseen, epoch, at } = arrival;
        let tellings = {
            let mut board = self.shared.board_mut();
            for (fingerprint, alert) in alerts {
                board.put_alert(fingerprint, alert, revision, at);
            }
            if epoch == board.epoch {
                board.adopt(foreseen, revision, at)
            } else {
                // What it was to tell is looked at anew by the new configuration.
                for telling in foreseen.into_iter().flat_map(|group| group.tellings) {
                    board.put_logged(&telling.id, telling.record, revision);
                }
                Vec::new()
            }
        };
        // Whoever does not wait any more needs no answer.
        let _ = done.send(());
        for telling in tellings {
            self.send(telling, false);
        }
    }
}
