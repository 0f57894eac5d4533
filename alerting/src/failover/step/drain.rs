//! An instance is left out of answers, or is not any more: DNS, service discovery and `healthy=true` follow one key.

use watchkeep_catalog::{
    Drain,
    client::{Compare, Op},
    keys,
};

use super::{Deposed, Outcome, Run, whom};
use crate::{clock, config::Whom, store::Extra};

/// Leaves it out.
pub(super) async fn drain(run: &mut Run<'_>, config: &Whom) -> Result<Outcome, Deposed> {
    let record = &run.failover.record;
    let instance = match whom(record, config) {
        Ok(instance) => instance,
        Err(why) => return Ok(Outcome::Failed(why)),
    };
    let about = format!("{}/{instance}", record.service);
    if record.rehearsal {
        return Ok(Outcome::done(format!("it would drain {about}")));
    }
    let key = keys::drain(&record.service, &instance);
    let drain = Drain {
        service: record.service.clone(),
        instance,
        since: clock::now(),
        by: record.id.clone(),
        reason: record.reason.clone(),
    };
    let then = match Op::put_json(&key, &drain) {
        Ok(op) => vec![op],
        Err(error) => return Ok(Outcome::Failed(error.to_string())),
    };
    Ok(Outcome::with(format!("{about} is drained"), Extra { then, acts: true, ..Extra::default() }))
}

/// Takes it in again.
pub(super) async fn undrain(run: &mut Run<'_>, config: &Whom) -> Result<Outcome, Deposed> {
    let record = &run.failover.record;
    let instance = match whom(record, config) {
        Ok(instance) => instance,
        Err(why) => return Ok(Outcome::Failed(why)),
    };
    let about = format!("{}/{instance}", record.service);
    if record.rehearsal {
        return Ok(Outcome::done(format!("it would undrain {about}")));
    }
    let key = keys::drain(&record.service, &instance);
    let drained = match run.context.client.get(&key).await {
        Ok(drained) => drained,
        Err(error) => return Ok(Outcome::Failed(error.to_string())),
    };
    let Some(drained) = drained else {
        return Ok(Outcome::done(format!("{about} is not drained")));
    };
    let extra = Extra {
        when: vec![Compare::mod_revision(&key, drained.mod_revision)],
        then: vec![Op::delete(&key)],
        acts: true,
    };
    Ok(Outcome::with(format!("{about} is not drained any more"), extra))
}
