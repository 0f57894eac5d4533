//! The next step of an incident into the registry, before anybody is called.

use std::{sync::Arc, time::Duration};

use tracing::warn;
use watchkeep_catalog::{
    Client, Incident, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{Done, Room};
use crate::{escalation, mirror::Versioned};

/// Steps on their way to the registry at once.
const STEPS_MAX: usize = 64;
/// Pause after a step that was not taken, before it is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

impl Room {
    /// Takes the steps that are due.
    pub(super) fn escalate(&mut self, fence: i64, now: Time) {
        let due: Vec<String> = self
            .mirror
            .wakes
            .iter()
            .filter(|(id, at)| **at <= now && !self.escalating.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            if self.escalating.len() >= STEPS_MAX {
                break;
            }
            let Some(mut incident) = self.mirror.incidents.get(&id).cloned() else { continue };
            if !escalation::advance(&mut incident.record, &self.rules, &mut self.robin, now) {
                continue;
            }
            let context = Arc::clone(&self.context);
            self.escalating.insert(id.clone());
            self.tasks.spawn(async move {
                Done::Escalated(id, commit(&context.client, fence, incident).await.map(Box::new))
            });
        }
    }
}

/// Writes it, if this node leads and nobody has changed the incident; else the watch tells what it is now.
async fn commit(
    client: &Client,
    fence: i64,
    mut incident: Versioned<Incident>,
) -> Option<Versioned<Incident>> {
    let key = keys::incident(&incident.record.id);
    let put = Op::put_json(&key, &incident.record).ok()?;
    let txn = Txn::new()
        .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
        .when(Compare::mod_revision(&key, incident.mod_revision))
        .then(put);
    match client.txn(txn).await {
        Ok(outcome) if outcome.succeeded => {
            incident.mod_revision = outcome.revision;
            return Some(incident);
        }
        Ok(_) => {}
        Err(error) => {
            warn!(incident = incident.record.id, %error, "a step is not known to be written")
        }
    }
    tokio::time::sleep(PAUSE).await;
    None
}
