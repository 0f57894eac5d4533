//! Whole schedules against a model that asks every minute anew, from first principles: the wall clock, the list of hand-offs
//! found by stepping, the layers from the last to the first, the changes one after the other.

use std::collections::BTreeMap;

use watchkeep_catalog::{ChangeKind, ScheduleChange, Span, TemporaryShift};

use super::*;

const PEOPLE: [&str; 4] = ["a", "b", "c", "d"];

/// Days on which clocks change, in zones of both hemispheres, and a leap day.
const CHANGES: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2028-11-05"),
    ("America/Santiago", "2026-04-05"),
    ("America/Santiago", "2026-09-06"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Pacific/Apia", "2011-12-30"),
    ("UTC", "2028-02-29"),
];

#[derive(Debug, Clone)]
struct ModelLayer {
    every: (&'static str, u32),
    start_day: u64,
    time: u32,
    end_day: Option<u64>,
    people: Vec<usize>,
    /// Days since Monday, minutes of the day.
    restrictions: Vec<(Vec<u32>, u32, u32)>,
}

fn layers() -> impl Strategy<Value = Vec<ModelLayer>> {
    let every = prop::sample::select(vec![
        ("hours", 5),
        ("hours", 12),
        ("days", 1),
        ("days", 3),
        ("weeks", 1),
    ]);
    let days =
        prop::collection::btree_set(0_u32..7, 1..=7).prop_map(|set| set.into_iter().collect());
    let minutes = || prop::sample::select(vec![0_u32, 90, 120, 150, 180, 540, 1_020, 1_410]);
    let restriction = (days, minutes(), minutes());
    let layer = (
        every,
        0_u64..4,
        minutes(),
        prop::option::of(5_u64..9),
        prop::collection::vec(0_usize..4, 1..4),
        prop::collection::vec(restriction, 0..3),
    );
    let layer = layer.prop_map(|(every, start_day, time, end_day, people, restrictions)| {
        ModelLayer { every, start_day, time, end_day, people, restrictions }
    });
    prop::collection::vec(layer, 1..4)
}

/// Minutes behind the span's beginning, and what changes.
#[derive(Debug, Clone)]
enum ModelChange {
    Override(usize, i64, i64),
    Swap(usize, usize, i64, i64, Option<(i64, i64)>),
    Offer(usize, i64, i64),
    Temporary(Vec<(usize, i64, i64)>),
}

fn changes() -> impl Strategy<Value = Vec<ModelChange>> {
    let span = || (0_i64..10_000, 1_i64..3_000);
    let person = || 0_usize..4;
    prop::collection::vec(
        prop_oneof![
            (person(), span()).prop_map(|(p, (from, length))| ModelChange::Override(
                p,
                from,
                from + length
            )),
            (person(), person(), span(), prop::option::of(span())).prop_map(
                |(giver, taker, (from, length), back)| {
                    ModelChange::Swap(
                        giver,
                        taker,
                        from,
                        from + length,
                        back.map(|(from, length)| (from, from + length)),
                    )
                }
            ),
            (person(), span()).prop_map(|(p, (from, length))| ModelChange::Offer(
                p,
                from,
                from + length
            )),
            prop::collection::vec((person(), span()), 1..4).prop_map(|shifts| {
                ModelChange::Temporary(
                    shifts
                        .into_iter()
                        .map(|(p, (from, length))| (p, from, from + length))
                        .collect(),
                )
            }),
        ],
        0..6,
    )
}

fn clock_text(minutes: u32) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn layer_config(first: NaiveDate, layer: &ModelLayer) -> serde_json::Value {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let restrictions: Vec<_> = layer
        .restrictions
        .iter()
        .map(|(days, from, to)| {
            let days: Vec<_> = days.iter().map(|day| DAYS[*day as usize]).collect();
            serde_json::json!({"days": days, "from": clock_text(*from), "to": clock_text(*to)})
        })
        .collect();
    serde_json::json!({
        "every": {layer.every.0: layer.every.1},
        "start": first + chrono::Days::new(layer.start_day),
        "time": clock_text(layer.time),
        "end": layer.end_day.map(|day| first + chrono::Days::new(day)),
        "rotation": layer.people.iter().map(|p| PEOPLE[*p]).collect::<Vec<_>>(),
        "restrictions": restrictions,
    })
}

fn config(zone: &str, layers: Vec<serde_json::Value>) -> Schedule {
    let config = serde_json::json!({"name": "s", "time_zone": zone, "layers": layers});
    Schedule::new(&serde_json::from_value(config).unwrap()).unwrap()
}

/// `unit` is what the model counts by.
fn records(from: Time, unit: TimeDelta, changes: &[ModelChange]) -> Vec<ScheduleChange> {
    let at = |count: i64| from + unit * i32::try_from(count).unwrap();
    let person = |p: usize| PEOPLE[p].to_owned();
    let record = |(number, change): (usize, &ModelChange)| {
        let (begin, end, change) = match change {
            ModelChange::Override(p, a, b) => (*a, *b, ChangeKind::Override { person: person(*p) }),
            ModelChange::Swap(giver, taker, a, b, back) => {
                let back = back.map(|(a, b)| Span { from: at(a), to: at(b) });
                (
                    *a,
                    *b,
                    ChangeKind::Swap { giver: person(*giver), taker: Some(person(*taker)), back },
                )
            }
            ModelChange::Offer(p, a, b) => {
                (*a, *b, ChangeKind::Swap { giver: person(*p), taker: None, back: None })
            }
            ModelChange::Temporary(shifts) => {
                let a = shifts.iter().map(|s| s.1).min().unwrap();
                let b = shifts.iter().map(|s| s.2).max().unwrap();
                let shifts = shifts
                    .iter()
                    .map(|(p, a, b)| TemporaryShift {
                        person: person(*p),
                        from: at(*a),
                        to: at(*b),
                    })
                    .collect();
                (a, b, ChangeKind::Temporary { shifts })
            }
        };
        ScheduleChange {
            id: format!("c{number}"),
            schedule: "s".to_owned(),
            from: at(begin),
            to: at(end),
            change,
            by: "a".to_owned(),
            decided_at: from + TimeDelta::seconds(number as i64),
            comment: String::new(),
        }
    };
    changes.iter().enumerate().map(record).collect()
}

/// The model: for one layer, whose turn it is at every minute.
struct Turn<'a> {
    layer: &'a ModelLayer,
    start: Option<Time>,
    /// Local times of the hand-offs that are still to come, or minutes until the next.
    next_local: NaiveDateTime,
    number: usize,
}

