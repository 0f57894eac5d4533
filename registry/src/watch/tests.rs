//! Who is marked with which revision, and what is read of the past.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::schema::KeyValue;

fn interest(key: &str, range_end: &str) -> Interest {
    let (key, range_end) = (Bytes::from(key.to_owned()), Bytes::from(range_end.to_owned()));
    Interest { key, range_end, no_put: false, no_delete: false }
}

fn put(key: &str) -> Event {
    let key = Bytes::from(key.to_owned());
    Event { deleted: false, kv: KeyValue { key, ..KeyValue::default() } }
}

/// Ids on the list with their marks, in order.
fn marked(outbox: &Outbox) -> Vec<(i64, i64)> {
    std::iter::from_fn(|| outbox.pop()).map(|target| (target.id, target.take())).collect()
}

#[test]
fn a_watcher_is_marked_once_with_the_first_revision_it_wants() {
    let hub = Hub::new(1);
    let outbox = hub.open();
    let only = |id, interest, next| hub.watch(&outbox, id, interest, next);
    let deletions = Interest { no_put: true, ..interest("", "\0") };
    let (key, range) = (only(1, interest("b", ""), 2), only(2, interest("b", "d"), 2));
    let (all, rare) = (only(3, interest("a", "\0"), 2), only(4, deletions, 2));
    hub.publish(2, vec![put("a")]);
    hub.publish(3, vec![put("b"), put("c")]);
    hub.publish(4, vec![put("d")]);
    hub.dispatch();
    assert_eq!(*hub.dispatched().borrow(), 4);
    let mut found = marked(&outbox);
    found.sort_unstable();
    assert_eq!(found, [(1, 3), (2, 3), (3, 2)]);
    hub.publish(5, vec![Event { deleted: true, ..put("b") }]);
    [key, range, all].iter().for_each(|target| hub.unwatch(target));
    hub.dispatch();
    assert_eq!(marked(&outbox), [(4, 5)]);
    hub.unwatch(&rare);
    hub.publish(6, vec![Event { deleted: true, ..put("b") }]);
    hub.dispatch();
    assert!(outbox.is_empty(), "nobody is left");
}

#[test]
fn a_watcher_that_comes_between_publishing_and_dispatching_misses_nothing() {
    let hub = Hub::new(1);
    let outbox = hub.open();
    hub.publish(2, vec![put("a")]);
    hub.dispatch();
    hub.watch(&outbox, 7, interest("a", ""), 2);
    assert_eq!(marked(&outbox), [(7, 2)], "what was there before it came");
    hub.dispatch();
    assert!(outbox.is_empty());
}

#[test]
fn everybody_looks_for_himself_when_the_state_was_replaced() {
    let hub = Hub::new(1);
    let outbox = hub.open();
    let target = hub.watch(&outbox, 7, interest("a", ""), 2);
    hub.reset(100);
    hub.dispatch();
    target.set_behind(2);
    assert!(outbox.pop().is_some());
    assert_eq!(target.take(), 2);
    assert!(hub.since(2).is_none(), "to be read from the table");
    assert_eq!(hub.since(101).map(|r| r.len()), Some(0));
}

#[test]
fn lag_is_shown_of_those_that_are_behind() {
    let hub = Hub::new(1);
    let outbox = hub.open();
    hub.watch(&outbox, 1, interest("a", ""), 2);
    hub.watch(&outbox, 2, interest("b", ""), 2);
    let slow = hub.watch(&outbox, 3, interest("c", ""), 2);
    slow.set_behind(1);
    for number in 2..=10 {
        hub.publish(number, vec![put(if number == 9 { "b" } else { "c" })]);
    }
    hub.dispatch();
    let lags = hub.lags().into_iter().map(|lag| (lag.watcher, lag.revisions));
    assert_eq!(lags.collect::<Vec<_>>(), [(3, 10), (2, 2)]);
    hub.close(&outbox);
    assert!(hub.lags().is_empty());
    slow.mark(11);
    assert!(outbox.is_empty(), "a stream that has ended takes no more");
}

proptest! {
    /// However publishing, dispatching and taking up follow each other, a watcher finds every event of its range.
    #[test]
    fn no_event_is_missed(steps in proptest::collection::vec((0u8..3, 0usize..4), 1..200)) {
        const KEYS: [&str; 4] = ["a", "b", "c", "d"];
        let hub = Hub::new(1);
        let outbox = hub.open();
        let (mut newest, mut next, mut seen, mut expected) = (1, 2, Vec::new(), Vec::new());
        let target = hub.watch(&outbox, 1, interest("b", "d"), next);
        let mut take_up = |hub: &Hub| while let Some(target) = outbox.pop() {
            next = next.max(target.take());
            for revision in hub.since(next).expect("little is in memory") {
                next = revision.number + 1;
                let wanted = revision.changes.iter().any(|c| target.interest.wants(&c.event));
                if wanted { seen.push(revision.number); }
            }
        };
        for (step, key) in steps {
            match step {
                0 => {
                    newest += 1;
                    hub.publish(newest, vec![put(KEYS[key])]);
                    if (1..=2).contains(&key) { expected.push(newest); }
                }
                1 => hub.dispatch(),
                _ => take_up(&hub),
            }
        }
        hub.dispatch();
        take_up(&hub);
        drop(target);
        prop_assert_eq!(seen, expected);
    }
}
