//! The core against a naive model that keeps every state there ever was.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::schema::{
    Applied, Body, Command, Compact, Compare, Delete, Grant, KeyValue, Op, OpKind, Put, Range,
    Revoke, Target, Txn,
};

mod alarms;
mod hashes;
mod transactions;

/// Tables in memory.
#[derive(Debug, Clone, Default)]
struct Memory(BTreeMap<(Table, Bytes), Bytes>);

impl Memory {
    fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            let key = (write.table, write.key);
            match write.value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    fn compact(&mut self, revision: i64) {
        self.0.retain(|(table, key), _| !forgettable(*table, key, revision));
    }

    fn rows(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Vec<(Bytes, Bytes)> {
        self.0
            .iter()
            .filter(|((t, key), _)| {
                *t == table && &key[..] >= from && to.is_none_or(|to| &key[..] < to)
            })
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl View for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(&(table, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a> {
        Box::new(self.rows(table, from, to).into_iter().map(Ok))
    }
}

/// Every state by revision, each a plain map.
#[derive(Debug, Clone)]
struct Model {
    states: BTreeMap<i64, BTreeMap<Bytes, KeyValue>>,
    leases: Vec<i64>,
    compacted: i64,
}

impl Model {
    fn new() -> Self {
        Self { states: BTreeMap::from([(1, BTreeMap::new())]), leases: Vec::new(), compacted: 0 }
    }

    fn revision(&self) -> i64 {
        *self.states.keys().last().unwrap()
    }

    fn now(&self) -> BTreeMap<Bytes, KeyValue> {
        self.states[&self.revision()].clone()
    }

    fn run(&mut self, action: &Action) {
        let (mut state, next) = (self.now(), self.revision() + 1);
        match action {
            Action::Put(key, value, lease) => self.put(&mut state, next, key, value, *lease),
            Action::Delete(key, end) => {
                state.retain(|k, _| !Bounds::new(key, end).contains(k));
            }
            Action::Grant(id) if !self.leases.contains(id) => self.leases.push(*id),
            Action::Revoke(id) if self.leases.contains(id) => {
                self.leases.retain(|lease| lease != id);
                state.retain(|_, kv| kv.lease != *id);
            }
            Action::Compact(back) => {
                let revision = self.revision() - back;
                if revision > self.compacted {
                    self.compacted = revision;
                }
            }
            Action::PutIfAbsent(key, a, b) => {
                if state.contains_key(key) {
                    state.remove(a);
                    self.put(&mut state, next, b, &Bytes::from_static(b"else"), 0);
                } else {
                    self.put(&mut state, next, key, &Bytes::from_static(b"then"), 0);
                    self.put(&mut state, next, a, &Bytes::from_static(b"too"), 0);
                }
            }
            Action::Grant(_) | Action::Revoke(_) => {}
        }
        if state != self.now() {
            self.states.insert(next, state);
        }
    }

    fn put(
        &self,
        state: &mut BTreeMap<Bytes, KeyValue>,
        next: i64,
        key: &Bytes,
        value: &Bytes,
        lease: i64,
    ) {
        if lease != 0 && !self.leases.contains(&lease) {
            return;
        }
        let prev = state.get(key);
        let kv = KeyValue {
            key: key.clone(),
            create_revision: prev.map_or(next, |prev| prev.create_revision),
            mod_revision: next,
            version: prev.map_or(1, |prev| prev.version + 1),
            value: value.clone(),
            lease,
        };
        state.insert(key.clone(), kv);
    }
}

#[derive(Debug, Clone)]
enum Action {
    Put(Bytes, Bytes, i64),
    Delete(Bytes, Bytes),
    Grant(i64),
    Revoke(i64),
    Compact(i64),
    /// If the first key is absent: put it and the second. Else: delete the second, put the third.
    PutIfAbsent(Bytes, Bytes, Bytes),
}

fn op(kind: OpKind) -> Op {
    Op { kind: Some(kind) }
}

fn put_op(key: &Bytes, value: &'static [u8]) -> Op {
    op(OpKind::Put(Put { key: key.clone(), value: Bytes::from_static(value), ..Put::default() }))
}

impl Action {
    fn body(&self, applied: &Applied) -> Body {
        let one = |kind| Body::Txn(Txn { success: vec![op(kind)], ..Txn::default() });
        match self.clone() {
            Self::Put(key, value, lease) => {
                one(OpKind::Put(Put { key, value, lease, ..Put::default() }))
            }
            Self::Delete(key, range_end) => {
                one(OpKind::Delete(Delete { key, range_end, prev_kv: false }))
            }
            Self::Grant(id) => Body::Grant(Grant { id, ttl_seconds: 60 }),
            Self::Revoke(id) => Body::Revoke(Revoke { id, term: 0 }),
            Self::Compact(back) => Body::Compact(Compact { revision: applied.revision - back }),
            Self::PutIfAbsent(key, a, b) => Body::Txn(Txn {
                compare: vec![Compare {
                    key: key.clone(),
                    target: Some(Target::Create(0)),
                    ..Compare::default()
                }],
                success: vec![put_op(&key, b"then"), put_op(&a, b"too")],
                failure: vec![
                    op(OpKind::Delete(Delete { key: a, ..Delete::default() })),
                    put_op(&b, b"else"),
                ],
            }),
        }
    }
}

/// Keys that are hard to keep apart: prefixes of each other, zeros, the highest byte.
fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![
        &b"a"[..],
        b"a\0",
        b"a\0\0",
        b"a\0\x01",
        b"a\0\xff",
        b"ab",
        b"b",
        b"\0",
        b"\xff",
        b"\xff\xff",
    ])
    .prop_map(Bytes::from_static)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(b"\0")), key()]
}

