//! The merge rule, and the record's shape.

use super::*;
use crate::slo::{
    probes::{Probes, tests::series},
    roles::Roles,
};

const HOUR: i64 = 12;

/// A track that saw hour [`HOUR`] of 1970-01-01 at one probe a second from `seen`, bad within `bad`.
fn track(seen: std::ops::Range<i64>, bad: std::ops::Range<i64>) -> Track {
    let start = HOUR * HOUR_MS;
    let now = start + HOUR_MS;
    let mut track = Track::new(now);
    while track.is_behind(now) {
        track.settle(&Probes::default(), &Roles::default());
    }
    let samples: Vec<_> = seen
        .map(|second| (start + second * 1_000, f64::from(u8::from(!bad.contains(&second)))))
        .collect();
    let probes = Probes::join(&[series("a", &samples)], &[], (start, now), 100);
    track.replay(&probes, &Roles::default(), now);
    track
}

fn at(second: i64) -> i64 {
    HOUR * HOUR_MS + second * 1_000
}

fn recorded(total: u64, down: Option<(i64, Option<i64>)>, updated: i64) -> DayRecord {
    let mut hours = [Bucket::default(); 24];
    hours[HOUR as usize] = Bucket { total, good: total, fast: total, excluded: 0 };
    let downtimes = down.map(|(start, end)| Downtime {
        start: instant(at(start)),
        end: end.map(|end| instant(at(end))),
        cause: Cause { reason: Some("recorded".to_owned()), ..Cause::default() },
    });
    DayRecord {
        service: "web".to_owned(),
        day: NaiveDate::default(),
        hours,
        downtimes: downtimes.into_iter().collect(),
        maintenance: Vec::new(),
        latency: Latency::default(),
        roles: BTreeMap::new(),
        updated_at: instant(at(updated)),
    }
}

#[test]
fn who_counted_more_tells_the_hour() {
    for (name, stored, track, total, downs) in [
        ("nothing recorded", None, Some(track(0..100, 10..20)), 100, vec![(10, 20)]),
        ("nothing seen", Some(recorded(50, Some((5, Some(9))), 60)), None, 50, vec![(5, 9)]),
        (
            "fresh saw more",
            Some(recorded(50, Some((5, Some(9))), 60)),
            Some(track(0..100, 10..20)),
            100,
            vec![(10, 20)],
        ),
        (
            "the record saw more",
            Some(recorded(3_600, Some((5, Some(9))), 60)),
            Some(track(50..100, 60..70)),
            3_600,
            vec![(5, 9)],
        ),
        (
            "a tie is the fresh one's",
            Some(recorded(100, Some((5, Some(30))), 60)),
            Some(track(0..100, 10..20)),
            100,
            vec![(10, 20)],
        ),
        // It was down when the leader died, and a new one has no samples: what was known stays.
        (
            "down and silent",
            Some(recorded(0, Some((5, None)), 60)),
            Some(track(0..0, 0..0)),
            0,
            vec![(5, 60)],
        ),
        // The record's end was a guess; the sample that ended it came later.
        (
            "no stretching",
            Some(recorded(50, Some((5, None)), 60)),
            Some(track(0..100, 5..59)),
            100,
            vec![(5, 59)],
        ),
    ] {
        let day = Day::merge(NaiveDate::default(), stored.as_ref(), track.as_ref(), &[]);
        let found: Vec<_> = day.downtimes.iter().map(|s| (s.start, s.end)).collect();
        let downs: Vec<_> = downs.into_iter().map(|(s, e)| (at(s), at(e))).collect();
        assert_eq!((day.hours[HOUR as usize].total, found), (total, downs), "{name}");
    }
}

#[test]
fn merging_again_changes_nothing() {
    let track = track(0..3_600, 3_000..3_600);
    let causes = [(at(3_000), Cause { incident: Some("inc-1".to_owned()), ..Cause::default() })];
    let first = Day::merge(NaiveDate::default(), None, Some(&track), &causes);
    let record = first.record("web", BTreeMap::new(), at(3_600));
    assert_eq!(record.downtimes.len(), 1);
    assert_eq!(record.downtimes[0].end, None, "it goes on");
    assert_eq!(record.downtimes[0].cause.incident.as_deref(), Some("inc-1"));

    let again = Day::merge(NaiveDate::default(), Some(&record), Some(&track), &[]);
    assert_eq!(again, first, "the record keeps the cause");
    let blind = Day::merge(NaiveDate::default(), Some(&record), None, &[]);
    assert_eq!(blind.hours, first.hours);
    assert_eq!(blind.downtimes[0].seconds(), 600.0);
}

#[test]
fn of_many_downtimes_the_longest_are_kept() {
    let spans = (0..1_000).map(|i| Span::new(i * 10_000, i * 10_000 + 1 + i, false)).collect();
    let (maintenance, latency) = Default::default();
    let hours = [Bucket::default(); 24];
    let day = Day { start: 0, hours, downtimes: spans, maintenance, latency };
    let kept = day.record("web", BTreeMap::new(), 0).downtimes;
    assert_eq!(kept.len(), DOWNTIMES_MAX);
    assert_eq!(kept[0].start, instant(800 * 10_000));
    assert!(kept.is_sorted_by_key(|d| d.start));
}

#[test]
fn the_record_as_json() {
    let mut record = recorded(2, Some((5, Some(9))), 60);
    let change = |second, serves| RoleChange { at: instant(at(second)), serves };
    record.roles.insert("db-2".to_owned(), vec![change(0, false), change(7, true)]);
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<DayRecord>(&json).unwrap(), record);
    insta::assert_snapshot!(json.replace(r#"{"total":0,"good":0,"fast":0},"#, ""), @r#"{"service":"web","day":"1970-01-01","hours":[{"total":2,"good":2,"fast":2},{"total":0,"good":0,"fast":0}],"downtimes":[{"start":"1970-01-01T12:00:05Z","end":"1970-01-01T12:00:09Z","cause":{"reason":"recorded"}}],"roles":{"db-2":[{"at":"1970-01-01T12:00:00Z","serves":false},{"at":"1970-01-01T12:00:07Z","serves":true}]},"updated_at":"1970-01-01T12:01:00Z"}"#);
}