impl Turn<'_> {
    /// Goes to the minute `now`, at which the clock shows `local`.
    fn step(&mut self, now: Time, local: NaiveDateTime) {
        let (unit, every) = self.layer.every;
        if self.start.is_none() {
            if local >= self.next_local {
                self.start = Some(now);
                if unit != "hours" {
                    self.next_local +=
                        TimeDelta::days(i64::from(every * if unit == "weeks" { 7 } else { 1 }));
                }
            }
            return;
        }
        if unit == "hours" {
            let passed = (now - self.start.unwrap()).num_minutes();
            self.number = (passed / i64::from(every * 60)) as usize;
            return;
        }
        while local >= self.next_local {
            self.number += 1;
            self.next_local +=
                TimeDelta::days(i64::from(every * if unit == "weeks" { 7 } else { 1 }));
        }
    }
}

/// Whether a layer's restrictions let it count while the clock shows this.
fn counts(layer: &ModelLayer, local: NaiveDateTime) -> bool {
    let day = local.weekday().num_days_from_monday();
    let time = local.hour() * 60 + local.minute();
    let within = |(days, a, b): &(Vec<u32>, u32, u32)| match a < b {
        true => days.contains(&day) && *a <= time && time < *b,
        false => {
            (days.contains(&day) && *a <= time) || (days.contains(&((day + 6) % 7)) && time < *b)
        }
    };
    layer.restrictions.is_empty() || layer.restrictions.iter().any(within)
}

fn model(
    zone: Tz,
    first: NaiveDate,
    layers: &[ModelLayer],
    changes: &[ModelChange],
    from: Time,
    minutes: i64,
) -> Vec<Option<usize>> {
    let midnight = |day: u64| (first + chrono::Days::new(day)).and_time(NaiveTime::MIN);
    let mut turns: Vec<Turn<'_>> = layers
        .iter()
        .map(|layer| Turn {
            layer,
            start: None,
            next_local: midnight(layer.start_day) + TimeDelta::minutes(i64::from(layer.time)),
            number: 0,
        })
        .collect();
    let mut ended = vec![false; layers.len()];
    let mut people = Vec::new();
    // From well before the first start.
    for minute in -3 * 1_440..minutes {
        let now = from + TimeDelta::minutes(minute);
        let local = now.with_timezone(&zone).naive_local();
        let mut person = None;
        for (at, turn) in turns.iter_mut().enumerate() {
            turn.step(now, local);
            ended[at] |= turn.layer.end_day.is_some_and(|day| local >= midnight(day));
            if turn.start.is_some() && !ended[at] && counts(turn.layer, local) {
                let people = &turn.layer.people;
                person = Some(people[turn.number % people.len()]);
            }
        }
        if minute < 0 {
            continue;
        }
        people.push(changed(person, changes, minute));
    }
    people
}