fn action() -> impl Strategy<Value = Action> {
    let value = prop::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from);
    prop_oneof![
        6 => (key(), value, 0..4i64).prop_map(|(k, v, l)| Action::Put(k, v, l)),
        3 => (key(), end()).prop_map(|(k, e)| Action::Delete(k, e)),
        2 => (1..4i64).prop_map(Action::Grant),
        1 => (1..4i64).prop_map(Action::Revoke),
        1 => (0..5i64).prop_map(Action::Compact),
        2 => (key(), key(), key())
            .prop_filter("a transaction writes no key twice", |(k, a, b)| k != a && a != b)
            .prop_map(|(k, a, b)| Action::PutIfAbsent(k, a, b)),
    ]
}

fn run(memory: &mut Memory, applied: &mut Applied, action: &Action) -> Effects {
    let command = Command { time_ms: 0, body: Some(action.body(applied)), ..Command::default() };
    let mut effects = apply(memory, applied, &command, Place { term: 1 }).unwrap();
    memory.write(std::mem::take(&mut effects.writes));
    effects
}

fn read(memory: &Memory, applied: &Applied, request: &Range) -> Result<Vec<KeyValue>, Refusal> {
    range(memory, request, applied.revision, applied.compact_revision).unwrap().map(|outcome| {
        assert_eq!(outcome.count, i64::try_from(outcome.kvs.len()).unwrap());
        outcome.kvs
    })
}

proptest! {
    #[test]
    fn every_state_since_the_compaction_can_be_read(actions in prop::collection::vec(action(), 1..40), from in key(), to in end()) {
        let (mut memory, mut model) = (Memory::default(), Model::new());
        let mut applied = Applied { revision: 1, ..Applied::default() };
        for action in &actions {
            run(&mut memory, &mut applied, action);
            model.run(action);
            prop_assert_eq!(applied.revision, model.revision(), "after {:?}", action);
            prop_assert_eq!(applied.keys, i64::try_from(model.now().len()).unwrap(), "after {:?}", action);
        }
        // Compaction itself changes nothing that may still be asked for.
        memory.compact(applied.compact_revision);
        let bounds = Bounds::new(&from, &to);
        for (revision, state) in &model.states {
            let request = Range { key: from.clone(), range_end: to.clone(), revision: *revision, ..Range::default() };
            let expected: Vec<KeyValue> = state.values().filter(|kv| bounds.contains(&kv.key)).cloned().collect();
            if *revision < model.compacted {
                prop_assert_eq!(read(&memory, &applied, &request), Err(Refusal::Compacted));
            } else {
                prop_assert_eq!(read(&memory, &applied, &request), Ok(expected), "at {}", revision);
            }
        }
        // Leases know exactly their keys.
        for lease in &model.leases {
            let expected: Vec<Bytes> = model.now().values().filter(|kv| kv.lease == *lease).map(|kv| kv.key.clone()).collect();
            prop_assert_eq!(lease_keys(&memory, *lease).unwrap(), expected);
        }
    }

    #[test]
    fn the_same_log_gives_the_same_bytes(actions in prop::collection::vec(action(), 1..30)) {
        let (mut one, mut other) = (Memory::default(), Memory::default());
        let mut at = (Applied { revision: 1, ..Applied::default() }, Applied { revision: 1, ..Applied::default() });
        for action in &actions {
            run(&mut one, &mut at.0, action);
            run(&mut other, &mut at.1, action);
        }
        prop_assert_eq!(one.0, other.0);
        prop_assert_eq!(at.0, at.1);
    }

    #[test]
    fn events_tell_the_whole_difference_between_two_revisions(actions in prop::collection::vec(action(), 1..30)) {
        let (mut memory, mut applied) = (Memory::default(), Applied { revision: 1, ..Applied::default() });
        let mut replayed: BTreeMap<Bytes, KeyValue> = BTreeMap::new();
        let (mut model, mut told) = (Model::new(), Vec::new());
        for action in &actions {
            let effects = run(&mut memory, &mut applied, action);
            told.extend(effects.events.iter().map(|event| (applied.revision, event.clone())));
            for event in effects.events {
                if event.deleted {
                    replayed.remove(&event.kv.key);
                } else {
                    replayed.insert(event.kv.key.clone(), event.kv);
                }
            }
            model.run(action);
            prop_assert_eq!(&replayed, &model.now());
        }
        // The tables tell the same, as far back as the compaction lets them.
        memory.compact(model.compacted);
        told.retain(|(revision, _)| *revision >= model.compacted);
        let read: Vec<_> = changes(&memory, model.compacted).map(|change| {
            let (revision, change) = change.unwrap();
            (revision, event(&memory, revision, change).unwrap())
        }).collect();
        prop_assert_eq!(&read, &told);
        for (revision, event) in &told {
            if *revision > model.compacted {
                let before = model.states.range(..revision).next_back().unwrap().1.get(&event.kv.key);
                prop_assert_eq!(&previous(&memory, &event.kv.key, *revision).unwrap(), &before.cloned());
            }
        }
    }
}

