//! A table of shifts, and a model that steps through time minute by minute.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

fn layer(handoff: &str, start: &str, people: &[&str]) -> Layer {
    serde_json::from_value(serde_json::json!({
        "handoff": handoff, "start": start, "rotation": people,
    }))
    .unwrap()
}

fn rotation(zone: &str, handoff: &str, start: &str, people: &[&str]) -> Rotation {
    Rotation::new(zone.parse().unwrap(), &layer(handoff, start, people)).unwrap()
}

fn at(text: &str) -> Time {
    text.parse().unwrap()
}

#[test]
fn shifts() {
    let weekly = ("Europe/Berlin", "0 0 9 * * Mon *", "2026-01-05");
    let daily = ("Europe/Berlin", "30 2 * * *", "2026-03-27");
    let samoa = ("Pacific/Apia", "0 9 * * fri", "2011-12-19");
    for ((zone, line, start), instant, person, since, until) in [
        // The start is a Monday's midnight; the first hand-off comes the same morning.
        (
            weekly,
            "2026-01-05T07:59:59Z",
            "alice",
            Some("2026-01-04T23:00:00Z"),
            "2026-01-05T08:00:00Z",
        ),
        (
            weekly,
            "2026-01-05T08:00:00Z",
            "bob",
            Some("2026-01-05T08:00:00Z"),
            "2026-01-12T08:00:00Z",
        ),
        (
            weekly,
            "2026-01-12T08:00:00Z",
            "carol",
            Some("2026-01-12T08:00:00Z"),
            "2026-01-19T08:00:00Z",
        ),
        (weekly, "2025-12-01T00:00:00Z", "alice", None, "2026-01-05T08:00:00Z"),
        // Summer time begins on 29 March: nine o'clock is an hour earlier.
        (
            weekly,
            "2026-03-30T07:00:00Z",
            "bob",
            Some("2026-03-30T07:00:00Z"),
            "2026-04-06T07:00:00Z",
        ),
        // 02:30 is skipped on 29 March: the hand-off comes at 03:00, which is 01:00 UTC.
        (
            daily,
            "2026-03-29T00:59:59Z",
            "carol",
            Some("2026-03-28T01:30:00Z"),
            "2026-03-29T01:00:00Z",
        ),
        (
            daily,
            "2026-03-29T01:00:00Z",
            "alice",
            Some("2026-03-29T01:00:00Z"),
            "2026-03-30T00:30:00Z",
        ),
        // 02:30 is shown twice on 25 October: the hand-off comes the first time.
        (
            daily,
            "2026-10-25T00:30:00Z",
            "alice",
            Some("2026-10-25T00:30:00Z"),
            "2026-10-26T01:30:00Z",
        ),
        (
            daily,
            "2026-10-25T01:30:00Z",
            "alice",
            Some("2026-10-25T00:30:00Z"),
            "2026-10-26T01:30:00Z",
        ),
        // Samoa had no Friday 30 December 2011: the hand-off comes at the midnight that ended it.
        (
            samoa,
            "2011-12-30T09:59:59Z",
            "bob",
            Some("2011-12-23T19:00:00Z"),
            "2011-12-30T10:00:00Z",
        ),
        (
            samoa,
            "2011-12-30T10:00:00Z",
            "carol",
            Some("2011-12-30T10:00:00Z"),
            "2012-01-05T19:00:00Z",
        ),
    ] {
        let rotation = rotation(zone, line, start, &["alice", "bob", "carol"]);
        let shift = rotation.who(at(instant));
        assert_eq!(shift.person.as_deref(), Some(person), "{line} at {instant}: {shift:?}");
        assert_eq!(shift.since, since.map(at), "{line} at {instant}");
        assert_eq!(shift.until, Some(at(until)), "{line} at {instant}");
    }
}

#[test]
fn says_what_is_wrong() {
    for (zone, line, start, people, field, part) in [
        ("Mars/Olympus", "0 9 * * *", "2026-01-05", &["a"][..], "time_zone", "IANA"),
        ("UTC", "0 9 * *", "2026-01-05", &["a"], "handoff", "4 fields"),
        ("UTC", "* * * * * *", "2026-01-05", &["a"], "handoff", "86400 times a day"),
        ("UTC", "0 9 30 2 *", "2026-01-05", &["a"], "handoff", "never comes"),
        ("UTC", "0 0 9 * * * 2020", "2026-01-05", &["a"], "handoff", "never comes"),
        ("UTC", "0 9 * * *", "1926-01-05", &["a"], "start", "1970"),
        ("UTC", "0 9 * * *", "2026-01-05", &[], "rotation", "0 people"),
    ] {
        let config = serde_json::json!({"name": "primary", "time_zone": zone, "handoff": line,
            "start": start, "rotation": people});
        let found = match people {
            // Without handoff, start and rotation it is no short form.
            [] => Rotation::new(Tz::UTC, &layer(line, start, people)).unwrap_err(),
            _ => Schedule::new(&serde_json::from_value(config).unwrap()).unwrap_err(),
        };
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, field);
        assert!(found[0].message.contains(part), "{found:?}");
    }
}

