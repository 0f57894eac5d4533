//! Linearizability of each key alone, from what clients were told and nothing else: the search of Wing and Gong with
//! Lowe's memory of states already tried, a key at a time (a history is linearizable when each key's is).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::history::{Action, Call, Ending, History, Record, Step};

/// Steps of the search over one key, beyond which it gives up: an error too, since nothing was shown.
const STEPS_MAX: usize = 20_000_000;

type Value<'a> = Option<&'a str>;

/// An operation as one key sees it.
struct Operation<'a> {
    record: &'a Record,
    /// Of values that were read: each must be the value before.
    reads: Vec<Value<'a>>,
    /// A value that it was not.
    was_not: Option<Value<'a>>,
    write: Option<Value<'a>>,
    /// Nobody knows whether it happened; with the condition under which it writes.
    unknown: Option<Option<Value<'a>>>,
}

/// Judges every key.
pub(crate) fn check(history: &History) -> Vec<String> {
    let seen: BTreeSet<&str> = history.records.iter().flat_map(values_seen).collect();
    let mut keys: BTreeMap<&str, Vec<Operation<'_>>> = BTreeMap::new();
    for record in &history.records {
        for key in keys_of(&record.action) {
            keys.entry(key).or_default().extend(project(record, key, &seen));
        }
    }
    keys.iter().filter_map(|(key, operations)| search(key, operations).err()).collect()
}

fn values_seen(record: &Record) -> impl Iterator<Item = &str> {
    let outcome = record.outcome();
    outcome
        .into_iter()
        .flat_map(|outcome| outcome.found.iter().flatten().map(|kv| kv.value.as_str()))
}

/// Keys named by it; keys on a lease are left out, since those go by themselves.
fn keys_of(action: &Action) -> BTreeSet<&str> {
    let steps = action.then.iter().chain(&action.otherwise);
    let named = steps.filter_map(|step| match step {
        Step::Put { key, lease: 0, .. } | Step::Delete { key } | Step::Read { key } => {
            Some(key.as_str())
        }
        Step::Put { .. } | Step::Scan { .. } => None,
    });
    let keys = named.chain(action.when.iter().map(|(key, _)| key.as_str()));
    keys.filter(|key| !key.starts_with("lease/")).collect()
}

fn project<'a>(record: &'a Record, key: &'a str, seen: &BTreeSet<&str>) -> Option<Operation<'a>> {
    let action = &record.action;
    let expected = action.when.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_deref());
    let write_of = |steps: &'a [Step]| {
        steps.iter().filter_map(Step::write).find(|(k, _)| *k == key).map(|(_, value)| value)
    };
    let operation =
        Operation { record, reads: Vec::new(), was_not: None, write: None, unknown: None };
    match &record.ending {
        Ending::Refused => None,
        Ending::Unknown => {
            let write = write_of(&action.then)?;
            // One that nobody saw may as well not have happened; of deletions nobody can tell.
            let matters = write.is_none_or(|value| seen.contains(value));
            matters.then_some(Operation {
                write: Some(write),
                unknown: Some(expected),
                ..operation
            })
        }
        Ending::Answered(_) if action.call == Call::Serializable => None,
        Ending::Answered(outcome) => {
            let branch = action.branch(outcome.held);
            let mut reads: Vec<Value<'a>> = Vec::new();
            for (step, found) in branch.iter().zip(&outcome.found) {
                if matches!(step, Step::Put { key: k, .. } | Step::Delete { key: k } | Step::Read { key: k } if k == key)
                {
                    reads.push(found.first().map(|kv| kv.value.as_str()));
                }
            }
            let lone = action.when.len() == 1;
            reads.extend(expected.filter(|_| outcome.held));
            Some(Operation {
                reads,
                was_not: expected.filter(|_| !outcome.held && lone),
                write: write_of(branch),
                ..operation
            })
        }
    }
}

