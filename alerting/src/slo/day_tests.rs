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
        unlisted: BTreeMap::new(),
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
    let (unlisted, maintenance, latency) = Default::default();
    let hours = [Bucket::default(); 24];
    let day = Day { start: 0, hours, downtimes: spans, unlisted, maintenance, latency };
    let record = day.record("web", BTreeMap::new(), 0);
    // Read again, not a millisecond of it is lost.
    let days = [Day::merge(NaiveDate::default(), Some(&record), None, &[])];
    let all = Downtimes::of(&days);
    let exact: i64 = (1..=1_000).sum();
    let (count, seconds) = all.sum(0, DAY_MS);
    assert!(count == 1_000 && (seconds - exact as f64 / 1_000.0).abs() < 1e-6, "{count} {seconds}");
    assert_eq!(all.listed.len(), DOWNTIMES_MAX);
    let again = days[0].record("web", BTreeMap::new(), 0);
    assert_eq!((&again.downtimes, &again.unlisted), (&record.downtimes, &record.unlisted));
    let kept = record.downtimes;
    assert_eq!(kept.len(), DOWNTIMES_MAX);
    assert_eq!(kept[0].start, instant(800 * 10_000));
    assert!(kept.is_sorted_by_key(|d| d.start));
}

/// A track that begins at the start of hour [`HOUR`] and is down from its first probe, in its seventh second, for half an hour.
fn young() -> Track {
    let start = HOUR * HOUR_MS;
    let mut track = Track::new(start + 25 * HOUR_MS);
    assert_eq!(track.base(), start);
    let samples: Vec<_> =
        (0..360).map(|n| (start + n * 10_000 + 7_000, f64::from(u8::from(n >= 180)))).collect();
    let probes = Probes::join(&[series("a", &samples)], &[], (start, start + HOUR_MS), 100);
    track.settle(&probes, &Roles::default());
    track
}

#[test]
fn a_downtime_that_a_new_node_has_not_seen_the_begin_of_stays_whole() {
    // It began in the hour before, of which the new node has no samples any more.
    let mut stored = recorded(360, Some((-600, Some(1_807))), 3_600);
    stored.hours[HOUR as usize - 1] = Bucket { total: 360, good: 300, fast: 300, excluded: 0 };
    let day = Day::merge(NaiveDate::default(), Some(&stored), Some(&young()), &[]);
    let found: Vec<_> = day.downtimes.iter().map(|s| (s.start, s.end)).collect();
    assert_eq!(found, [(at(-600), at(1_807))]);
    let days = [day];
    assert_eq!(Downtimes::of(&days).sum(0, DAY_MS), (1, 2_407.0));
}

#[test]
fn what_a_node_has_forgotten_of_many_changes_the_record_tells() {
    // Every other second down, all day long: more changes than are kept.
    let (start, now) = (0, 25 * HOUR_MS);
    let mut track = Track::new(now);
    while track.is_behind(now) {
        let base = track.base();
        let seconds = (base / 1_000)..(base + HOUR_MS) / 1_000;
        let samples: Vec<_> = seconds.map(|s| (s * 1_000, (s % 2) as f64)).collect();
        let probes = Probes::join(&[series("a", &samples)], &[], (base, base + HOUR_MS), 100);
        track.settle(&probes, &Roles::default());
    }
    assert!(track.whole_from() > start + 12 * HOUR_MS, "it has forgotten most of the day");
    let mut stored = recorded(0, None, 0);
    for hour in 0..24_u8 {
        stored.hours[usize::from(hour)] =
            Bucket { total: 3_600, good: 1_800, fast: 0, excluded: 0 };
        stored.unlisted.insert(hour, Unlisted { count: 1_800, ms: 1_800_000 });
    }
    let days = [Day::merge(NaiveDate::default(), Some(&stored), Some(&track), &[])];
    let (_, seconds) = Downtimes::of(&days).sum(0, DAY_MS);
    assert_eq!(seconds, 43_200.0);
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
