//! Between a time zone's wall clock and instants: what it never shows, and what it shows twice. Pure.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{GapInfo, Tz};
use watchkeep_catalog::Time;

/// The instant at which the wall clock shows `local`, for the first time; when it never does, the instant
/// at which it goes past it.
pub(super) fn first(zone: Tz, local: NaiveDateTime) -> Time {
    let shown = zone.from_local_datetime(&local).earliest();
    shown.or_else(|| gap_end(zone, local)).map_or_else(|| local.and_utc(), |t| t.to_utc())
}

/// Every instant at which the wall clock shows `local`, or goes past it.
pub(super) fn all(zone: Tz, local: NaiveDateTime) -> Vec<Time> {
    match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(one) => vec![one.to_utc()],
        MappedLocalTime::Ambiguous(one, two) => vec![one.to_utc(), two.to_utc()],
        MappedLocalTime::None => gap_end(zone, local).into_iter().map(|end| end.to_utc()).collect(),
    }
}

fn gap_end(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Tz>> {
    GapInfo::new(&local, &zone).and_then(|gap| gap.end)
}

/// What the wall clock of a time zone shows at an instant: `2026-01-05 10:00 CET`; none where there is no such zone.
#[must_use]
pub fn wall_clock(zone: &str, at: Time) -> Option<String> {
    let zone: Tz = zone.parse().ok()?;
    Some(at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string())
}

/// The instant at which the wall clock of a time zone shows `local`, such as `2026-01-05T10:00`, for the first time; none where
/// that is no time, or there is no such zone.
#[must_use]
pub fn wall_instant(zone: &str, local: &str) -> Option<Time> {
    let zone: Tz = zone.parse().ok()?;
    let local = NaiveDateTime::parse_from_str(local, "%Y-%m-%dT%H:%M")
        .or_else(|_| NaiveDateTime::parse_from_str(local, "%Y-%m-%dT%H:%M:%S"));
    Some(first(zone, local.ok()?))
}

/// The instants in (`from`, `to`] at which the clock is changed. No zone changes it twice within twelve hours.
pub(super) fn changes(zone: Tz, from: Time, to: Time) -> Vec<Time> {
    let offset = |at: Time| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
    let mut found = Vec::new();
    let mut at = from;
    while at < to {
        let next = (at + TimeDelta::hours(12)).min(to);
        if offset(at) != offset(next) {
            let (mut low, mut high) = (at, next);
            while high - low > TimeDelta::seconds(1) {
                // Whole seconds from `at`: no zone changes its clock within one.
                let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
                if offset(middle) == offset(at) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            found.push(exact(high));
        }
        at = next;
    }
    found
}

/// Clocks change at whole seconds.
fn exact(at: Time) -> Time {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
}
