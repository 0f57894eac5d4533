//! What people changed in schedules: overrides, swaps, temporary schedules. Pure but for [`read_changes`].

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;
use watchkeep_catalog::{
    ChangeKind, Client, ClientError, ScheduleChange, TemporaryShift, Time, keys,
};

use super::Schedule;
use crate::text::clock;

/// Shifts of one temporary schedule.
const SHIFTS_MAX: usize = 1_000;
/// Longest change, in days.
const DAYS_MAX: i64 = 366;

/// By schedule, in the order in which they take effect.
pub(crate) type Changes = BTreeMap<String, Vec<ScheduleChange>>;

/// The changes of all schedules, as the registry has them now. One that cannot be read is left out.
///
/// # Errors
/// When the registry does not answer.
pub(crate) async fn read_changes(client: &Client) -> Result<Changes, ClientError> {
    let (kvs, _) = client.list(keys::ONCALL).await?;
    let mut changes = Changes::new();
    for kv in kvs {
        match kv.json::<ScheduleChange>() {
            Ok(change) => put(&mut changes, change),
            Err(error) => warn!(key = kv.key, %error, "a change of a schedule cannot be read"),
        }
    }
    Ok(changes)
}

/// Enters one, in its place.
pub(crate) fn put(changes: &mut Changes, change: ScheduleChange) {
    let of = changes.entry(change.schedule.clone()).or_default();
    of.retain(|known| known.id != change.id);
    of.push(change);
    of.sort_by(|a, b| a.decided_at.cmp(&b.decided_at).then_with(|| a.id.cmp(&b.id)));
}

/// Takes one out.
pub(crate) fn remove(changes: &mut Changes, schedule: &str, id: &str) {
    if let Some(of) = changes.get_mut(schedule) {
        of.retain(|known| known.id != id);
    }
}

/// Checks that a change makes sense by itself.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(change: &ScheduleChange) -> Result<(), String> {
    let span = |what: &str, from: Time, to: Time| {
        if from >= to {
            return Err(format!(
                "{what}: it ends ({}) before it begins ({}): give a later end",
                clock(to),
                clock(from)
            ));
        }
        if (to - from).num_days() > DAYS_MAX {
            return Err(format!("{what}: it lasts more than {DAYS_MAX} days"));
        }
        Ok(())
    };
    span("from, to", change.from, change.to)?;
    match &change.change {
        ChangeKind::Override { .. } => Ok(()),
        ChangeKind::Swap { giver, taker, back } => {
            if taker.as_ref() == Some(giver) {
                return Err(format!("swap: {giver} cannot take the own shifts"));
            }
            back.map_or(Ok(()), |back| span("back", back.from, back.to))
        }
        ChangeKind::Temporary { shifts } => {
            if shifts.is_empty() || shifts.len() > SHIFTS_MAX {
                return Err(format!("shifts: give 1 to {SHIFTS_MAX}"));
            }
            for (number, shift) in shifts.iter().enumerate() {
                span("shift", shift.from, shift.to)?;
                let meets =
                    |other: &&TemporaryShift| other.from < shift.to && shift.from < other.to;
                if let Some(other) = shifts[..number].iter().find(meets) {
                    return Err(format!(
                        "shift of {}: at {} it is that of {}, too: let one end where the other begins",
                        shift.person,
                        clock(shift.from.max(other.from)),
                        other.person
                    ));
                }
                if shift.from < change.from || shift.to > change.to {
                    let ScheduleChange { from, to, .. } = change;
                    return Err(format!(
                        "shift of {}: it is not within the temporary schedule, {} to {}",
                        shift.person,
                        clock(*from),
                        clock(*to)
                    ));
                }
            }
            Ok(())
        }
    }
}

/// Checks that it makes a difference from `now` on, to the schedule as `others` have changed it.
///
/// # Errors
/// Why it makes none.
pub(crate) fn check_effect(
    schedule: &Schedule,
    others: &[ScheduleChange],
    change: &ScheduleChange,
    now: Time,
) -> Result<(), String> {
    if change.end() <= now {
        return Err(format!(
            "to: it is over already, it ends at {} and now it is {}: give an end that is to come",
            clock(change.end()),
            clock(now)
        ));
    }
    let ChangeKind::Swap { giver, taker, back } = &change.change else { return Ok(()) };
    let has_shift = |person: &str, from: Time, to: Time| {
        let duties = schedule.duties(from, to, others);
        if duties.iter().any(|duty| duty.person.as_deref() == Some(person)) {
            return Ok(());
        }
        Err(format!(
            "swap: {person} has no shift by schedule {} from {} to {}: there is nothing to give",
            schedule.name,
            clock(from),
            clock(to)
        ))
    };
    has_shift(giver, change.from, change.to)?;
    match (taker, back) {
        (Some(taker), Some(back)) => has_shift(taker, back.from, back.to),
        _ => Ok(()),
    }
}

/// Who is on call at `at` after `change`, where `person` was before; none when the change says nothing there.
pub(super) fn apply<'a>(
    change: &'a ScheduleChange,
    at: Time,
    person: Option<&str>,
) -> Option<Option<&'a str>> {
    let within = change.from <= at && at < change.to;
    match &change.change {
        ChangeKind::Override { person } => within.then_some(Some(person.as_str())),
        ChangeKind::Swap { taker: None, .. } => None,
        ChangeKind::Swap { giver, taker: Some(taker), back } => {
            if within && person == Some(giver) {
                return Some(Some(taker));
            }
            let back = back.is_some_and(|back| back.contains(at));
            (back && person == Some(taker)).then_some(Some(giver.as_str()))
        }
        ChangeKind::Temporary { shifts } => {
            let holds = |shift: &&TemporaryShift| shift.from <= at && at < shift.to;
            within.then(|| shifts.iter().rev().find(holds).map(|shift| shift.person.as_str()))
        }
    }
}

/// All instants at which it may make a difference.
pub(super) fn edges(change: &ScheduleChange, edges: &mut BTreeSet<Time>) {
    edges.extend([change.from, change.to]);
    match &change.change {
        ChangeKind::Override { .. } => {}
        ChangeKind::Swap { back, .. } => {
            edges.extend(back.iter().flat_map(|back| [back.from, back.to]));
        }
        ChangeKind::Temporary { shifts } => {
            edges.extend(shifts.iter().flat_map(|shift| [shift.from, shift.to]));
        }
    }
}