/// Who it is after what people have changed, one after the other.
fn changed(mut person: Option<usize>, changes: &[ModelChange], now: i64) -> Option<usize> {
    for change in changes {
        let within = |a: i64, b: i64| a <= now && now < b;
        match change {
            ModelChange::Override(p, a, b) if within(*a, *b) => person = Some(*p),
            ModelChange::Swap(giver, taker, a, b, back) => {
                if within(*a, *b) && person == Some(*giver) {
                    person = Some(*taker);
                } else if back.is_some_and(|(a, b)| within(a, b)) && person == Some(*taker) {
                    person = Some(*giver);
                }
            }
            ModelChange::Temporary(shifts) => {
                let a = shifts.iter().map(|s| s.1).min().unwrap();
                let b = shifts.iter().map(|s| s.2).max().unwrap();
                if within(a, b) {
                    person = shifts.iter().rev().find(|s| within(s.1, s.2)).map(|s| s.0);
                }
            }
            ModelChange::Override(..) | ModelChange::Offer(..) => {}
        }
    }
    person
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_minute_has_the_person_that_the_rules_say(
        (zone, change) in prop::sample::select(CHANGES.to_vec()),
        layers in layers(),
        changes in changes(),
    ) {
        let first = change.parse::<NaiveDate>().unwrap() - chrono::Days::new(3);
        let schedule = config(zone, layers.iter().map(|layer| layer_config(first, layer)).collect());
        let zone: Tz = zone.parse().unwrap();
        let from = wall::first(zone, first.and_time(NaiveTime::MIN));
        let minutes = 9 * 1_440;
        let to = from + TimeDelta::minutes(minutes);
        let records = records(from, TimeDelta::minutes(1), &changes);
        let duties = schedule.duties(from, to, &records);
        // Without a hole, in order, and each at whole minutes as its rules are.
        prop_assert_eq!(duties.first().map(|d| d.from), Some(from));
        prop_assert_eq!(duties.last().map(|d| d.to), Some(to));
        prop_assert!(duties.windows(2).all(|pair| pair[0].to == pair[1].from));
        let model = model(zone, first, &layers, &changes, from, minutes);
        let mut found = Vec::new();
        for duty in &duties {
            prop_assert_eq!((duty.to - from).num_seconds() % 60, 0);
            let person = duty.person.as_deref().map(|name| PEOPLE.iter().position(|p| *p == name).unwrap());
            found.resize((duty.to - from).num_minutes() as usize, person);
        }
        for (minute, (found, expected)) in found.iter().zip(&model).enumerate() {
            let at = from + TimeDelta::minutes(minute as i64);
            prop_assert_eq!(found, expected, "at {} ({})", at, at.with_timezone(&zone));
        }
        prop_assert_eq!(found.len(), model.len());
        // What is asked of one instant is what the final schedule says.
        let minute = 4_321;
        let at = from + TimeDelta::minutes(minute) + TimeDelta::seconds(59);
        let shift = schedule.who(at, &records);
        prop_assert_eq!(shift.person.as_deref(), model[minute as usize].map(|p| PEOPLE[p]));
    }
}

#[test]
fn later_layers_win_and_gaps_are_found() {
    let config = |layers: serde_json::Value| {
        let config =
            serde_json::json!({"name": "s", "time_zone": "Europe/Berlin", "layers": layers});
        Schedule::new(&serde_json::from_value(config).unwrap()).unwrap()
    };
    let all = serde_json::json!({"every": {"weeks": 1}, "start": "2026-01-05", "rotation": ["a"]});
    let office = serde_json::json!({"name": "office", "every": {"days": 1}, "start": "2026-01-05", "time": "09:00",
        "rotation": ["b"], "restrictions": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}]});
    let both = config(serde_json::json!([all, office]));
    assert_eq!(both.gap(), None);
    let mut who = BTreeMap::new();
    for (instant, person) in [
        ("2026-01-05T07:59:59Z", "a"),
        ("2026-01-05T08:00:00Z", "b"),
        ("2026-01-05T16:00:00Z", "a"),
        ("2026-01-10T10:00:00Z", "a"),
        ("2026-07-06T07:00:00Z", "b"),
    ] {
        who.insert(instant, person);
        assert_eq!(both.who(at(instant), &[]).person.as_deref(), Some(person), "{instant}");
    }
    let shift = both.who(at("2026-01-05T10:00:00Z"), &[]);
    assert_eq!(shift.until, Some(at("2026-01-05T16:00:00Z")));
    assert_eq!(shift.next_person.as_deref(), Some("a"));
    let gap = config(serde_json::json!([office])).gap().unwrap();
    assert_eq!((gap.from, gap.to), (at("2026-01-05T16:00:00Z"), at("2026-01-06T08:00:00Z")));
    // What ends leaves a gap behind it.
    let mut ends = all;
    ends["end"] = "2026-12-01".into();
    let gap = config(serde_json::json!([ends])).gap().unwrap();
    assert_eq!(gap.from, at("2026-11-30T23:00:00Z"));
}

mod seconds;
