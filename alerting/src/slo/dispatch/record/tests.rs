//! Schedules that change, and deliveries that fail.

use super::*;

#[test]
fn a_changed_schedule_is_not_due_for_the_past() {
    let at = |text: &str| text.parse::<Time>().unwrap();
    let schedule = |line: &str| ReportSchedule {
        name: "often".to_owned(),
        schedule: line.to_owned(),
        ..ReportSchedule::default()
    };
    let (monthly, weekly) = (schedule("0 8 1 * *"), schedule("0 8 * * mon"));
    let mut record = Dispatch::new(&monthly, Tz::UTC, at("2026-11-01T08:00:00Z"));
    record.deliveries.push(Delivery::new("ops", "email"));
    // On a Friday it becomes weekly: last Monday was behind the first of the month.
    let now = at("2026-11-20T12:00:00Z");
    assert_eq!(record.clone().under(&monthly, Tz::UTC, now), Ok(record.clone()));
    let changed = record.clone().under(&weekly, Tz::UTC, now).unwrap_err();
    assert_eq!((changed.due, &changed.deliveries), (record.due, &record.deliveries));
    assert_eq!(weekly.due(Tz::UTC, changed.after(), now), None);
    let monday = at("2026-11-23T08:00:00Z");
    assert_eq!(weekly.due(Tz::UTC, changed.after(), monday), Some(monday));
    assert_eq!(changed.clone().under(&weekly, Tz::UTC, monday), Ok(changed.clone()));
    // So does a change of the zone on whose clock it is read.
    assert!(changed.under(&weekly, Tz::Asia__Tokyo, monday).is_err());
}

#[test]
fn pauses_grow_and_end() {
    let mut delivery = Delivery::new("ops", "email");
    let mut now = Time::default();
    assert!(delivery.is_due(now));
    for attempt in 1..=ATTEMPTS_MAX {
        delivery.attempted(Err("refused".to_owned()), now);
        assert!(!delivery.is_due(now), "{attempt}");
        now = delivery.not_before.unwrap();
        assert_eq!(delivery.is_due(now), attempt < ATTEMPTS_MAX, "{attempt}");
    }
    assert_eq!(delivery.state, State::GivenUp);
    let hours = (now - Time::default()).num_hours();
    assert!((20..48).contains(&hours), "{hours}");

    let mut delivery = Delivery::new("ops", "email");
    delivery.attempted(Ok(()), now);
    assert_eq!((delivery.state, delivery.is_due(now)), (State::Delivered, false));
}
