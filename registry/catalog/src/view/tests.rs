//! The state against a naive reading of the same keys, and the revisions that readers wait for.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    KeyValue,
    client::{Batch, Change},
    keys,
};

fn kv(key: &str, value: &str, revision: i64) -> KeyValue {
    let (key, value) = (key.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
    KeyValue { key, value, create_revision: 1, mod_revision: revision, version: 1, lease: 7 }
}

fn instance(id: &str, port: u16) -> String {
    format!(r#"{{"id":"{id}","address":"h","port":{port},"checks":[{{"name":"c","tcp":{{}}}}]}}"#)
}

fn opinion(status: &str) -> String {
    format!(
        r#"{{"status":"{status}","since":"2026-01-01T00:00:00Z","first_seen":"2026-01-01T00:00:00Z","reason":"r"}}"#
    )
}

fn verdict(status: &str) -> String {
    format!(
        r#"{{"service":"s","instance":"a","status":"{status}","since":"2026-01-01T00:00:00Z",
            "first_seen":"2026-01-01T00:00:00Z","reason":"r","agree":1,"opinions":1}}"#
    )
}

fn one(change: Change, revision: i64) -> Batch {
    Batch { changes: vec![change], revision }
}

fn put(state: &mut State, key: &str, value: &str, revision: i64) -> bool {
    state.apply(one(Change::Put(kv(key, value, revision)), revision))
}

fn delete(state: &mut State, key: &str, revision: i64) -> bool {
    state.apply(one(Change::Delete { key: key.to_owned(), revision }, revision))
}

#[test]
fn only_what_shows_counts_as_a_change() {
    let mut state = State::default();
    let web = keys::instance("web", "a");
    assert!(put(&mut state, &web, &instance("a", 80), 5));
    assert_eq!(state.catalog().instance("web", "a").unwrap().status, Health::Unknown);
    assert!(put(&mut state, &keys::opinion("web", "a", "c", "n1"), &opinion("critical"), 6));
    assert_eq!(state.catalog().instance("web", "a").unwrap().status, Health::Critical);
    // A second one changes nothing, and the first one's end neither.
    assert!(!put(&mut state, &keys::opinion("web", "a", "c", "n2"), &opinion("critical"), 7));
    assert!(!delete(&mut state, &keys::opinion("web", "a", "c", "n1"), 8));
    assert!(put(&mut state, &keys::verdict("web", "a"), &verdict("passing"), 9));
    assert!(!put(&mut state, "/watchkeep/slo/web/2026-01-01", "{}", 10));
    assert_eq!((state.catalog().revision(), state.catalog().changed_of("web")), (10, 9));
    assert!(!state.apply(Batch { changes: Vec::new(), revision: 20 }));
    assert_eq!((state.catalog().revision(), state.catalog().changed()), (20, 9));
    // A service that vanishes leaves its revision behind for those who wait for it.
    assert!(delete(&mut state, &web, 21));
    assert_eq!((state.catalog().changed_of("web"), state.catalog().instances()), (21, 0));
    assert!(state.catalog().services().is_empty());
}

#[test]
fn what_a_reset_repeats_is_not_told_again() {
    let mut state = State::default();
    for (at, service) in ["db", "web", "zoo"].into_iter().enumerate() {
        put(&mut state, &keys::instance(service, "a"), &instance("a", 80), 5 + at as i64);
    }
    let again = vec![
        kv(&keys::instance("db", "a"), &instance("a", 80), 5),
        kv(&keys::instance("web", "a"), &instance("a", 81), 30),
    ];
    assert!(state.apply(one(Change::Reset(again.clone(), 40), 40)));
    let revisions = ["db", "web", "zoo"].map(|s| state.catalog().changed_of(s));
    assert_eq!((revisions, state.catalog().instances()), ([5, 40, 40], 2));
    assert!(!state.apply(one(Change::Reset(again, 50), 50)));
    assert_eq!((state.catalog().changed(), state.catalog().revision()), (40, 50));
}

#[test]
fn what_cannot_be_read_is_left_out_and_counted() {
    let mut state = State::default();
    let key = keys::instance("web", "a");
    put(&mut state, &key, &instance("a", 80), 5);
    for bad in ["{", r#"{"id":"b","address":"h","port":1}"#] {
        put(&mut state, &key, bad, 6);
        assert_eq!((state.left_out(), state.catalog().instances()), (1, 0), "{bad}");
    }
    put(&mut state, &key, &instance("a", 80), 8);
    assert_eq!((state.left_out(), state.catalog().instances()), (0, 1));
}

/// What the keys say, read from the start.
fn naive(all: &BTreeMap<String, String>) -> BTreeMap<String, Health> {
    let mut found = BTreeMap::new();
    for key in all.keys() {
        let Some(rest) = key.strip_prefix(keys::INSTANCES) else { continue };
        let (service, id) = rest.split_once('/').unwrap();
        let opinions = format!("{}{rest}/", keys::OPINIONS);
        let health = match all.get(&keys::verdict(service, id)) {
            Some(v) if v.contains("passing") => Health::Passing,
            Some(_) => Health::Critical,
            None if all.iter().any(|(k, v)| k.starts_with(&opinions) && v.contains("critical")) => {
                Health::Critical
            }
            None => Health::Unknown,
        };
        found.insert(rest.to_owned(), health);
    }
    found
}

