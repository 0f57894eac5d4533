//! A store made up: operations of several clients overlap in time, each happens at one moment between its beginning and
//! its end, and some are never answered. On demand it has a bug.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    history::{Action, Batch, Call, Ending, Event, History, Lease, Outcome, Record, Step, Watch},
    truth::{Played, Truth},
};

/// What can be wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A put is acknowledged and not done.
    LosesAcknowledged,
    /// A put whose end nobody learnt is done twice.
    DoesTwice,
    /// Reads show what was before the last change of their key.
    ReadsStale,
    /// A compare-and-swap swaps although the value is another.
    SwapsWithoutComparing,
    /// Reads in transactions show the half of what another transaction wrote.
    TearsTransactions,
}

const OPERATIONS: u64 = 240;
const KEYS: [&str; 3] = ["r/0", "r/1", "a/0"];
const LEASE: i64 = 77;

struct Store {
    random: StdRng,
    truth: Truth,
    account: Vec<Event>,
    written: u64,
}

/// The history of one run.
pub(super) fn history(seed: u64, bug: Option<Bug>) -> History {
    let random = StdRng::seed_from_u64(seed);
    let mut store = Store { random, truth: Truth::default(), account: Vec::new(), written: 0 };
    let mut history = History::default();
    for at in 0..OPERATIONS {
        // Moments are 10 ms apart, and operations take up to 100 ms before and after theirs.
        let moment = Duration::from_millis(1_000 + at * 10);
        let action = store.action();
        history.records.push(store.record(action, moment, bug));
    }
    let lease = store.lease(&mut history, Duration::from_millis(1_000 + OPERATIONS * 10));
    history.leases.push(lease);
    history.watches = vec![store.watch("", false, 2), store.watch("r/", true, 4)];
    history.accounts =
        (0..3).map(|member| (member, store.account.clone())).collect::<BTreeMap<_, _>>();
    history.calm = Duration::from_secs(5);
    history
}

impl Store {
    fn put(&mut self, key: &str, lease: i64) -> Step {
        self.written += 1;
        Step::Put { key: key.to_owned(), value: self.written.to_string(), lease }
    }

    fn action(&mut self) -> Action {
        let at = self.random.random_range(0..KEYS.len());
        let (key, other) = (KEYS[at], KEYS[(at + 1) % KEYS.len()]);
        let read = Step::Read { key: key.to_owned() };
        let txn = |when, then, otherwise| Action { call: Call::Txn, when, then, otherwise };
        match self.random.random_range(0..10) {
            0..3 => Action::plain(read),
            3 => Action { call: Call::Serializable, ..Action::plain(read) },
            4..6 => Action::plain(self.put(key, 0)),
            6 => Action::plain(Step::Delete { key: key.to_owned() }),
            7 => {
                // Half of them expect what is there.
                let now = self.truth.at(key, self.truth.newest()).map(|kv| kv.value.clone());
                let expected =
                    if self.random.random_bool(0.5) { now } else { Some("0".to_owned()) };
                txn(vec![(key.to_owned(), expected)], vec![self.put(key, 0)], vec![read])
            }
            8 => txn(vec![], vec![self.put(key, 0), self.put(other, 0)], vec![]),
            _ => txn(vec![], vec![Step::Scan { prefix: String::new() }, read], vec![]),
        }
    }

