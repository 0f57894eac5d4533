//! What etcd does in the corners of a transaction, and what a compaction makes of it.

use super::*;
use crate::schema::OpOutcomeKind;

#[test]
fn a_tombstone_stays_until_a_compaction_above_it() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    run(&mut memory, &mut applied, &Action::Put("a".into(), "1".into(), 0));
    run(&mut memory, &mut applied, &Action::Delete("a".into(), Bytes::new()));
    let events = |memory: &Memory| memory.rows(Table::Events, b"", None).len();
    memory.compact(3);
    assert_eq!(events(&memory), 1, "a watch from revision 3 sees the deletion");
    memory.compact(4);
    assert_eq!((events(&memory), memory.rows(Table::History, b"", None)), (0, vec![]));
}

#[test]
fn a_key_put_and_deleted_in_one_transaction_leaves_nothing_behind() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    let all = Delete { key: "\0".into(), range_end: "\0".into(), prev_kv: true };
    let txn = Txn {
        success: vec![
            put_op(&"a".into(), b"1"),
            put_op(&"b".into(), b"2"),
            op(OpKind::Delete(all)),
        ],
        ..Txn::default()
    };
    let command = Command { time_ms: 0, body: Some(Body::Txn(txn)), ..Command::default() };
    let effects = apply(&memory, &mut applied, &command, Place { term: 1 }).unwrap();
    let seen: Vec<_> = effects.events.iter().map(|e| (&e.kv.key[..], e.deleted)).collect();
    assert_eq!(seen, [(&b"a"[..], false), (b"b", false), (b"a", true), (b"b", true)]);
    memory.write(effects.writes);
    let all = Range { key: "\0".into(), range_end: "\0".into(), ..Range::default() };
    assert_eq!(read(&memory, &applied, &all), Ok(vec![]));
    memory.compact(3);
    assert_eq!(memory.0, BTreeMap::new());
}

#[test]
fn a_transaction_is_chosen_and_checked_by_the_state_before_it() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    run(&mut memory, &mut applied, &Action::Put("a".into(), "1".into(), 0));
    let txn = |success: Vec<OpKind>| Txn {
        success: success.into_iter().map(op).collect(),
        ..Txn::default()
    };
    let put = |key: &'static str| Put { key: key.into(), ..Put::default() };
    let is_absent =
        Compare { key: "b".into(), target: Some(Target::Version(0)), ..Compare::default() };
    let inner = Txn { compare: vec![is_absent], ..Txn::default() };
    let read = |revision| OpKind::Range(Range { key: "a".into(), revision, ..Range::default() });
    let run = |ops: Vec<OpKind>| {
        let body = Some(Body::Txn(txn(ops)));
        let command = Command { time_ms: 0, body, ..Command::default() };
        let outcome = apply(&memory, &mut applied.clone(), &command, Place { term: 1 });
        let outcome = outcome.unwrap().outcome;
        match Refusal::from_number(outcome.refusal) {
            Some(refusal) => Err(refusal),
            None => Ok(outcome.txn.unwrap().ops),
        }
    };
    // `b` does not exist yet for the inner condition.
    let done = run(vec![OpKind::Put(put("b")), OpKind::Txn(inner)]).unwrap();
    let Some(OpOutcomeKind::Txn(inner)) = &done[1].kind else { panic!("{done:?}") };
    assert!(inner.succeeded);
    // Nor is there the revision that the transaction will have, whatever comes first.
    let cases = [
        (vec![OpKind::Put(put("b")), read(3)], Refusal::FutureRevision),
        (vec![read(-1)], Refusal::Compacted),
        (
            vec![OpKind::Put(Put { lease: 9, ignore_value: true, ..put("x") })],
            Refusal::LeaseNotFound,
        ),
        (vec![OpKind::Put(Put { ignore_value: true, ..put("x") }), read(9)], Refusal::KeyNotFound),
        (
            vec![read(9), OpKind::Put(Put { ignore_value: true, ..put("x") })],
            Refusal::FutureRevision,
        ),
    ];
    for (ops, refusal) in cases {
        assert_eq!(run(ops.clone()), Err(refusal), "{ops:?}");
    }
}