/// It is looked for gaps up to a year behind a layer's end: day by day, for as long as the calendar goes.
#[test]
fn a_layer_ends_in_this_century() {
    let schedule = |end: &str| {
        let layer = serde_json::json!({"start": "2026-01-05", "every": {"days": 7},
            "rotation": ["a"], "end": end});
        let config = serde_json::json!({"name": "primary", "layers": [layer]});
        Schedule::new(&serde_json::from_value(config).unwrap())
    };
    assert!(schedule("2099-12-31").is_ok());
    for far in ["9999-12-31", "+262142-12-31"] {
        let found = schedule(far).unwrap_err();
        assert_eq!((found.len(), found[0].path.as_str()), (1, "layers[0].end"), "{found:?}");
        assert!(found[0].message.contains("out of range"), "{found:?}");
    }
}

#[test]
fn a_far_date_is_found_by_counting_days() {
    let rotation = rotation("America/New_York", "0 * * * *", "1970-01-01", &["a", "b", "c"]);
    let far = at("2099-06-01T12:34:00Z");
    let shift = rotation.who(far);
    assert_eq!(shift.since, Some(at("2099-06-01T12:00:00Z")));
    assert_eq!(shift.until, Some(at("2099-06-01T13:00:00Z")));
}

/// Which minutes of the wall clock hand over, without the crate and without day arithmetic.
#[derive(Debug, Clone)]
struct Rule {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    weekdays: Vec<u32>,
}

impl Rule {
    fn line(&self) -> String {
        let list =
            |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        format!("{} {} * * {}", list(&self.minutes), list(&self.hours), list(&self.weekdays))
    }

    fn matches(&self, local: NaiveDateTime) -> bool {
        self.minutes.contains(&local.minute())
            && self.hours.contains(&local.hour())
            && self.weekdays.contains(&local.weekday().num_days_from_sunday())
    }
}

/// Steps from the first minute of the start to `until` and lists the hand-offs: a minute counts when the wall
/// clock shows, or has just jumped over, a matching minute that it has not shown before.
fn ticks(rule: &Rule, zone: Tz, start: Time, until: Time) -> Vec<Time> {
    let minute = TimeDelta::minutes(1);
    let wall = |t: Time| t.with_timezone(&zone).naive_local();
    let (mut now, mut shown) = (start, wall(start));
    let mut ticks = Vec::new();
    while now < until {
        now += minute;
        let mut due = false;
        while shown < wall(now) {
            shown += minute;
            due |= rule.matches(shown);
        }
        if due {
            ticks.push(now);
        }
    }
    ticks
}

fn rules() -> impl Strategy<Value = Rule> {
    let some = |range: std::ops::Range<u32>, most| {
        prop::collection::btree_set(range, 1..=most).prop_map(|set| set.into_iter().collect())
    };
    (some(0..60, 3), some(0..24, 4), some(0..7, 7)).prop_map(|(minutes, hours, weekdays)| Rule {
        minutes,
        hours,
        weekdays,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Around days on which clocks change, in zones that do so at 02:00, 01:00, 00:00 and by half an hour.
    #[test]
    fn agrees_with_stepping_through_time(
        rule in rules(),
        (zone, change) in prop::sample::select(vec![
            ("Europe/Berlin", "2026-03-29"),
            ("Europe/Berlin", "2026-10-25"),
            ("Europe/London", "2026-10-25"),
            ("America/New_York", "2026-11-01"),
            ("America/Havana", "2026-03-08"),
            ("America/Havana", "2026-11-01"),
            ("Australia/Lord_Howe", "2026-10-04"),
            ("Australia/Lord_Howe", "2026-04-05"),
            ("Asia/Beirut", "2026-03-29"),
            ("Asia/Beirut", "2026-10-24"),
            ("Pacific/Apia", "2011-12-30"),
            ("UTC", "2026-06-01"),
        ]),
        before in 0_u64..5,
        minutes in 0_i64..11 * 24 * 60,
        seconds in 0_i64..60,
        people in 1_usize..4,
    ) {
        let start: NaiveDate = change.parse::<NaiveDate>().unwrap() - chrono::Days::new(before);
        let names = &["a", "b", "c"][..people];
        let rotation = rotation(zone, &rule.line(), &start.to_string(), names);
        let zone: Tz = zone.parse().unwrap();
        let start = rotation.start;
        prop_assert!(start <= Utc.with_ymd_and_hms(2027, 1, 1, 0, 0, 0).unwrap());
        let now = start + TimeDelta::minutes(minutes) + TimeDelta::seconds(seconds);
        let all = ticks(&rule, zone, start, start + TimeDelta::days(30));
        let past: Vec<_> = all.iter().filter(|tick| **tick <= now).collect();
        let shift = rotation.who(now);
        prop_assert_eq!(shift.person.as_deref(), Some(names[past.len() % people]));
        prop_assert_eq!(shift.next_person.as_deref(), Some(names[(past.len() + 1) % people]));
        prop_assert_eq!(shift.since, Some(past.last().map_or(start, |tick| **tick)));
        prop_assert_eq!(shift.until, all.iter().find(|tick| **tick > now).copied());
    }
}

mod duties;