#[test]
fn a_refused_command_changes_nothing() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    run(&mut memory, &mut applied, &Action::Put("a".into(), "1".into(), 0));
    let before = memory.clone();
    let txn = Txn {
        success: vec![
            put_op(&"b".into(), b"2"),
            op(OpKind::Put(Put { key: "c".into(), lease: 99, ..Put::default() })),
        ],
        ..Txn::default()
    };
    let command = Command { time_ms: 0, body: Some(Body::Txn(txn)), ..Command::default() };
    let effects = apply(&memory, &mut applied, &command, Place { term: 1 }).unwrap();
    assert_eq!(Refusal::from_number(effects.outcome.refusal), Some(Refusal::LeaseNotFound));
    assert_eq!((effects.writes, effects.events, applied.revision), (vec![], vec![], 2));
    assert_eq!(before.0, memory.0);
}

#[test]
fn a_lease_has_its_own_keys_whatever_its_id() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    let ids = [i64::MIN, -2, -1, 1, i64::MAX];
    for id in ids {
        run(&mut memory, &mut applied, &Action::Grant(id));
        run(&mut memory, &mut applied, &Action::Put(id.to_string().into(), Bytes::new(), id));
    }
    for id in ids {
        assert_eq!(lease_keys(&memory, id).unwrap(), [id.to_string()], "{id}");
    }
}

#[test]
fn ranges_sort_limit_and_count_as_etcd_does() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    for (key, value) in [("a", "3"), ("b", "2"), ("c", "1"), ("a", "4")] {
        run(&mut memory, &mut applied, &Action::Put(key.into(), value.into(), 0));
    }
    let all = Range { key: "a".into(), range_end: "\0".into(), ..Range::default() };
    let ask = |request: Range| {
        let found = range(&memory, &request, applied.revision, 0).unwrap().unwrap();
        let keys: Vec<_> =
            found.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect();
        (keys.concat(), found.more, found.count)
    };
    let cases = [
        (Range { ..all.clone() }, ("abc", false, 3)),
        (Range { limit: 2, ..all.clone() }, ("ab", true, 3)),
        (Range { limit: 3, ..all.clone() }, ("abc", false, 3)),
        (Range { sort_order: 2, ..all.clone() }, ("cba", false, 3)),
        (Range { sort_target: 4, ..all.clone() }, ("cba", false, 3)),
        (Range { sort_target: 3, sort_order: 2, limit: 1, ..all.clone() }, ("a", true, 3)),
        // Without an order the limit, and one more, cuts before the target sorts: `abc`, `ab`, `ba`, `b`.
        (Range { sort_target: 4, limit: 1, ..all.clone() }, ("b", true, 3)),
        (Range { sort_target: 2, limit: 1, max_mod_revision: 9, ..all.clone() }, ("a", true, 3)),
        (Range { sort_target: 4, sort_order: 1, limit: 2, ..all.clone() }, ("cb", true, 3)),
        (Range { count_only: true, ..all.clone() }, ("", false, 3)),
        (Range { min_mod_revision: 4, ..all.clone() }, ("ac", false, 3)),
        (Range { max_create_revision: 2, limit: 1, ..all }, ("a", false, 3)),
    ];
    for (request, (keys, more, count)) in cases {
        assert_eq!(ask(request.clone()), (keys.to_owned(), more, count), "{request:?}");
    }
}

/// Ids are noted when they are given, and outlive their members; what a member said of itself does not.
#[test]
fn ids_of_members_are_never_forgotten() {
    let (mut state, mut applied) = (Memory::default(), Applied::default());
    for id in [1, 2, 300] {
        let info = crate::schema::MemberInfo { id, name: id.to_string(), client_urls: Vec::new() };
        let command = Command { body: Some(Body::Publish(info)), ..Command::default() };
        let effects = apply(&state, &mut applied, &command, Place { term: 1 }).unwrap();
        state.write(effects.writes);
    }
    for (ids, last, known) in [
        (&[1, 2, 300][..], 300, &[1, 2, 300][..]),
        (&[1, 2], 300, &[1, 2]),
        (&[1], 300, &[1]),
        (&[1, 301], 301, &[1]),
    ] {
        let writes = membership_changed(&state, ids).unwrap();
        state.write(writes);
        assert_eq!(last_member_id(&state).unwrap(), last);
        let infos: Vec<u64> = members(&state).unwrap().iter().map(|info| info.id).collect();
        assert_eq!(infos, known);
    }
}
