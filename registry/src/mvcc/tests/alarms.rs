//! What an alarm refuses, and who ends it.

use super::*;
use crate::schema::Alarm;

fn apply_body(memory: &mut Memory, applied: &mut Applied, body: Body) -> (Option<Refusal>, bool) {
    let command = Command { time_ms: 0, body: Some(body), ..Command::default() };
    let effects = apply(memory, applied, &command, Place { term: 1 }).unwrap();
    memory.write(effects.writes);
    (Refusal::from_number(effects.outcome.refusal), effects.outcome.alarm)
}

#[test]
fn an_alarm_lasts_until_the_last_member_s_has_ended() {
    let (mut memory, mut applied) = (Memory::default(), Applied::default());
    let mut alarm = |raise, member, kind| {
        let body = Body::Alarm(Alarm { raise, member, kind });
        let answer = apply_body(&mut memory, &mut applied, body);
        assert_eq!(answer.0, None);
        (answer.1, applied.alarms, alarms(&memory).unwrap())
    };
    assert_eq!(alarm(false, 1, NO_SPACE), (false, 0, vec![]), "there was none to end");
    assert_eq!(alarm(true, 1, NO_SPACE), (true, 2, vec![(1, 1)]));
    assert_eq!(alarm(true, 1, NO_SPACE), (true, 2, vec![(1, 1)]), "once is enough");
    assert_eq!(alarm(true, 2, NO_SPACE), (true, 2, vec![(1, 1), (1, 2)]));
    assert_eq!(alarm(true, u64::MAX, CORRUPT), (true, 6, vec![(1, 1), (1, 2), (2, u64::MAX)]));
    assert_eq!(alarm(false, 1, NO_SPACE), (true, 6, vec![(1, 2), (2, u64::MAX)]));
    assert_eq!(alarm(false, 2, NO_SPACE), (true, 4, vec![(2, u64::MAX)]));
    assert_eq!(alarm(false, u64::MAX, CORRUPT), (true, 0, vec![]));
}

#[test]
fn what_each_alarm_refuses() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    run(&mut memory, &mut applied, &Action::Grant(7));
    run(&mut memory, &mut applied, &Action::Put("a".into(), "1".into(), 7));
    let delete = || op(OpKind::Delete(Delete { key: "b".into(), ..Delete::default() }));
    let txn =
        |success: Vec<Op>, failure: Vec<Op>| Body::Txn(Txn { success, failure, ..Txn::default() });
    let put = || put_op(&"b".into(), b"2");
    let inner = Txn { failure: vec![put()], ..Txn::default() };
    let (space, corrupt) = (Some(Refusal::NoSpace), Some(Refusal::Corrupt));
    let cases = [
        ("put", txn(vec![put()], vec![]), space),
        ("a put in the branch not taken", txn(vec![delete()], vec![put()]), space),
        ("a put within", txn(vec![op(OpKind::Txn(inner))], vec![]), space),
        ("grant", Body::Grant(Grant { id: 8, ttl_seconds: 1 }), space),
        ("delete", txn(vec![delete()], vec![]), None),
        ("compact", Body::Compact(Compact { revision: 2 }), None),
        ("revoke", Body::Revoke(Revoke { id: 7, term: 0 }), None),
    ];
    for (what, body, without_space) in cases {
        for (raised, expected) in
            [(0, None), (1 << NO_SPACE, without_space), (1 << CORRUPT, corrupt)]
        {
            let (mut memory, mut applied) =
                (memory.clone(), Applied { alarms: raised, ..applied.clone() });
            let before = (memory.0.clone(), applied.clone());
            let (refusal, _) = apply_body(&mut memory, &mut applied, body.clone());
            assert_eq!(refusal, expected, "{what} at {raised}");
            if expected.is_some() {
                assert_eq!(before, (memory.0, applied), "{what} at {raised}: nothing changes");
            }
        }
    }
    // An alarm can always be raised and ended.
    applied.alarms = 6;
    let body = Body::Alarm(Alarm { raise: false, member: 1, kind: NO_SPACE });
    assert_eq!(apply_body(&mut memory, &mut applied, body), (None, false));
}
