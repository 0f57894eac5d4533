//! From when to when a report is: `window=30d`, `window=last_month`, `from=…&to=…`. Pure.
//!
//! Probes are counted by the hour, so a range begins on a whole hour, and ends on one unless it ends now.

use std::time::Duration;

use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use watchkeep_catalog::Time;

use super::time::{DAY_MS, HOUR_MS, floor, instant};
use crate::rule::parse_duration;

/// Years that are meant; calendars can be reckoned with around them.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9999;

/// A span of time that is reported on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    /// As it was asked for.
    pub(super) name: String,
    /// Milliseconds since 1970.
    pub(super) from: i64,
    /// Exclusive.
    pub(super) to: i64,
    /// What becomes of it.
    pub(super) course: Course,
}

/// What becomes of a range that ends now, as time goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Its begin follows: the last 30 days.
    Rolls,
    /// Its begin stays, and it grows up to this moment: this month.
    Grows(i64),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    pub(super) window: Option<&'a str>,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
}

impl Range {
    /// The range that is meant at `now`, read on `zone`'s calendar; nothing is known from before `retention_days` ago.
    ///
    /// # Errors
    /// What is wrong with it, and what can be asked for.
    pub(super) fn of(
        wish: Wish<'_>,
        zone: Tz,
        now: i64,
        retention_days: u16,
    ) -> Result<Self, String> {
        let to = wish.to.map(|to| moment("to", to, zone)).transpose()?.unwrap_or(now).min(now);
        let (name, from, to, course) = match wish.from {
            Some(_) if wish.window.is_some() => {
                return Err("window and from exclude each other: give one of them".to_owned());
            }
            Some(from) => {
                let name = format!("{from}/{}", wish.to.unwrap_or("now"));
                (name, moment("from", from, zone)?, to, Course::Grows(i64::MAX))
            }
            None => {
                let name = wish.window.unwrap_or("30d");
                let (from, to, course) = window(name, zone, to)?;
                (name.to_owned(), from, to, course)
            }
        };
        let from = floor(from, HOUR_MS);
        let to = if to >= now { now } else { floor(to, HOUR_MS) };
        if from >= to {
            let (from, to) = (instant(from), instant(to));
            return Err(format!("from ({from}) is not before to ({to}): give an earlier from"));
        }
        if from < now - i64::from(retention_days) * DAY_MS - DAY_MS {
            return Err(format!(
                "{name:?} begins at {}, and counts are kept for {retention_days} days: ask for less, or raise \
                 slo.retention_days",
                instant(from)
            ));
        }
        Ok(Self { name, from, to, course })
    }
}

/// A moment, or the first moment of a day.
fn moment(field: &str, text: &str, zone: Tz) -> Result<i64, String> {
    if let Some(day) = text.parse::<NaiveDate>().ok().filter(|day| YEARS.contains(&day.year())) {
        return Ok(midnight(zone, day));
    }
    // In a query, a plus sign that is not escaped is a space.
    let time = text.replace(' ', "+").parse::<Time>().ok();
    time.filter(|time| YEARS.contains(&time.year())).map(|time| time.timestamp_millis()).ok_or_else(
        || {
            format!(
                "{field} {text:?} is neither a moment nor a day: write it as 2026-06-01T00:00:00Z or 2026-06-01"
            )
        },
    )
}

/// The window of that name that ends at `to`, or before.
fn window(name: &str, zone: Tz, to: i64) -> Result<(i64, i64, Course), String> {
    let today = instant(to).with_timezone(&zone).date_naive();
    let week = today - Days::new(u64::from(today.weekday().num_days_from_monday()));
    let month = today.with_day(1).unwrap_or(today);
    let quarter = month.with_month((month.month() - 1) / 3 * 3 + 1).unwrap_or(month);
    let start = |day| midnight(zone, day);
    // One that is under way grows to its end; one that is over has come to it.
    let current = |from, end| (start(from), to, Course::Grows(start(end)));
    let last = |from, end| (start(from), start(end), Course::Grows(start(end)));
    Ok(match name {
        "day" => current(today, today + Days::new(1)),
        "week" => current(week, week + Days::new(7)),
        "month" => current(month, month + Months::new(1)),
        "quarter" => current(quarter, quarter + Months::new(3)),
        "last_day" => last(today - Days::new(1), today),
        "last_week" => last(week - Days::new(7), week),
        "last_month" => last(month - Months::new(1), month),
        "last_quarter" => last(quarter - Months::new(3), quarter),
        _ => {
            let length = parse_duration(name).ok().filter(|d| *d >= Duration::from_hours(1));
            let length = length.and_then(|d| i64::try_from(d.as_millis()).ok()).ok_or_else(|| {
                format!(
                    "window {name:?} is not known: give a duration of an hour or more such as 24h or 30d, or day, week, \
                     month, quarter, each also as last_month"
                )
            })?;
            (to.saturating_sub(length), to, Course::Rolls)
        }
    })
}

