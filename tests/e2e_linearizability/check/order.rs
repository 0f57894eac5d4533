//! Strict serializability by etcd's revisions, which put all operations into one order (the idea of Elle: a version
//! order that is known makes the check linear). Every answer must be what its operation gives at its revision, every
//! revision must have exactly one cause, and the order must agree with time.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    history::{Call, Ending, History, Record, Step},
    truth::Truth,
};

/// Keys that members write themselves.
const OWN: &str = "/watchkeep/";

/// Everything that breaks it.
pub(crate) fn check(history: &History, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut causes: BTreeMap<i64, usize> = BTreeMap::new();
    for (at, record) in history.records.iter().enumerate() {
        if let Some(revision) = answer(record, truth, &mut wrong)
            && let Some(other) = causes.insert(revision, at)
        {
            let other = &history.records[other];
            wrong.push(format!("revision {revision} was given to two: {record:?} and {other:?}"));
        }
    }
    unanswered(history, truth, &mut causes, &mut wrong);
    in_time(history, &causes, &mut wrong);
    wrong
}

/// Judges an answer on its own; the revision that it claims to have made.
fn answer(record: &Record, truth: &Truth, wrong: &mut Vec<String>) -> Option<i64> {
    let outcome = record.outcome()?;
    let writes =
        record.action.branch(outcome.held).iter().zip(&outcome.found).any(|(step, found)| {
            matches!(step, Step::Put { .. })
                || (matches!(step, Step::Delete { .. }) && !found.is_empty())
        });
    if outcome.revision > truth.newest() {
        wrong.push(format!("a revision that there never was: {record:?}"));
        return None;
    }
    let before = outcome.revision - i64::from(writes);
    let played = truth.play(&record.action, before);
    if (played.held, &played.found) != (outcome.held, &outcome.found) {
        wrong.push(format!("answer at revision {before} should be {played:?}: {record:?}"));
    } else if writes && played.events != truth.events(outcome.revision) {
        let happened = truth.events(outcome.revision);
        wrong.push(format!("acknowledged, but {happened:?} happened instead: {record:?}"));
    }
    writes.then_some(outcome.revision)
}

/// Finds the cause of each revision that nobody was told of: an operation whose end is unknown, each at most once,
/// or the end of a lease.
fn unanswered(
    history: &History,
    truth: &Truth,
    causes: &mut BTreeMap<i64, usize>,
    wrong: &mut Vec<String>,
) {
    let mut writers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut deleters: Vec<usize> = Vec::new();
    for (at, record) in history.records.iter().enumerate() {
        for step in record.action.then.iter().chain(&record.action.otherwise) {
            match step {
                Step::Put { value, .. } => drop(writers.insert(value, at)),
                Step::Delete { .. } if record.ending == Ending::Unknown => deleters.push(at),
                _ => {}
            }
        }
    }
    let mut used: BTreeSet<usize> = causes.values().copied().collect();
    for (revision, events) in truth.revisions() {
        let foreign = events.iter().all(|event| event.kv.key.starts_with(OWN));
        if foreign || causes.contains_key(&revision) {
            continue;
        }
        let fits =
            |at: usize| truth.play(&history.records[at].action, revision - 1).events == events;
        let put = events.iter().find(|event| !event.deleted);
        let cause = match put {
            Some(event) => writers.get(event.kv.value.as_str()).copied(),
            None => deleters.iter().copied().find(|at| !used.contains(at) && fits(*at)),
        };
        match cause {
            Some(at) if !used.insert(at) => {
                wrong.push(format!(
                    "revision {revision}: done a second time: {:?}",
                    history.records[at]
                ));
            }
            Some(at) if history.records[at].ending != Ending::Unknown || !fits(at) => {
                let record = &history.records[at];
                wrong.push(format!("revision {revision}: {events:?} cannot come from {record:?}"));
            }
            Some(at) => drop(causes.insert(revision, at)),
            None if of_one_lease(history, truth, revision) => {}
            None => wrong.push(format!("revision {revision}: nobody asked for {events:?}")),
        }
    }
}

fn of_one_lease(history: &History, truth: &Truth, revision: i64) -> bool {
    let held = |key: &str| truth.at(key, revision - 1).map_or(0, |kv| kv.lease);
    let leases: BTreeSet<i64> = truth
        .events(revision)
        .iter()
        .map(|event| if event.deleted { held(&event.kv.key) } else { 0 })
        .collect();
    leases.len() == 1 && history.leases.iter().any(|lease| leases.contains(&lease.id))
}

/// What had ended before an operation began is before it in the order of revisions.
fn in_time(history: &History, causes: &BTreeMap<i64, usize>, wrong: &mut Vec<String>) {
    let made: BTreeMap<usize, i64> = causes.iter().map(|(revision, at)| (*at, *revision)).collect();
    let records = &history.records;
    let mut by_begin: Vec<usize> = (0..records.len()).collect();
    by_begin.sort_by_key(|at| records[*at].begin);
    let mut by_end: Vec<usize> =
        (0..records.len()).filter(|at| records[*at].outcome().is_some()).collect();
    by_end.sort_by_key(|at| records[*at].end);
    let mut ended = by_end.into_iter().peekable();
    let (mut floor, mut by) = (0, None);
    for at in by_begin {
        let record = &records[at];
        while let Some(end) = ended.next_if(|end| records[*end].end < record.begin) {
            let revision = records[end].outcome().map_or(0, |outcome| outcome.revision);
            if revision > floor {
                (floor, by) = (revision, Some(end));
            }
        }
        let late = match (made.get(&at), record.outcome()) {
            (Some(revision), _) => *revision <= floor,
            (None, Some(outcome)) => {
                record.action.call != Call::Serializable && outcome.revision < floor
            }
            (None, None) => false,
        };
        if late {
            let by = by.map(|by| &records[by]);
            wrong.push(format!(
                "behind what had ended at revision {floor}: {record:?} after {by:?}"
            ));
        }
    }
}
