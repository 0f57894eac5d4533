//! A decision into the registry: one transaction, fenced by the leader key's create revision.

use std::time::Duration;

use tracing::{Instrument, Span, info_span, warn};
use watchkeep_catalog::{
    Client, ClientError, Failover, FailoverState, KeyValue,
    client::{Compare, Op, OpOutcome, Txn, TxnOutcome},
    keys,
    trace::{set_parent, trace_parent},
};

use crate::{
    decide::Decision,
    mirror::{Mirror, Versioned},
    store,
};

/// Pause after a transaction whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(100);

/// What the registry has instead of what the decision was made on.
pub(super) struct Found {
    pub(super) revision: i64,
    pub(super) records: Vec<(String, Option<KeyValue>)>,
}

pub(super) enum Outcome {
    Committed {
        revision: i64,
        decision: Box<Decision>,
    },
    /// Somebody was faster; decide again on this.
    Overtaken(Found),
    /// Another node leads.
    Fenced,
    /// Perhaps committed. Decide again: what was committed is then found, and not done twice.
    Unknown,
}

pub(super) async fn commit(client: &Client, fence: i64, mut decision: Decision) -> Outcome {
    let verdict_span = verdict_span(&decision);
    let probe = decision.verdict.as_ref().and_then(|verdict| verdict.trace_parent.clone());
    set_parent(&verdict_span, probe.as_deref());
    let span = info_span!(
        parent: &verdict_span,
        "decision",
        incident = decision.incident.as_ref().map(|incident| incident.id.as_str()),
        failover = decision.failover.as_ref().map(|failover| failover.id.as_str()),
    );
    if let (Some(failover), Some(parent)) = (&mut decision.failover, trace_parent(&span)) {
        failover.trace_parent = Some(parent);
    }
    async {
        let result = match transaction(fence, &decision) {
            Ok(txn) => client.txn(txn).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(outcome) if outcome.succeeded => {
                tracing::info!(
                    service = decision.target.service,
                    instance = decision.target.instance,
                    status = decision.verdict.as_ref().map_or("gone", |v| v.status.as_str()),
                    failover = decision.failover.as_ref().map(|f| f.id.as_str()),
                    "verdict"
                );
                Outcome::Committed { revision: outcome.revision, decision: Box::new(decision) }
            }
            Ok(outcome) if store::leads(fence, outcome.responses.first()) => {
                Outcome::Overtaken(found(&decision, outcome))
            }
            Ok(_) => Outcome::Fenced,
            Err(error) => {
                warn!(%error, "decision not known to be written, deciding again");
                tokio::time::sleep(PAUSE).await;
                Outcome::Unknown
            }
        }
    }
    .instrument(span.clone())
    .await
}

/// All that is decided, if this node leads and nothing of it has changed since it was looked at.
fn transaction(fence: i64, decision: &Decision) -> Result<Txn, ClientError> {
    let target = &decision.target;
    let verdict = keys::verdict(&target.service, &target.instance);
    let mut txn = Txn::new()
        .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
        .when(Compare::mod_revision(&verdict, decision.verdict_revision))
        .then(match &decision.verdict {
            Some(record) => Op::put_json(&verdict, record)?,
            None => Op::delete(&verdict),
        })
        .otherwise(Op::get(keys::ALERTING_LEADER))
        .otherwise(Op::get(&verdict));
    if let Some(incident) = &decision.incident {
        let key = keys::incident(&incident.id);
        txn = txn
            .when(Compare::mod_revision(&key, decision.incident_revision))
            .then(Op::put_json(&key, incident)?)
            .otherwise(Op::get(&key));
    }
    if let Some(failover) = &decision.failover {
        let key = keys::failover(&failover.id);
        txn = txn
            .when(Compare::create_revision(&key, 0))
            .then(Op::put_json(&key, failover)?)
            .otherwise(Op::get(&key));
        if acts(failover) {
            // It acts as soon as it is written: not while failovers are stopped.
            txn = txn
                .when(Compare::create_revision(keys::FAILOVER_STOP, 0))
                .otherwise(Op::get(keys::FAILOVER_STOP));
        }
    }
    if let Some(registered) = decision.deregister {
        let key = keys::instance(&target.service, &target.instance);
        txn = txn
            .when(Compare::mod_revision(&key, registered))
            .then(Op::delete(&key))
            .otherwise(Op::get(&key));
    }
    Ok(txn)
}

/// Whether a failover acts as soon as it is written.
pub(super) fn acts(failover: &Failover) -> bool {
    failover.state == FailoverState::Pending
}

/// What the transaction's reads say, in the order in which [`transaction`] asks.
fn found(decision: &Decision, outcome: TxnOutcome) -> Found {
    let target = &decision.target;
    let keys = [
        Some(keys::verdict(&target.service, &target.instance)),
        decision.incident.as_ref().map(|incident| keys::incident(&incident.id)),
        decision.failover.as_ref().map(|failover| keys::failover(&failover.id)),
        decision.failover.as_ref().filter(|f| acts(f)).map(|_| keys::FAILOVER_STOP.to_owned()),
        decision.deregister.map(|_| keys::instance(&target.service, &target.instance)),
    ];
    let read = outcome.responses.into_iter().skip(1).map(|response| match response {
        OpOutcome::Get(kvs) => kvs.into_iter().next(),
        _ => None,
    });
    Found { revision: outcome.revision, records: keys.into_iter().flatten().zip(read).collect() }
}

/// Enters what was committed at `revision`, before the watch tells of it.
pub(super) fn enter(mirror: &mut Mirror, decision: Decision, revision: i64) {
    fn at<T>(record: T, created: Option<i64>, revision: i64) -> Versioned<T> {
        Versioned { record, create_revision: created.unwrap_or(revision), mod_revision: revision }
    }
    let target = &decision.target;
    if let Some(verdict) = decision.verdict {
        let created = mirror.verdicts.get(target).map(|known| known.create_revision);
        mirror.set_verdict(target, at(verdict, created, revision));
    } else {
        mirror.delete(&keys::verdict(&target.service, &target.instance), revision);
    }
    if decision.deregister.is_some() {
        mirror.delete(&keys::instance(&target.service, &target.instance), revision);
    }
    if let Some(incident) = decision.incident {
        let created = mirror.incidents.get(&incident.id).map(|known| known.create_revision);
        mirror.set_incident(&incident.id.clone(), at(incident, created, revision));
    }
    if let Some(failover) = decision.failover {
        mirror.set_failover(&failover.id.clone(), at(failover, None, revision));
    }
}

/// The span a decision is made in: a child of the probe that tipped the scale.
fn verdict_span(decision: &Decision) -> Span {
    let target = &decision.target;
    let status = decision.verdict.as_ref().map_or("gone", |verdict| verdict.status.as_str());
    info_span!("verdict", service = target.service, instance = target.instance, status)
}