    /// Does it at `moment` and makes up when it began and ended, and whether its end was learnt.
    fn record(&mut self, action: Action, moment: Duration, bug: Option<Bug>) -> Record {
        let mut spread = || Duration::from_millis(self.random.random_range(1..100));
        let (begin, end) = (moment - spread(), moment + spread());
        // Bugs show in the second half, when there is something to be wrong about.
        let bug = bug.filter(|_| moment > Duration::from_millis(1_000 + OPERATIONS * 5));
        let before = self.truth.newest();
        let is_put = action.call == Call::Plain && matches!(action.then[0], Step::Put { .. });
        let mut unknown = self.random.random_bool(0.08) && action.call != Call::Serializable;
        let mut done = !unknown || self.random.random_bool(0.5);
        let mut played = self.truth.play(&action, before);
        let mut revision = before + i64::from(!played.events.is_empty());
        match bug {
            Some(Bug::LosesAcknowledged) if is_put => (unknown, done) = (false, false),
            Some(Bug::DoesTwice) if is_put => (unknown, done) = (true, true),
            Some(Bug::ReadsStale) if reads(&action) && action.call == Call::Plain => {
                if let Some(kv) = played.found[0].first() {
                    revision = kv.modified - 1;
                    played = self.truth.play(&action, revision);
                    unknown = false;
                }
            }
            Some(Bug::SwapsWithoutComparing) if !action.when.is_empty() && !played.held => {
                let swap = Action { when: vec![], ..action.clone() };
                (unknown, done, revision) = (false, true, before + 1);
                played = self.truth.play(&swap, before);
            }
            Some(Bug::TearsTransactions) if matches!(action.then[0], Step::Scan { .. }) => {
                played.found[0].pop();
                unknown = false;
            }
            _ => {}
        }
        if done {
            self.write(&played);
        }
        if bug == Some(Bug::DoesTwice) && is_put {
            let again = self.truth.play(&action, self.truth.newest());
            self.write(&again);
        }
        let Played { held, found, .. } = played;
        let ending = if unknown {
            Ending::Unknown
        } else {
            Ending::Answered(Outcome { revision, held, found })
        };
        Record { member: 0, lives: (0, 0), action, begin, end, ending }
    }

    fn write(&mut self, played: &Played) {
        for event in &played.events {
            self.truth.push(event).expect("played on this truth");
            self.account.push(event.clone());
        }
    }

    /// A lease of one second, renewed once, that runs out in time.
    fn lease(&mut self, history: &mut History, begin: Duration) -> Lease {
        let keys = ["lease/77/x", "lease/77/y"];
        // Until it is answered: the owner counts only on keys of which it was told.
        let mut answered = false;
        while !answered {
            let then = keys.map(|key| self.put(key, LEASE)).to_vec();
            let hang = Action { call: Call::Txn, when: vec![], then, otherwise: vec![] };
            let hung = self.record(hang, begin + Duration::from_millis(200), None);
            answered = hung.outcome().is_some();
            history.records.push(hung);
        }
        let steps = keys.map(|key| Step::Delete { key: key.to_owned() }).to_vec();
        let end = Action { call: Call::Txn, when: vec![], then: steps, otherwise: vec![] };
        let played = self.truth.play(&end, self.truth.newest());
        self.write(&played);
        Lease {
            id: LEASE,
            ttl: Duration::from_secs(1),
            keys: keys.map(str::to_owned).to_vec(),
            promised: vec![begin, begin + Duration::from_millis(500)],
            last_asked: begin + Duration::from_millis(600),
            revoked: None,
            gone: None,
        }
    }

    /// What a watcher was shown: responses of up to `revisions` revisions, late by up to 20 ms, the end told in time.
    fn watch(&mut self, prefix: &str, prev_kv: bool, revisions: i64) -> Watch {
        let mut batches = Vec::new();
        let mut from = 1;
        while from <= self.truth.newest() {
            let through = (from + self.random.random_range(0..revisions)).min(self.truth.newest());
            let all = (from..=through).flat_map(|revision| self.truth.events(revision));
            let mut events: Vec<Event> =
                all.filter(|event| event.kv.key.starts_with(prefix)).cloned().collect();
            if !prev_kv {
                events.iter_mut().for_each(|event| event.prev = None);
            }
            batches.push(Batch { at: Duration::from_millis(4_950), revision: through, events });
            from = through + 1;
        }
        let (at, revision) = (Duration::from_millis(4_960), self.truth.newest());
        batches.push(Batch { at, revision, events: Vec::new() });
        Watch {
            name: format!("watcher of {prefix:?}"),
            prefix: prefix.to_owned(),
            from: 1,
            prev_kv,
            no_delete: false,
            batches,
        }
    }
}

fn reads(action: &Action) -> bool {
    matches!(action.then[0], Step::Read { .. })
}