proptest! {
    #[test]
    fn any_order_of_changes_shows_what_the_keys_say(
        steps in prop::collection::vec((0..2_u8, 0..3_u8, 0..3_u8, 0..4_u8), 1..60)
    ) {
        let (mut state, mut all) = (State::default(), BTreeMap::new());
        for (at, (service, id, kind, value)) in steps.into_iter().enumerate() {
            let revision = 2 + at as i64;
            let (service, id) = (format!("s{service}"), format!("i{id}"));
            let status = if value % 2 == 0 { "passing" } else { "critical" };
            let (key, text) = match kind {
                0 => (keys::instance(&service, &id), instance(&id, 80 + u16::from(value))),
                1 => (keys::verdict(&service, &id), verdict(status)),
                _ => (keys::opinion(&service, &id, "c", &format!("n{}", value / 2)), opinion(status)),
            };
            if value == 3 {
                all.remove(&key);
                delete(&mut state, &key, revision);
            } else {
                put(&mut state, &key, &text, revision);
                all.insert(key, text);
            }
            let catalog = state.catalog();
            let shown: BTreeMap<String, Health> = catalog.services().values()
                .flat_map(|s| s.instances.values())
                .map(|seen| (format!("{}/{}", seen.instance.service, seen.instance.id), seen.status))
                .collect();
            prop_assert_eq!(&shown, &naive(&all));
            prop_assert_eq!(catalog.instances(), shown.len());
            let kvs = all.iter().map(|(k, v)| kv(k, v, 1)).collect();
            prop_assert!(!state.apply(one(Change::Reset(kvs, revision), revision)));
        }
    }
}

#[test]
fn a_promotion_moves_the_role_and_a_drain_leaves_out() {
    let mut state = State::default();
    let primary = |id: &str| format!(r#"{{"id":"{id}","address":"h","port":1,"role":"primary"}}"#);
    put(&mut state, &keys::instance("db", "a"), &primary("a"), 2);
    put(&mut state, &keys::instance("db", "b"), r#"{"id":"b","address":"h","port":1}"#, 3);
    let role = |state: &State, id: &str| {
        state.catalog().instance("db", id).expect("it is there").instance.role.clone()
    };
    assert_eq!((role(&state, "a"), role(&state, "b")), ("primary".to_owned(), String::new()));
    let holder = r#"{"service":"db","role":"primary","instance":"b","others":"standby",
        "since":"2026-01-01T00:00:00Z","failover":"f"}"#;
    assert!(put(&mut state, &keys::role("db", "primary"), holder, 4));
    assert_eq!((&*role(&state, "a"), &*role(&state, "b")), ("standby", "primary"));
    // It comes back and still says that it is the primary.
    put(&mut state, &keys::instance("db", "a"), &primary("a"), 5);
    put(&mut state, &keys::verdict("db", "a"), &verdict("passing"), 6);
    assert_eq!(role(&state, "a"), "standby");
    assert!(delete(&mut state, &keys::role("db", "primary"), 7));
    assert_eq!((role(&state, "a"), role(&state, "b")), ("primary".to_owned(), String::new()));

    let drain = r#"{"service":"db","instance":"a","since":"2026-01-01T00:00:00Z","by":"alice"}"#;
    assert!(state.catalog().instance("db", "a").unwrap().serves());
    assert!(put(&mut state, &keys::drain("db", "a"), drain, 8));
    assert!(!state.catalog().instance("db", "a").unwrap().serves());
    assert!(!state.catalog().instance("db", "a").unwrap().is_healthy());
    assert!(delete(&mut state, &keys::drain("db", "a"), 9));
    assert!(state.catalog().instance("db", "a").unwrap().serves());
}

#[test]
fn a_panic_shows_as_long_as_it_lasts() {
    let mut state = State::default();
    let panic = r#"{"service":"web","since":"2026-01-01T00:00:00Z","critical":3,"instances":6,
        "threshold_percent":40,"incident":"i"}"#;
    // Of a service that is not there, nothing is known.
    assert!(!put(&mut state, &keys::panic("web"), panic, 4));
    put(&mut state, &keys::instance("web", "a"), &instance("a", 80), 5);
    assert!(put(&mut state, &keys::panic("web"), panic, 6));
    let shown = |state: &State| {
        let seen = state.catalog().service("web").expect("it is there");
        (seen.panic.as_ref().map(|panic| panic.critical), seen.revision)
    };
    assert_eq!(shown(&state), (Some(3), 6));
    assert!(!put(&mut state, &keys::panic("web"), panic, 7), "it goes on");
    assert!(delete(&mut state, &keys::panic("web"), 8));
    assert_eq!(shown(&state), (None, 8));
}
