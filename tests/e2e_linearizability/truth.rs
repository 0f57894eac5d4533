//! The state at every revision, built from one member's account of every change, and what an operation does to it.

use std::collections::BTreeMap;

use crate::history::{Action, Event, Kv, Step};

/// The first change of an empty store happens at this revision.
const FIRST: i64 = 2;

/// Every state there has been.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Events by revision.
    revisions: BTreeMap<i64, Vec<Event>>,
    /// Of each key: the revisions that changed it and what it was from then on.
    keys: BTreeMap<String, Vec<(i64, Option<Kv>)>>,
}

/// What an operation gives when it is done in some state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Played {
    pub(crate) held: bool,
    pub(crate) found: Vec<Vec<Kv>>,
    pub(crate) events: Vec<Event>,
}

impl Truth {
    /// Builds it.
    ///
    /// # Errors
    /// When a revision is missing or comes twice, or a key's counters do not continue what was before.
    pub(crate) fn new(account: &[Event]) -> Result<Self, String> {
        let mut truth = Self::default();
        account.iter().try_for_each(|event| truth.push(event))?;
        Ok(truth)
    }

    /// The next change.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn push(&mut self, event: &Event) -> Result<(), String> {
        let (revision, key, newest) = (event.kv.modified, &event.kv.key, self.newest());
        let begins = self.events(newest).is_empty();
        if revision != newest + 1 && (revision != newest || begins) {
            return Err(format!("the account goes from revision {newest} to {revision}"));
        }
        let before = self.at(key, revision).cloned();
        let kv = (!event.deleted).then(|| event.kv.clone());
        let create = before.as_ref().map_or(revision, |before| before.create);
        let version = before.as_ref().map_or(1, |before| before.version + 1);
        let continues = match &kv {
            Some(kv) => (kv.create, kv.version) == (create, version),
            None => before.is_some(),
        };
        if !continues || event.prev != before {
            return Err(format!("revision {revision}: before {before:?}, then {event:?}"));
        }
        self.keys.entry(key.clone()).or_default().push((revision, kv));
        self.revisions.entry(revision).or_default().push(event.clone());
        Ok(())
    }

    /// The newest revision.
    pub(crate) fn newest(&self) -> i64 {
        self.revisions.last_key_value().map_or(FIRST - 1, |(revision, _)| *revision)
    }

    /// What happened at one revision.
    pub(crate) fn events(&self, revision: i64) -> &[Event] {
        self.revisions.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// What happened, revision by revision.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = (i64, &[Event])> {
        self.revisions.iter().map(|(revision, events)| (*revision, events.as_slice()))
    }

    /// A key as it was at a revision.
    pub(crate) fn at(&self, key: &str, revision: i64) -> Option<&Kv> {
        let changes = self.keys.get(key)?;
        let after = changes.partition_point(|(at, _)| *at <= revision);
        changes[..after].last()?.1.as_ref()
    }

    fn scan(&self, prefix: &str, revision: i64) -> Vec<Kv> {
        let keys = self.keys.range(prefix.to_owned()..).map(|(key, _)| key);
        let inside = keys.take_while(|key| key.starts_with(prefix));
        inside.filter_map(|key| self.at(key, revision).cloned()).collect()
    }

    /// Does `action` in the state at revision `before`; what it writes is written at `before + 1`.
    pub(crate) fn play(&self, action: &Action, before: i64) -> Played {
        let value = |key: &str| self.at(key, before).map(|kv| kv.value.clone());
        let held = action.when.iter().all(|(key, expected)| value(key) == *expected);
        let mut played = Played { held, found: Vec::new(), events: Vec::new() };
        for step in action.branch(held) {
            let found = match step {
                Step::Scan { prefix } => self.scan(prefix, before),
                Step::Put { key, .. } | Step::Delete { key } | Step::Read { key } => {
                    self.at(key, before).cloned().into_iter().collect()
                }
            };
            played.events.extend(event(step, found.first(), before + 1));
            played.found.push(found);
        }
        played
    }
}

/// The change that a step makes to a key that was `prev`.
fn event(step: &Step, prev: Option<&Kv>, revision: i64) -> Option<Event> {
    let (key, value) = step.write()?;
    let empty = Kv {
        key: key.to_owned(),
        value: String::new(),
        create: 0,
        modified: revision,
        version: 0,
        lease: 0,
    };
    let kv = match (value, step) {
        (Some(value), Step::Put { lease, .. }) => Kv {
            value: value.to_owned(),
            create: prev.map_or(revision, |prev| prev.create),
            version: prev.map_or(1, |prev| prev.version + 1),
            lease: *lease,
            ..empty
        },
        // Nothing to delete, no event.
        _ => prev.map(|_| empty)?,
    };
    Some(Event { deleted: value.is_none(), kv, prev: prev.cloned() })
}
