//! What people do with a failover: confirm it, end it, rehearse one, stop and resume all.

use sha2::{Digest, Sha256};
use watchkeep_catalog::{
    Client, Failover, FailoverState, FailoverStop, Incident, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::judge::over;
use crate::{
    config::FailoverPolicy,
    incident::{self, Refusal},
    mirror::Versioned,
    store::StoreError,
};

/// Lost races of one change.
const TRIES_MAX: u32 = 50;

/// Changes a failover and its incident in one transaction. `change` may run several times.
async fn update(
    client: &Client,
    id: &str,
    mut change: impl FnMut(&mut Failover, Option<&mut Incident>) -> Result<(), Refusal>,
) -> Result<Versioned<Failover>, StoreError> {
    let key = keys::failover(id);
    for _ in 0..TRIES_MAX {
        let Some(kv) = client.get(&key).await? else {
            return Err(StoreError::Missing(format!("failover {id}")));
        };
        let mut failover = Versioned::<Failover>::read(&kv)?;
        let incident_key = keys::incident(&failover.record.incident);
        let incident = match failover.record.incident.as_str() {
            "" => None,
            _ => client.get(&incident_key).await?,
        };
        let mut incident = incident.as_ref().map(Versioned::<Incident>::read).transpose()?;
        change(&mut failover.record, incident.as_mut().map(|incident| &mut incident.record))?;
        let mut txn = Txn::new()
            .when(Compare::mod_revision(&key, kv.mod_revision))
            .then(Op::put_json(&key, &failover.record)?);
        if let Some(incident) = &incident {
            txn = txn
                .when(Compare::mod_revision(&incident_key, incident.mod_revision))
                .then(Op::put_json(&incident_key, &incident.record)?);
        }
        let outcome = client.txn(txn).await?;
        if outcome.succeeded {
            failover.mod_revision = outcome.revision;
            return Ok(failover);
        }
    }
    Err(StoreError::Contended(format!("failover {id}")))
}

/// Somebody confirms it; `also` may refuse, or change the incident with it.
///
/// # Errors
/// When it does not wait for that, or does not any more.
pub(crate) async fn approve(
    client: &Client,
    id: &str,
    by: &str,
    now: Time,
    mut also: impl FnMut(&mut Incident) -> Result<(), Refusal>,
) -> Result<Versioned<Failover>, StoreError> {
    update(client, id, |failover, incident| {
        if failover.state != FailoverState::AwaitingApproval {
            let state = failover.state.as_str();
            let text = format!("failover {id} is {state}: there is nothing to confirm");
            return Err(Refusal::Senseless(text));
        }
        if failover.expires_at.is_some_and(|until| until <= now) {
            return Err(Refusal::Senseless(format!(
                "failover {id}: the time to confirm it is over"
            )));
        }
        failover.state = FailoverState::Deciding;
        failover.approved_by = Some(by.to_owned());
        (failover.due_at, failover.expires_at) = (Some(now), None);
        let text = format!("failover {} confirmed", failover.policy);
        if let Some(incident) = incident {
            also(incident)?;
            incident::note(incident, now, by, text);
        }
        Ok(())
    })
    .await
}

/// Somebody ends it. What is under way ends before its next effect.
///
/// # Errors
/// When it is over.
pub(crate) async fn abort(
    client: &Client,
    id: &str,
    by: &str,
    now: Time,
    mut also: impl FnMut(&mut Incident) -> Result<(), Refusal>,
) -> Result<Versioned<Failover>, StoreError> {
    update(client, id, |failover, incident| {
        if failover.state.is_over() {
            let state = failover.state.as_str();
            let text = format!("failover {id} is over ({state}): there is nothing to end");
            return Err(Refusal::Senseless(text));
        }
        if let Some(other) = &failover.aborted_by {
            let text = format!("failover {id} ends before its next effect: {other} has said so");
            return Err(Refusal::Senseless(text));
        }
        failover.aborted_by = Some(by.to_owned());
        let text = if failover.state == FailoverState::Pending {
            format!("failover {} is to end before its next effect", failover.policy)
        } else {
            over(failover, FailoverState::Aborted, &format!("by {by}"), now)
        };
        if let Some(incident) = incident {
            also(incident)?;
            incident::note(incident, now, by, text);
        }
        Ok(())
    })
    .await
}

/// A rehearsal of a policy against an instance.
///
/// # Errors
/// When the registry does not take it.
pub(crate) async fn rehearse(
    client: &Client,
    policy: &FailoverPolicy,
    service: &str,
    instance: &str,
    by: &str,
    now: Time,
) -> Result<Versioned<Failover>, StoreError> {
    let seed = format!("{}/{service}/{instance}/{}", policy.name, now.timestamp_micros());
    let digest = hex::encode(Sha256::digest(seed.as_bytes()));
    let id = format!("rehearsal-{}-{}.{}", now.format("%Y%m%d-%H%M%S"), &digest[..8], policy.name);
    let mut record = Failover::new(id, &policy.name, service, instance, now);
    record.rehearsal = true;
    record.state = FailoverState::Deciding;
    record.mode = policy.mode();
    record.due_at = Some(now);
    record.reason = format!("rehearsal by {by}");
    let key = keys::failover(&record.id);
    let txn = Txn::new().when(Compare::create_revision(&key, 0)).then(Op::put_json(&key, &record)?);
    let outcome = client.txn(txn).await?;
    if !outcome.succeeded {
        return Err(StoreError::Contended(format!("failover {}", record.id)));
    }
    let (create_revision, mod_revision) = (outcome.revision, outcome.revision);
    Ok(Versioned { record, create_revision, mod_revision })
}

/// From now on no failover is begun, and none goes on.
///
/// # Errors
/// When the registry does not take it.
pub(crate) async fn stop(client: &Client, stop: &FailoverStop) -> Result<(), StoreError> {
    client.put_json(keys::FAILOVER_STOP, stop, 0).await?;
    Ok(())
}

/// Failovers happen again; false when they were not stopped.
///
/// # Errors
/// When the registry does not take it.
pub(crate) async fn resume(client: &Client) -> Result<bool, StoreError> {
    Ok(client.delete(keys::FAILOVER_STOP).await?)
}
