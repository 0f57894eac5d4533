//! When leases run out, on whom, and what a new leader knows of them.

use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(60);

fn lease(ttl_seconds: i64) -> Lease {
    Lease { ttl_seconds, ..Lease::default() }
}

fn ids((_, due): (u64, Vec<(i64, Duration)>)) -> Vec<i64> {
    due.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn runs_out_only_on_the_leader_and_only_after_its_whole_ttl() {
    let lessor = Lessor::new(vec![(7, lease(10))], INTERVAL);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let renew = |seconds| lessor.renew(&[7], at(seconds)).map(|renewals| renewals[0]);
    let left = Left { left: Duration::from_secs(10), granted_seconds: 10 };
    assert!(ids(lessor.expired(at(100), 9)).is_empty(), "a follower expires nothing");
    assert_eq!(renew(0), None, "and renews nothing");
    lessor.promote(1, at(0));
    assert!(ids(lessor.expired(at(9), 9)).is_empty());
    assert_eq!(renew(9), Some(Renewal::Renewed(left)));
    assert!(ids(lessor.expired(at(18), 9)).is_empty());
    assert_eq!(lessor.left(7, at(18)).map(|l| l.left), Some(Duration::from_secs(1)));
    assert_eq!(lessor.deadlines(), HashMap::from([(7, at(19))]));
    assert_eq!(lessor.count(at(20)), (1, 1));
    assert_eq!(lessor.expired(at(20), 9), (1, vec![(7, Duration::from_secs(1))]));
    assert_eq!(renew(20), Some(Renewal::Unknown), "it is going");
    assert!(ids(lessor.expired(at(30), 9)).is_empty(), "once only");
    lessor.retry(7, at(30));
    assert_eq!(ids(lessor.expired(at(30), 9)), [7]);
    lessor.demote();
    lessor.promote(2, at(40));
    assert!(ids(lessor.expired(at(49), 9)).is_empty(), "nothing is noted: the whole TTL");
    lessor.revoked(7);
    assert!(ids(lessor.expired(at(1_000), 9)).is_empty());
    assert_eq!(renew(1_000), Some(Renewal::Unknown));
}

#[test]
fn expiry_comes_in_the_order_of_deadlines_and_no_more_at_once_than_allowed() {
    let lessor = Lessor::new((1..=5).map(|id| (id, lease(10 - id))).collect(), INTERVAL);
    let start = Instant::now();
    lessor.promote(1, start);
    let later = start + Duration::from_secs(60);
    assert_eq!(ids(lessor.expired(later, 2)), [5, 4]);
    assert_eq!(ids(lessor.expired(later, 2)), [3, 2]);
    assert_eq!(ids(lessor.expired(later, 2)), [1]);
}

#[test]
fn the_rest_of_a_long_lease_is_noted_and_taken_back_before_it_is_renewed() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let lessor = Lessor::new(vec![(1, lease(300)), (2, lease(60))], INTERVAL);
    lessor.promote(4, start);
    assert!(lessor.to_note(at(59)).1.is_empty());
    let (term, rests) = lessor.to_note(at(61));
    assert_eq!(term, 4);
    assert_eq!(rests, [LeaseRest { id: 1, left_ms: 239_001 }], "the short one never");
    assert_eq!(
        lessor.renew(&[1], at(61)),
        Some(vec![Renewal::Noted]),
        "not applied, but it may be"
    );
    assert_eq!(lessor.to_take_back(&[1, 2]), (4, vec![LeaseRest { id: 1, left_ms: 0 }]));
    lessor.checkpointed(&[(1, Lease { left_ms: 239_001, ..lease(300) })]);
    assert_eq!(lessor.renew(&[1], at(62)), Some(vec![Renewal::Noted]));
    // Another leader goes on from the note.
    lessor.demote();
    lessor.promote(5, at(100));
    assert_eq!(lessor.left(1, at(100)).map(|l| l.left.as_secs()), Some(239));
    lessor.checkpointed(&[(1, lease(300))]);
    assert!(matches!(lessor.renew(&[1], at(101)).unwrap()[0], Renewal::Renewed(_)));
    assert_eq!(lessor.left(1, at(101)).map(|l| l.left.as_secs()), Some(300));
}

/// What happens to one lease of a cluster.
#[derive(Debug, Clone)]
enum Step {
    /// Seconds pass; then the leader notes what is due, and the note comes into the log or gets lost.
    Wait(u64, bool),
    Renew,
    Change,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1u64..30, proptest::bool::weighted(0.9)).prop_map(|(s, kept)| Step::Wait(s, kept)),
        2 => Just(Step::Renew),
        1 => Just(Step::Change),
    ]
}

proptest! {
    /// Whatever comes: a lease never runs out before its TTL after the last answered renewal, and, when no note was
    /// lost, at most one interval and the wait for its note later for each change of leader.
    #[test]
    fn never_early_and_boundedly_late(steps in proptest::collection::vec(step(), 1..60)) {
        const TTL: i64 = 200;
        let start = Instant::now();
        let (mut now, mut state, mut term) = (start, lease(TTL), 1);
        let mut lessor = Lessor::new(vec![(1, state)], INTERVAL);
        lessor.promote(term, now);
        let (mut earliest, mut latest, mut lost) = (now + ttl(TTL), now + ttl(TTL), false);
        for step in steps {
            match step {
                Step::Wait(seconds, kept) => {
                    now += Duration::from_secs(seconds);
                    for rest in lessor.to_note(now).1 {
                        lost |= !kept;
                        if kept {
                            state.left_ms = rest.left_ms;
                            lessor.checkpointed(&[(1, state)]);
                        }
                    }
                }
                Step::Renew => {
                    if !lessor.to_take_back(&[1]).1.is_empty() {
                        state.left_ms = 0;
                        lessor.checkpointed(&[(1, state)]);
                    }
                    let renewal = lessor.renew(&[1], now).expect("it leads")[0];
                    prop_assert_ne!(renewal, Renewal::Noted);
                    if matches!(renewal, Renewal::Renewed(_)) {
                        (earliest, latest) = (now + ttl(TTL), now + ttl(TTL));
                    }
                }
                Step::Change => {
                    term += 1;
                    lessor = Lessor::new(vec![(1, state)], INTERVAL);
                    lessor.promote(term, now);
                    let longer = INTERVAL + Duration::from_secs(30);
                    latest = (now + ttl(TTL)).min(latest + longer);
                }
            }
            if !ids(lessor.expired(now, 9)).is_empty() {
                prop_assert!(now >= earliest, "early");
                return Ok(());
            }
            prop_assert!(lost || now < latest + Duration::from_secs(1), "late");
        }
    }
}
