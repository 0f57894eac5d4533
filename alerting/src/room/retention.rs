//! Old incidents and failovers are removed, so that the registry does not fill up with history.

use std::time::Duration;

use chrono::TimeDelta;
use tracing::warn;
use watchkeep_catalog::{
    Client, DrainAbsence, IncidentStatus, Time,
    client::{Compare, Op, Txn},
    keys,
};

use crate::{incident, mirror::Mirror, store};

/// How often it is looked for what is old.
pub(super) const INTERVAL: Duration = Duration::from_secs(3_600);
/// How long a record is kept after its end.
pub(super) const DAYS: i64 = 90;
/// How long a rehearsal is: whoever rehearses every hour is not to fill the registry with it.
const REHEARSAL_DAYS: i64 = 7;
/// Records removed at one time.
const REMOVED_MAX: usize = 1_000;

/// The keys of incidents, failovers, maintenance windows, changes of schedules and drains that ended more than [`DAYS`] ago, with their revisions.
pub(super) fn old(mirror: &Mirror, now: Time) -> Vec<(String, i64)> {
    let limit = now - TimeDelta::days(DAYS);
    let is_old = |end: Option<Time>| end.is_some_and(|end| end < limit);
    let incidents = mirror
        .incidents
        .values()
        .filter(|i| i.record.status == IncidentStatus::Resolved && is_old(i.record.resolved_at))
        .filter(|i| !mirror.pages_pending.contains(&i.record.id))
        .map(|i| (keys::incident(&i.record.id), i.mod_revision));
    let rehearsed = now - TimeDelta::days(REHEARSAL_DAYS);
    let failovers = mirror
        .failovers
        .values()
        .filter(|f| {
            let limit = if f.record.rehearsal { rehearsed } else { limit };
            f.record.state.is_over() && f.record.finished_at.is_some_and(|end| end < limit)
        })
        .map(|f| (keys::failover(&f.record.id), f.mod_revision));
    // A dedup key was written with its incident; at another revision it means a later one, and stays.
    let keyed = mirror
        .incidents
        .values()
        .filter(|i| i.record.status == IncidentStatus::Resolved && is_old(i.record.resolved_at))
        .filter_map(|i| Some((i.record.dedup_key.as_deref()?, i.create_revision)))
        .map(|(key, at)| (keys::incident_key(&incident::digest(key)), at));
    let changes = mirror.changes.values().flatten().filter(|change| change.end() < limit);
    let changes = changes.filter_map(|change| {
        let (schedule, id) = (&change.schedule, &change.id);
        let at = mirror.change_revisions.get(&(schedule.clone(), id.clone()))?;
        Some((keys::schedule_change(schedule, id), *at))
    });
    let drains = mirror.absent_drains.values().filter(|known| is_old(known.record.ended_at));
    let drains = drains.map(|known| {
        let DrainAbsence { service, instance, .. } = &known.record;
        (keys::absent_drain(service, instance), known.mod_revision)
    });
    // Whoever reckons what was promised asks for windows of the past, too.
    let windows = mirror.windows.over(limit).map(|(id, at)| (keys::maintenance(id), at));
    keyed
        .chain(incidents)
        .chain(failovers)
        .chain(windows)
        .chain(changes)
        .chain(drains)
        .take(REMOVED_MAX)
        .collect()
}

/// Deletes each, unless it has changed or another node leads; answers how many are gone.
pub(super) async fn remove(client: &Client, fence: i64, old: Vec<(String, i64)>) -> usize {
    let mut removed = 0;
    for (key, revision) in old {
        let txn = Txn::new()
            .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
            .when(Compare::mod_revision(&key, revision))
            .then(Op::delete(&key))
            .otherwise(Op::get(keys::ALERTING_LEADER));
        match client.txn(txn).await {
            Ok(outcome) if outcome.succeeded => removed += 1,
            Ok(outcome) if store::leads(fence, outcome.responses.first()) => {}
            Ok(_) => break,
            Err(error) => {
                warn!(%error, key, "an old record is not removed yet");
                break;
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::{Failover, FailoverState};

    use super::*;
    use crate::{
        fixtures::{opened_failover, opened_incident, time},
        mirror::Versioned,
    };

    #[test]
    fn only_what_ended_long_ago() {
        let mut mirror = Mirror::default();
        let at =
            |record, revision| Versioned { record, create_revision: 1, mod_revision: revision };
        let mut over = opened_incident();
        over.pages.clear();
        mirror.set_incident("open", at(over.clone(), 2));
        incident::resolve(&mut over, "bob", "resolved", time(0)).unwrap();
        mirror.set_incident(&over.id.clone(), at(over.clone(), 3));
        let mut failover = opened_failover();
        mirror.set_failover(
            "pending",
            Versioned { record: failover.clone(), create_revision: 1, mod_revision: 4 },
        );
        failover.state = FailoverState::Delivered;
        failover.finished_at = Some(time(1));
        mirror.set_failover(
            &failover.id.clone(),
            Versioned { record: failover, create_revision: 1, mod_revision: 5 },
        );
        over.id = "keyed".to_owned();
        over.dedup_key = Some("k".to_owned());
        mirror
            .set_incident("keyed", Versioned { record: over, create_revision: 6, mod_revision: 7 });
        let rehearsal = Failover {
            id: "rehearsal".to_owned(),
            rehearsal: true,
            state: FailoverState::Held,
            finished_at: Some(time(1)),
            ..opened_failover()
        };
        mirror.set_failover(
            "rehearsal",
            Versioned { record: rehearsal, create_revision: 1, mod_revision: 8 },
        );
        let day = |days| time(0) + TimeDelta::days(days);
        assert_eq!(old(&mirror, day(REHEARSAL_DAYS)), []);
        let week = old(&mirror, day(REHEARSAL_DAYS + 1));
        assert_eq!(week, [(keys::failover("rehearsal"), 8)]);
        mirror.delete(&keys::failover("rehearsal"), 9);
        assert_eq!(old(&mirror, day(DAYS)), []);
        let found: Vec<_> = old(&mirror, day(DAYS + 1)).into_iter().map(|(_, at)| at).collect();
        assert_eq!(found, [6, 3, 7, 5]);
    }
}
