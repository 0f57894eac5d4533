//! The checks are checked: a faultless store is made up here, with histories that all checks accept; then each kind of
//! bug is put into a history on purpose, and the check that is there for it has to find it.

mod cluster;
mod store;

use std::time::Duration;

use crate::{
    check::check,
    history::{Call, Ending, Event, History, Outcome, Record, Step},
    truth::Truth,
};
use store::Bug;

const SEEDS: u64 = 20;

#[test]
fn faultless_histories_are_accepted() {
    for seed in 0..SEEDS {
        let history = store::history(seed, None);
        assert_eq!(check(&history), Vec::<String>::new(), "seed {seed}");
        let unknown = history.records.iter().filter(|r| r.ending == Ending::Unknown).count();
        assert!(unknown > 5 && history.records.len() > 150, "seed {seed} shows nothing");
    }
}

#[test]
fn a_store_with_a_bug_is_caught() {
    for (bug, found_by) in [
        (Bug::LosesAcknowledged, ["order", "register"]),
        (Bug::DoesTwice, ["order", "order"]),
        (Bug::ReadsStale, ["order", "register"]),
        (Bug::SwapsWithoutComparing, ["order", "register"]),
        (Bug::TearsTransactions, ["order", "order"]),
    ] {
        for seed in 0..SEEDS {
            let wrong = check(&store::history(seed, Some(bug)));
            for check in found_by {
                let found = wrong.iter().any(|what| what.starts_with(check));
                assert!(found, "{bug:?}, seed {seed}: {check} found nothing; {wrong:?}");
            }
        }
    }
}

/// What to do to a history, and the check that must notice.
type Mutation = (&'static str, fn(&mut History), &'static str);

const MUTATIONS: [Mutation; 14] = [
    ("an event twice", |h| batch(h, |e| e.insert(0, e[0].clone())), "watch"),
    ("two events exchanged", exchange, "watch"),
    ("an event missing", |h| batch(h, |e| drop(e.pop())), "watch"),
    ("an event of a revision shown later", split, "watch"),
    ("progress told too early", |h| h.watches[0].batches[3].revision += 1_000_000, "none"),
    ("progress over what was not shown", progress, "watch"),
    ("the end not reached", |h| h.watches[0].batches.truncate(5), "watch"),
    ("a lease ends early", |h| h.leases[0].promised.push(Duration::from_secs(3_000)), "lease"),
    ("a lease told gone early", |h| h.leases[0].gone = Some(Duration::ZERO), "lease"),
    ("a lease lives on", late, "lease"),
    ("a serializable read goes back", back, "serializable"),
    ("members differ", differ, "members"),
    ("a revision is missing", missing, "account"),
    ("a refused write was done", refused, "order"),
];

#[test]
fn a_history_with_a_fault_is_caught() {
    for seed in 0..SEEDS {
        for (what, mutate, found_by) in MUTATIONS {
            let mut history = store::history(seed, None);
            mutate(&mut history);
            let wrong = check(&history);
            // The header beside events may be ahead: that one is no fault.
            let found = match found_by {
                "none" => wrong.is_empty(),
                check => wrong.iter().any(|wrong| wrong.starts_with(check)),
            };
            assert!(found, "{what}, seed {seed}: {found_by} expected; {wrong:?}");
        }
    }
}

fn batch(history: &mut History, change: fn(&mut Vec<Event>)) {
    let batches = &mut history.watches[0].batches;
    let at = batches.iter().position(|b| b.events.len() > 1).expect("a batch of some events");
    change(&mut batches[at].events);
}

fn exchange(history: &mut History) {
    let [first, second] = &mut history.watches[0].batches[2..4] else { panic!("two batches") };
    std::mem::swap(&mut first.events, &mut second.events);
}

fn split(history: &mut History) {
    let batches = &mut history.watches[0].batches;
    let of_one =
        |e: &[Event]| e.len() > 1 && e[e.len() - 2].kv.modified == e[e.len() - 1].kv.modified;
    let at = batches.iter().position(|batch| of_one(&batch.events)).expect("a transaction");
    let mut rest = batches[at].clone();
    rest.events = vec![batches[at].events.pop().expect("its last event")];
    batches.insert(at + 1, rest);
}

fn progress(history: &mut History) {
    let batches = &mut history.watches[0].batches;
    let mut told = batches[4].clone();
    (told.revision, told.events) = (batches[4].through(), Vec::new());
    batches.insert(3, told);
}

fn late(history: &mut History) {
    let lease = &mut history.leases[0];
    lease.last_asked = Duration::ZERO;
    lease.promised.clear();
    history.calm = Duration::ZERO;
    lease.ttl = Duration::ZERO;
    let keys = lease.keys.clone();
    for batch in history.watches.iter_mut().flat_map(|watch| &mut watch.batches) {
        if batch.events.iter().any(|event| keys.contains(&event.kv.key)) {
            batch.at += Duration::from_secs(60);
        }
    }
}

fn back(history: &mut History) {
    let account = history.accounts.values().next().expect("one");
    let truth = Truth::new(account).expect("faultless");
    let reads = |record: &&Record| record.action.call == Call::Serializable;
    let last = history.records.iter().filter(reads).max_by_key(|r| r.begin).expect("one").clone();
    let revision = 3;
    let found = truth.play(&last.action, revision).found;
    let begin = history.records.iter().map(|record| record.end).max().expect("one");
    let ending = Ending::Answered(Outcome { revision, held: true, found });
    let (begin, end) = (begin + Duration::from_secs(1), begin + Duration::from_secs(2));
    history.records.push(Record { begin, end, ending, ..last });
}

fn differ(history: &mut History) {
    let account = history.accounts.get_mut(&1).expect("member 1");
    account[7].kv.value.push('!');
}

fn missing(history: &mut History) {
    for account in history.accounts.values_mut() {
        account.retain(|event| event.kv.modified != 9);
    }
}

fn refused(history: &mut History) {
    let put = |r: &&mut Record| {
        r.outcome().is_some()
            && r.action.call == Call::Plain
            && matches!(r.action.then[0], Step::Put { .. })
    };
    history.records.iter_mut().find(put).expect("a put").ending = Ending::Refused;
}
