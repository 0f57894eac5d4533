//! Windows over days and counts, and the report's JSON.

use super::*;
use crate::slo::{
    probes::{Probes, tests::series},
    roles::Roles,
    time::day_of,
};

/// 1970-02-10 12:30.
const NOW: i64 = 40 * DAY_MS + 12 * HOUR_MS + 30 * MINUTE_MS;

/// One probe each ten seconds since 24 hours ago, bad within `bad`, slow (but good) within `slow`.
fn track(bad: std::ops::Range<i64>, slow: std::ops::Range<i64>) -> Track {
    let roles = Roles::default();
    let probes = |from: i64, to: i64| {
        let from = from.max(NOW - DAY_MS);
        let moments: Vec<i64> = (from..to).step_by(10_000).collect();
        let success: Vec<_> =
            moments.iter().map(|at| (*at, if bad.contains(at) { 0.0 } else { 1.0 })).collect();
        let took: Vec<_> =
            moments.iter().map(|at| (*at, if slow.contains(at) { 0.2 } else { 0.02 })).collect();
        Probes::join(&[series("a", &success)], &[series("a", &took)], (from, to), 100)
    };
    let mut track = Track::new(NOW);
    while track.is_behind(NOW) {
        let base = track.base();
        track.settle(&probes(base, base + HOUR_MS), &roles);
    }
    track.replay(&probes(track.base(), NOW), &roles, NOW);
    track
}

fn report(track: &Track, stored: &[Day]) -> Report {
    let mut days = stored.to_vec();
    for day in [day_of(NOW - DAY_MS), day_of(NOW)] {
        days.push(Day::merge(day, None, Some(track), &[]));
    }
    let objective = Objective { availability: 0.999, latency_ms: 100 };
    Report::of("web", objective, &Window::ALL, &days, track)
}

#[test]
fn windows_see_what_lies_in_them() {
    // Ten minutes down twenty hours ago, a minute slow half an hour ago.
    let (down, slow) = (NOW - 20 * HOUR_MS, NOW - 30 * MINUTE_MS);
    let track = track(down..down + 600_000, slow..slow + 60_000);
    // Recorded twenty days ago: a bad hour.
    let mut hours = [Bucket::default(); 24];
    hours[3] = Bucket { total: 360, good: 300, fast: 290, excluded: 0 };
    let start = NOW - NOW % DAY_MS - 20 * DAY_MS;
    let stored = Day {
        start,
        hours,
        downtimes: vec![Span::new(start + 3 * HOUR_MS, start + 3 * HOUR_MS + 60_000, false)],
        unlisted: Default::default(),
        maintenance: Vec::new(),
        latency: Default::default(),
    };
    let report = report(&track, &[stored]);

    let seen: Vec<_> = report
        .windows
        .iter()
        .map(|w| {
            (
                w.probes,
                w.downtime.count,
                w.downtime.seconds,
                w.availability.status,
                w.latency.status,
            )
        })
        .collect();
    let bucket = |total, good, fast| Bucket { total, good, fast, excluded: 0 };
    use Standing::{Breached, Ok};
    assert_eq!(
        seen,
        [
            (bucket(360, 360, 354), 0, 0.0, Ok, Breached),
            (bucket(8_640, 8_580, 8_574), 1, 600.0, Breached, Breached),
            (bucket(9_000, 8_880, 8_864), 2, 660.0, Breached, Breached),
        ]
    );
    let starts: Vec<_> = report.downtimes.iter().map(|d| d.start.timestamp_millis()).collect();
    assert_eq!(starts, [down, start + 3 * HOUR_MS], "the latest first");
    assert_eq!(report.known_from, Some(instant(NOW - DAY_MS)));
}

#[test]
fn a_window_begins_on_a_whole_minute_or_hour() {
    let now = NOW + 12_345;
    for (window, start) in [
        (Window::Hour, NOW - HOUR_MS),
        (Window::Day, NOW - 30 * MINUTE_MS - DAY_MS),
        (Window::Month, NOW - 30 * MINUTE_MS - 30 * DAY_MS),
    ] {
        assert_eq!(window.start(now), start, "{}", window.name());
        assert_eq!(Window::named(window.name()), Some(window));
    }
    assert_eq!(Window::named("2h"), None);
}

#[test]
fn without_probes_nothing_is_judged() {
    let report = report(&Track::new(NOW), &[]);
    assert_eq!(report.state, State::Unknown);
    for window in &report.windows {
        assert_eq!(window.status(), Standing::NotEnoughData);
        assert_eq!(window.availability.ratio, None);
        assert_eq!(window.downtime.seconds.to_string(), "0");
    }
}

/// A list of a thousand services stays small: the sums are whole, the intervals are the latest.
#[test]
fn in_short_the_latest_are_listed_and_all_are_counted() {
    let start = NOW - NOW % DAY_MS - 20 * DAY_MS;
    let down = |hour: i64| start + hour * HOUR_MS;
    let day = Day {
        start,
        hours: [Bucket::default(); 24],
        downtimes: (1..=9).map(|h| Span::new(down(h), down(h) + 60_000, false)).collect(),
        unlisted: Default::default(),
        maintenance: Vec::new(),
        latency: Default::default(),
    };
    let whole = report(&Track::new(NOW), &[day]);
    assert_eq!(whole.downtimes.len(), 9);
    let short = whole.in_short(Window::Month);
    assert_eq!(short.downtimes, whole.downtimes[..3]);
    let [month] = &short.windows[..] else { panic!("{:?}", short.windows) };
    assert_eq!(month.downtime.count, 9);
}

#[test]
fn the_report_as_json() {
    let down = NOW - 60_000;
    let mut report = report(&track(down..NOW, 0..0), &[]);
    report.windows.truncate(1);
    assert_eq!(report.burn.len(), 8);
    report.burn.clear();
    report.downtimes[0].cause.incident = Some("inc-1".to_owned());
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}
