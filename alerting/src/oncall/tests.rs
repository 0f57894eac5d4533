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

#[test]
fn says_everything_that_is_wrong() {
    let paths = |config: serde_json::Value| -> Vec<(String, String)> {
        let found = Schedule::new(&serde_json::from_value(config).unwrap()).unwrap_err();
        found.into_iter().map(|Invalid { path, message }| (path, message)).collect()
    };
    let short = paths(serde_json::json!({"name": "s", "time_zone": "Nowhere", "rotation": ["a"]}));
    let fields: Vec<_> = short.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(fields, ["time_zone", "handoff", "start"]);
    let layers = paths(serde_json::json!({"name": "s", "layers": [
        {"every": {"weeks": 0}, "start": "2026-01-05", "rotation": ["a"],
         "restrictions": [{"from": "9"}, {"from": "09:00"}, {"days": ["holiday"]}]},
        {"every": {"days": 1}, "start": "2026-01-05", "time": "25:00", "rotation": []},
    ]}));
    let fields: Vec<_> = layers.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        fields,
        [
            "layers[0].every",
            "layers[0].restrictions[0]",
            "layers[0].restrictions[2]",
            "layers[1].rotation",
            "layers[1].time",
        ]
    );
    assert_eq!(layers[0].1, "0 weeks are out of range: give 1 to 522");
}

#[test]
fn a_change_makes_sense_and_a_difference() {
    let config = serde_json::json!({"name": "primary", "handoff": "0 9 * * mon", "start": "2026-01-05",
        "rotation": ["a", "b"]});
    let schedule = Schedule::new(&serde_json::from_value(config).unwrap()).unwrap();
    let now = at("2026-01-05T12:00:00Z");
    let judged = |kind: serde_json::Value| {
        let mut change = serde_json::json!({"id": "x", "schedule": "primary", "by": "a",
            "from": "2026-01-06T00:00:00Z", "to": "2026-01-07T00:00:00Z",
            "decided_at": "2026-01-05T12:00:00Z"});
        for (name, value) in kind.as_object().unwrap() {
            change[name] = value.clone();
        }
        let change = serde_json::from_value(change).unwrap();
        check_change(&change).and_then(|()| check_effect(&schedule, &[], &change, now))
    };
    let shift = |person: &str, from: &str, to: &str| {
        serde_json::json!({"person": person, "from": format!("2026-01-06T{from}:00Z"),
            "to": format!("2026-01-06T{to}:00Z")})
    };
    // Since Monday at nine it is b's turn, and in a week a's.
    let week = serde_json::json!({"from": "2026-01-12T09:00:00Z", "to": "2026-01-13T00:00:00Z"});
    for (kind, wrong) in [
        (serde_json::json!({"kind": "override", "person": "a"}), None),
        (
            serde_json::json!({"kind": "override", "person": "a", "to": "2026-01-06T00:00:00Z"}),
            Some("give a later end"),
        ),
        (
            serde_json::json!({"kind": "override", "person": "a", "from": "2026-01-04T00:00:00Z",
                "to": "2026-01-05T12:00:00Z"}),
            Some("it is over already, it ends at 2026-01-05 12:00:00 UTC"),
        ),
        (serde_json::json!({"kind": "swap", "giver": "b"}), None),
        (
            serde_json::json!({"kind": "swap", "giver": "a"}),
            Some("a has no shift by schedule primary from 2026-01-06 00:00:00 UTC"),
        ),
        (serde_json::json!({"kind": "swap", "giver": "b", "taker": "a", "back": week}), None),
        (
            serde_json::json!({"kind": "swap", "giver": "b", "taker": "c", "back": week}),
            Some("c has no shift"),
        ),
        (
            serde_json::json!({"kind": "temporary", "shifts": [
                shift("a", "00:00", "12:00"), shift("b", "12:00", "23:00")]}),
            None,
        ),
        (
            serde_json::json!({"kind": "temporary", "shifts": [
                shift("a", "00:00", "12:00"), shift("b", "11:00", "23:00")]}),
            Some("shift of b: at 2026-01-06 11:00:00 UTC it is that of a, too"),
        ),
    ] {
        let said = judged(kind.clone());
        match wrong {
            None => assert_eq!(said, Ok(()), "{kind}"),
            Some(part) => assert!(said.as_ref().unwrap_err().contains(part), "{kind}: {said:?}"),
        }
    }
}

#[test]
fn a_wall_clock_that_is_typed_is_an_instant() {
    for (zone, local, instant) in [
        ("Europe/Berlin", "2026-01-05T10:00", Some("2026-01-05T09:00:00Z")),
        ("Europe/Berlin", "2026-07-05T10:00:30", Some("2026-07-05T08:00:30Z")),
        // Skipped: when it goes on. Shown twice: the first time.
        ("Europe/Berlin", "2026-03-29T02:30", Some("2026-03-29T01:00:00Z")),
        ("Europe/Berlin", "2026-10-25T02:30", Some("2026-10-25T00:30:00Z")),
        ("Europe/Berlin", "2026-01-05", None),
        ("Mars/Olympus", "2026-01-05T10:00", None),
    ] {
        assert_eq!(wall_instant(zone, local), instant.map(at), "{zone} {local}");
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