impl<'a> Operation<'a> {
    /// The value after it, if it can happen when the value is `now`.
    fn step(&self, now: Value<'a>) -> Option<Value<'a>> {
        if let Some(condition) = self.unknown {
            let writes = condition.is_none_or(|expected| expected == now);
            return Some(if writes { self.write.unwrap_or(now) } else { now });
        }
        let fits = self.reads.iter().all(|read| *read == now) && self.was_not != Some(now);
        fits.then(|| self.write.unwrap_or(now))
    }
}

/// A call or a return in the order of time, as a list from which operations are lifted out.
struct Entry {
    operation: usize,
    /// Of a call: where its return is.
    returns: Option<usize>,
    prev: usize,
    next: usize,
}

/// The list, with a head before the first entry and an end behind the last.
struct Timeline(Vec<Entry>);

impl Timeline {
    fn new(operations: &[Operation<'_>]) -> Self {
        // What is unknown never returns. A return at the same time as a call is taken to be after it.
        let mut moments: Vec<_> = (0..operations.len())
            .flat_map(|at| {
                let Operation { record, unknown, .. } = &operations[at];
                let end = if unknown.is_some() { std::time::Duration::MAX } else { record.end };
                [(record.begin, false, at), (end, true, at)]
            })
            .collect();
        moments.sort();
        let head = Entry { operation: usize::MAX, returns: None, prev: 0, next: 1 };
        let mut list = vec![head];
        let mut calls = vec![0; operations.len()];
        for (_, is_return, operation) in moments {
            let at = list.len();
            if is_return {
                list[calls[operation]].returns = Some(at);
            } else {
                calls[operation] = at;
            }
            list.push(Entry { operation, returns: None, prev: at - 1, next: at + 1 });
        }
        let at = list.len();
        list.push(Entry { operation: usize::MAX, returns: None, prev: at - 1, next: at });
        Self(list)
    }

    fn unlink(&mut self, at: usize) {
        let (prev, next) = (self.0[at].prev, self.0[at].next);
        (self.0[prev].next, self.0[next].prev) = (next, prev);
    }

    fn relink(&mut self, at: usize) {
        let (prev, next) = (self.0[at].prev, self.0[at].next);
        (self.0[prev].next, self.0[next].prev) = (at, at);
    }

    /// Takes a call and its return out.
    fn lift(&mut self, call: usize) {
        self.unlink(call);
        self.0[call].returns.into_iter().for_each(|at| self.unlink(at));
    }

    fn unlift(&mut self, call: usize) {
        self.0[call].returns.into_iter().for_each(|at| self.relink(at));
        self.relink(call);
    }
}

fn search(key: &str, operations: &[Operation<'_>]) -> Result<(), String> {
    let mut timeline = Timeline::new(operations);
    let end = timeline.0.len() - 1;
    let mut done = vec![0_u64; operations.len().div_ceil(64)];
    let mut tried: HashSet<(Vec<u64>, Value<'_>)> = HashSet::new();
    let mut taken: Vec<(usize, Value<'_>)> = Vec::new();
    let (mut now, mut at, mut furthest): (Value<'_>, _, _) = (None, timeline.0[0].next, 0);
    for _ in 0..STEPS_MAX {
        if timeline.0[0].next == end {
            return Ok(());
        }
        let Entry { operation, returns, next, .. } = timeline.0[at];
        if returns.is_some() {
            let (word, bit) = (operation / 64, 1_u64 << (operation % 64));
            if let Some(after) = operations[operation].step(now) {
                done[word] |= bit;
                if tried.insert((done.clone(), after)) {
                    taken.push((at, now));
                    now = after;
                    timeline.lift(at);
                    at = timeline.0[0].next;
                    continue;
                }
                done[word] &= !bit;
            }
            at = next;
            continue;
        }
        // A return, or the end: what is on the list before it cannot all come later. Back to the last choice.
        furthest = furthest.max(at.min(end - 1));
        let Some((call, before)) = taken.pop() else {
            let record = operations.get(timeline.0[furthest].operation).map(|o| o.record);
            return Err(format!(
                "key {key}: no order of its {} operations fits; stuck before the end of {record:?}",
                operations.len()
            ));
        };
        let operation = timeline.0[call].operation;
        done[operation / 64] &= !(1_u64 << (operation % 64));
        now = before;
        timeline.unlift(call);
        at = timeline.0[call].next;
    }
    Err(format!(
        "key {key}: {STEPS_MAX} steps were not enough to judge {} operations",
        operations.len()
    ))
}
