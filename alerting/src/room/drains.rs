//! Drains of instances that are not registered any more. Since when is written down, so that no leader begins to count anew;
//! after the time that the settings give, the drain ends. Whoever comes back before is left out as before.
//!
//! That it ended is written in the same transaction: what was drained, by whom, and when it ended, under a key of its own, and
//! in the timeline of the incident whose failover had drained it.

use std::sync::Arc;

use chrono::TimeDelta;
use tracing::{debug, info};
use watchkeep_catalog::{
    Client, ClientError, DrainAbsence, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{Done, Room};
use crate::{
    incident::{self, WATCHKEEP},
    mirror::{Mirror, Target},
};

/// Changes in one round; the next ones are a second later.
const CHANGES_MAX: usize = 100;

impl Room {
    /// Begins what is due, unless what was due before is under way.
    pub(super) fn see_to_drains(&mut self, fence: i64, now: Time) {
        if self.seeing_to_drains {
            return;
        }
        let due = due(&self.mirror, self.rules.drain_retention, fence, now);
        if !due.is_empty() {
            let context = Arc::clone(&self.context);
            self.seeing_to_drains = true;
            self.tasks.spawn(async move {
                write(&context.client, due).await;
                Done::DrainsSeenTo
            });
        }
    }
}

/// What is to be written of a drain.
#[derive(Debug)]
struct Due {
    target: Target,
    step: Step,
    txn: Txn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its instance is not registered any more.
    Gone,
    /// The instance is back, or nothing is drained any more.
    Forget,
    /// It has been gone for long.
    End,
}

/// What is due, each on the condition that nothing of it has changed and this node leads.
fn due(mirror: &Mirror, retention: Option<TimeDelta>, fence: i64, now: Time) -> Vec<Due> {
    let steps = mirror.drains.keys();
    let steps = steps.filter_map(|target| Some((target, drained(mirror, target, retention, now)?)));
    let is_over = |target: &Target| {
        mirror.instances.contains_key(target) || !mirror.drains.contains_key(target)
    };
    let standing = mirror.absent_drains.iter();
    let standing = standing.filter(|(_, known)| known.record.ended_at.is_none());
    let over = standing.filter(|(target, _)| is_over(target));
    let steps = steps.chain(over.map(|(target, _)| (target, Step::Forget)));
    let due = steps.filter_map(|(target, step)| {
        let txn = transaction(mirror, target, step, fence, now).ok()?;
        Some(Due { target: target.clone(), step, txn })
    });
    due.take(CHANGES_MAX).collect()
}

fn drained(
    mirror: &Mirror,
    target: &Target,
    retention: Option<TimeDelta>,
    now: Time,
) -> Option<Step> {
    if mirror.instances.contains_key(target) {
        return None;
    }
    let drain = &mirror.drains.get(target)?.record;
    let Some(absence) = mirror.absent_drains.get(target).filter(|a| a.record.is_of(drain)) else {
        return Some(Step::Gone);
    };
    // A failover that is not over may still want to undo it.
    let failover = mirror.failovers.get(&drain.by);
    let is_settled = failover.is_none_or(|failover| failover.record.state.is_over());
    let end = retention.and_then(|kept| absence.record.since.checked_add_signed(kept));
    (is_settled && end.is_some_and(|end| end <= now)).then_some(Step::End)
}

fn transaction(
    mirror: &Mirror,
    target: &Target,
    step: Step,
    fence: i64,
    now: Time,
) -> Result<Txn, ClientError> {
    let Target { service, instance } = target;
    let (drain, absence) = (mirror.drains.get(target), mirror.absent_drains.get(target));
    let key = keys::absent_drain(service, instance);
    let mut txn = Txn::new()
        .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
        .when(Compare::mod_revision(&key, absence.map_or(0, |known| known.mod_revision)));
    if step == Step::Forget {
        return Ok(txn.then(Op::delete(&key)));
    }
    let (drain_key, known) = (keys::drain(service, instance), drain.map_or(0, |d| d.mod_revision));
    txn = txn
        .when(Compare::create_revision(&keys::instance(service, instance), 0))
        .when(Compare::mod_revision(&drain_key, known));
    let mut record = DrainAbsence {
        service: service.clone(),
        instance: instance.clone(),
        since: now,
        ended_at: None,
        drain: None,
    };
    if step == Step::End {
        record.since = absence.map_or(now, |known| known.record.since);
        record.ended_at = Some(now);
        record.drain = drain.map(|drain| drain.record.clone());
        txn = txn.then(Op::delete(&drain_key));
        let incident = drain
            .and_then(|drain| mirror.failovers.get(&drain.record.by))
            .and_then(|failover| mirror.incidents.get(&failover.record.incident));
        if let Some(incident) = incident {
            let (mut changed, since) = (incident.record.clone(), record.since);
            let text = format!(
                "the drain of {service}/{instance} has ended: it has not been registered since {}",
                since.format("%Y-%m-%d %H:%M:%SZ")
            );
            incident::note(&mut changed, now, WATCHKEEP, text);
            let key = keys::incident(&changed.id);
            txn = txn
                .when(Compare::mod_revision(&key, incident.mod_revision))
                .then(Op::put_json(&key, &changed)?);
        }
    }
    Ok(txn.then(Op::put_json(&key, &record)?))
}

/// Writes each; what goes wrong, or has changed meanwhile, is looked at again a second later.
async fn write(client: &Client, due: Vec<Due>) {
    for Due { target: Target { service, instance }, step, txn } in due {
        match client.txn(txn).await {
            Ok(outcome) if outcome.succeeded && step == Step::End => {
                info!(service, instance, "a drain has ended: its instance is gone for long");
            }
            Ok(_) => {}
            Err(error) => {
                debug!(%error, service, instance, "not written of a drain, trying again");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::{Drain, KeyValue, client::Change};

    use super::*;
    use crate::fixtures::{instance, opened_failover, time};

    fn put<T: serde::Serialize>(mirror: &mut Mirror, key: String, record: &T, revision: i64) {
        let value = serde_json::to_vec(record).unwrap().into();
        let (create_revision, mod_revision) = (1, revision);
        let kv = KeyValue { key, value, create_revision, mod_revision, version: 1, lease: 0 };
        mirror.apply(Change::Put(kv));
    }

    fn drain(by: &str, at: i64) -> Drain {
        let (service, instance) = ("db".to_owned(), "one".to_owned());
        Drain { service, instance, since: time(at), by: by.to_owned(), reason: String::new() }
    }

    fn absence(since: i64, ended_at: Option<i64>) -> DrainAbsence {
        let (service, instance) = ("db".to_owned(), "one".to_owned());
        DrainAbsence {
            service,
            instance,
            since: time(since),
            ended_at: ended_at.map(time),
            drain: None,
        }
    }

    fn steps(mirror: &Mirror, retention: Option<i64>, at: i64) -> Vec<Step> {
        let due = due(mirror, retention.map(TimeDelta::hours), 7, time(at));
        due.into_iter().map(|due| due.step).collect()
    }

    #[test]
    fn a_drain_waits_for_its_instance_and_ends_when_that_does_not_come() {
        let mut mirror = Mirror::default();
        put(&mut mirror, keys::instance("db", "one"), &instance("db", "one"), 2);
        put(&mut mirror, keys::drain("db", "one"), &drain("alice", 0), 3);
        assert_eq!(steps(&mirror, Some(1), 99_999), []);
        mirror.delete(&keys::instance("db", "one"), 4);
        assert_eq!(steps(&mirror, Some(1), 10), [Step::Gone]);
        put(&mut mirror, keys::absent_drain("db", "one"), &absence(10, None), 5);
        assert_eq!(steps(&mirror, Some(1), 10 + 3_599), []);
        assert_eq!(steps(&mirror, Some(1), 10 + 3_600), [Step::End]);
        assert_eq!(steps(&mirror, None, 99_999_999), []);
        // It is back, whatever is known.
        put(&mut mirror, keys::instance("db", "one"), &instance("db", "one"), 6);
        assert_eq!(steps(&mirror, Some(1), 99_999), [Step::Forget]);
        mirror.delete(&keys::instance("db", "one"), 7);
        // Drained anew since: then it was there since.
        put(&mut mirror, keys::drain("db", "one"), &drain("bob", 20), 8);
        assert_eq!(steps(&mirror, Some(1), 99_999), [Step::Gone]);
        // Somebody has taken the drain back.
        mirror.delete(&keys::drain("db", "one"), 9);
        assert_eq!(steps(&mirror, Some(1), 99_999), [Step::Forget]);
        // What has ended stays written down.
        put(&mut mirror, keys::absent_drain("db", "one"), &absence(10, Some(50)), 10);
        assert_eq!(steps(&mirror, Some(1), 99_999), []);
    }

    #[test]
    fn a_failover_under_way_keeps_its_drain() {
        let mut mirror = Mirror::default();
        let mut failover = opened_failover();
        put(&mut mirror, keys::drain("db", "one"), &drain(&failover.id, 0), 3);
        put(&mut mirror, keys::absent_drain("db", "one"), &absence(1, None), 4);
        put(&mut mirror, keys::failover(&failover.id), &failover, 5);
        assert_eq!(steps(&mirror, Some(1), 99_999), []);
        failover.state = watchkeep_catalog::FailoverState::Delivered;
        put(&mut mirror, keys::failover(&failover.id), &failover, 6);
        assert_eq!(steps(&mirror, Some(1), 99_999), [Step::End]);
    }
}
