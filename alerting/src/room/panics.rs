//! A panic's beginning or end into the registry: its key and its incident in one transaction, fenced by leadership.

use std::time::Duration;

use tracing::warn;
use watchkeep_catalog::{
    Client, ClientError, KeyValue,
    client::{Compare, Op, OpOutcome, Txn},
    keys,
};

use crate::{
    mirror::{Mirror, Versioned},
    panic::Decision,
    store,
};

/// Pause after a transaction whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) enum Outcome {
    Committed(i64, Box<Decision>),
    /// Somebody was faster; decide again on this.
    Overtaken(i64, Vec<(String, Option<KeyValue>)>),
    /// Another node leads, or perhaps it is committed: then the watch tells of it.
    Unknown,
}

pub(super) async fn commit(client: &Client, fence: i64, decision: Decision) -> Outcome {
    let result = match transaction(fence, &decision) {
        Ok(txn) => client.txn(txn).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(outcome) if outcome.succeeded => {
            let service = &decision.service;
            match &decision.panic {
                Some(panic) => warn!(
                    service,
                    critical = panic.critical,
                    instances = panic.instances,
                    "so much seems critical at once that none of it is believed"
                ),
                None => tracing::info!(service, "the panic is over"),
            }
            Outcome::Committed(outcome.revision, Box::new(decision))
        }
        Ok(outcome) if store::leads(fence, outcome.responses.first()) => {
            let keys = [Some(keys::panic(&decision.service)), incident_key(&decision)];
            let read = outcome.responses.into_iter().skip(1).map(|response| match response {
                OpOutcome::Get(kvs) => kvs.into_iter().next(),
                _ => None,
            });
            Outcome::Overtaken(outcome.revision, keys.into_iter().flatten().zip(read).collect())
        }
        Ok(_) => Outcome::Unknown,
        Err(error) => {
            warn!(%error, "a panic is not known to be written, deciding again");
            tokio::time::sleep(PAUSE).await;
            Outcome::Unknown
        }
    }
}

fn incident_key(decision: &Decision) -> Option<String> {
    decision.incident.as_ref().map(|incident| keys::incident(&incident.id))
}

fn transaction(fence: i64, decision: &Decision) -> Result<Txn, ClientError> {
    let key = keys::panic(&decision.service);
    let mut txn = Txn::new()
        .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
        .when(Compare::mod_revision(&key, decision.revision))
        .then(match &decision.panic {
            Some(panic) => Op::put_json(&key, panic)?,
            None => Op::delete(&key),
        })
        .otherwise(Op::get(keys::ALERTING_LEADER))
        .otherwise(Op::get(&key));
    if let (Some(incident), Some(key)) = (&decision.incident, incident_key(decision)) {
        txn = txn
            .when(Compare::mod_revision(&key, decision.incident_revision))
            .then(Op::put_json(&key, incident)?)
            .otherwise(Op::get(&key));
    }
    Ok(txn)
}

/// Enters what was committed at `revision`, before the watch tells of it.
pub(super) fn enter(mirror: &mut Mirror, decision: Decision, revision: i64) {
    let at = |created: Option<i64>| (created.unwrap_or(revision), revision);
    match decision.panic {
        Some(record) => {
            let (create_revision, mod_revision) = at(None);
            let panic = Versioned { record, create_revision, mod_revision };
            mirror.panics.insert(decision.service, panic);
        }
        None => {
            mirror.delete(&keys::panic(&decision.service), revision);
        }
    }
    if let Some(record) = decision.incident {
        let id = record.id.clone();
        let (create_revision, mod_revision) =
            at(mirror.incidents.get(&id).map(|known| known.create_revision));
        mirror.set_incident(&id, Versioned { record, create_revision, mod_revision });
    }
}