/// The first moment of a day on the wall clock.
pub(super) fn midnight(zone: Tz, day: NaiveDate) -> i64 {
    let mut local = day.and_time(NaiveTime::MIN);
    // Where the clock skips midnight, the day begins when it goes on. Zones change by multiples of a quarter of an hour.
    for _ in 0..=4 * 24 {
        if let Some(found) = zone.from_local_datetime(&local).earliest() {
            return found.timestamp_millis();
        }
        local += TimeDelta::minutes(15);
    }
    day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()
}

/// The first day of each month that reaches into `[from, to)` on the wall clock, and of the one behind them.
pub(super) fn months(zone: Tz, from: i64, to: i64) -> Vec<NaiveDate> {
    let local = |ms| instant(ms).with_timezone(&zone).date_naive();
    let first = local(from);
    let first = first.with_day(1).unwrap_or(first);
    let mut months = vec![first];
    while let Some(last) = months.last().filter(|last| midnight(zone, **last) < to) {
        months.push(*last + Months::new(1));
    }
    months
}

/// Each day that reaches into `[from, to)` on the wall clock, and the one behind them.
pub(super) fn days(zone: Tz, from: i64, to: i64) -> Vec<NaiveDate> {
    let mut days = vec![instant(from).with_timezone(&zone).date_naive()];
    while let Some(last) = days.last().filter(|last| midnight(zone, **last) < to) {
        days.push(*last + Days::new(1));
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Time>().unwrap().timestamp_millis()
    }

    #[test]
    fn ranges_on_a_calendar() {
        // A Thursday; Berlin's clocks went back on 25 October.
        let now = at("2026-10-29T12:34:56Z");
        for (window, from, to, zone, begin, end) in [
            (None, None, None, Tz::UTC, "2026-09-29T12:00:00Z", "2026-10-29T12:34:56Z"),
            (Some("90m"), None, None, Tz::UTC, "2026-10-29T11:00:00Z", "2026-10-29T12:34:56Z"),
            (
                Some("week"),
                None,
                None,
                Tz::Europe__Berlin,
                "2026-10-25T23:00:00Z",
                "2026-10-29T12:34:56Z",
            ),
            (
                Some("last_week"),
                None,
                None,
                Tz::Europe__Berlin,
                "2026-10-18T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            (
                Some("month"),
                None,
                None,
                Tz::Europe__Berlin,
                "2026-09-30T22:00:00Z",
                "2026-10-29T12:34:56Z",
            ),
            (
                Some("last_month"),
                None,
                None,
                Tz::Europe__Berlin,
                "2026-08-31T22:00:00Z",
                "2026-09-30T22:00:00Z",
            ),
            (
                Some("last_quarter"),
                None,
                None,
                Tz::UTC,
                "2026-07-01T00:00:00Z",
                "2026-10-01T00:00:00Z",
            ),
            (
                Some("24h"),
                None,
                Some("2026-10-26"),
                Tz::Europe__Berlin,
                "2026-10-24T23:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            (
                None,
                Some("2026-10-20T08:30:00+02:00"),
                Some("2026-10-21"),
                Tz::UTC,
                "2026-10-20T06:00:00Z",
                "2026-10-21T00:00:00Z",
            ),
            (
                None,
                Some("2026-10-20"),
                Some("2030-01-01"),
                Tz::UTC,
                "2026-10-20T00:00:00Z",
                "2026-10-29T12:34:56Z",
            ),
        ] {
            let range = Range::of(Wish { window, from, to }, zone, now, 150).unwrap();
            let shown = (instant(range.from), instant(range.to));
            assert_eq!(shown, (instant(at(begin)), instant(at(end))), "{window:?} {from:?} {to:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let now = at("2026-10-29T12:34:56Z");
        for (window, from, to, part) in [
            (Some("1y"), None, None, "counts are kept for 100 days"),
            (Some("fortnight"), None, None, "window \"fortnight\" is not known"),
            (Some("5m"), None, None, "an hour or more"),
            (Some("1h"), Some("2026-10-20"), None, "exclude each other"),
            (None, Some("yesterday"), None, "from \"yesterday\" is neither"),
            // What calendars cannot be reckoned with.
            (None, None, Some("-262143-01-02"), "to \"-262143-01-02\" is neither"),
            (Some("last_day"), None, Some("-262143-01-01T00:00:00Z"), "is neither"),
            (None, Some("+262142-12-31"), None, "is neither"),
            (Some("last_quarter"), None, Some("1970-01-01"), "counts are kept for 100 days"),
            (None, Some("2026-10-20"), Some("2026-10-19"), "is not before to"),
        ] {
            let error = Range::of(Wish { window, from, to }, Tz::UTC, now, 100).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn months_and_days_of_a_zone_that_skips_midnight() {
        let zone = Tz::Europe__Berlin;
        let found = months(zone, at("2026-09-30T21:59:00Z"), at("2026-10-31T23:00:00Z"));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["2026-09-01", "2026-10-01", "2026-11-01"]);
        assert_eq!(days(zone, at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z")).len(), 2);
        // Santiago: on 6 September 2026 00:00 becomes 01:00.
        let day = NaiveDate::from_ymd_opt(2026, 9, 6).unwrap();
        assert_eq!(midnight(Tz::America__Santiago, day), at("2026-09-06T04:00:00Z"));
    }
}
