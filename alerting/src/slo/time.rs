//! Minutes, hours and days as numbers, so that nothing pure needs a clock.

use chrono::{DateTime, NaiveDate, SecondsFormat};
use watchkeep_catalog::Time;

/// A minute in milliseconds.
pub(super) const MINUTE_MS: i64 = 60_000;
/// An hour in milliseconds.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// A day in milliseconds.
pub(super) const DAY_MS: i64 = 86_400_000;

/// The last multiple of `unit` that is not after `ms`.
pub(super) fn floor(ms: i64, unit: i64) -> i64 {
    ms.div_euclid(unit) * unit
}

/// Milliseconds since 1970 as an instant (clamped to what chrono can say).
pub(super) fn instant(ms: i64) -> Time {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn rfc3339(ms: i64) -> String {
    instant(ms).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The UTC day that `ms` lies in.
pub(super) fn day_of(ms: i64) -> NaiveDate {
    instant(ms).date_naive()
}

/// The first millisecond of a UTC day.
pub(super) fn day_start(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
}
