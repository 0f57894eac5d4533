//! `time_intervals`: times of day, weekdays, days of the month, months, years, in a time zone. Read into ranges at once,
//! so that what is wrong is said with its line.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Intervals under a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NamedIntervals {
    pub(crate) name: String,
    /// A time is in it when it is in one of these.
    pub(crate) time_intervals: Vec<TimeInterval>,
}

/// A time is in it when it is in one range of each list that is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TimeInterval {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) times: Vec<TimeRange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) weekdays: Vec<Range<Weekday>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) days_of_month: Vec<Range<Day>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) months: Vec<Range<Month>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) years: Vec<Range<Year>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<Tz>,
}

/// From a time of day, up to but not including another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawTimes", into = "RawTimes")]
pub(crate) struct TimeRange {
    /// Minutes since midnight.
    pub(crate) start: u32,
    /// Minutes since midnight; 1,440 is the end of the day.
    pub(crate) end: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimes {
    start_time: String,
    end_time: String,
}

impl TryFrom<RawTimes> for TimeRange {
    type Error = String;

    fn try_from(raw: RawTimes) -> Result<Self, String> {
        let (start, end) = (minutes(&raw.start_time)?, minutes(&raw.end_time)?);
        if start >= end {
            return Err(format!("{} is not before {}", raw.start_time, raw.end_time));
        }
        Ok(Self { start, end })
    }
}

impl From<TimeRange> for RawTimes {
    fn from(TimeRange { start, end }: TimeRange) -> Self {
        let show = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        Self { start_time: show(start), end_time: show(end) }
    }
}

fn minutes(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a time of day: write it as HH:MM, up to 24:00");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u32>().ok()).flatten().ok_or_else(wrong)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let is_time = (hours < 24 && minutes < 60) || (hours, minutes) == (24, 0);
    is_time.then_some(hours * 60 + minutes).ok_or_else(wrong)
}

/// What has a number in a range.
pub(crate) trait Unit {
    /// In words, for messages.
    const WHAT: &'static str;
    /// Its number.
    fn number(text: &str) -> Option<i32>;
    /// Whether a range may end before it begins when its ends count from different sides.
    fn is_rising(begin: i32, end: i32) -> bool {
        begin <= end
    }
}

/// `5`, `monday:friday`, `-3:-1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range<U> {
    pub(crate) of: RangeInclusive<i32>,
    text: String,
    unit: std::marker::PhantomData<U>,
}

impl<U: Unit> FromStr for Range<U> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let (begin, end) = lower.split_once(':').unwrap_or((&lower, &lower));
        let number = |part: &str| {
            U::number(part.trim()).ok_or_else(|| format!("{part:?} is not {}", U::WHAT))
        };
        let (begin, end) = (number(begin)?, number(end)?);
        if !U::is_rising(begin, end) {
            return Err(format!("{text:?} ends before it begins"));
        }
        Ok(Self { of: begin..=end, text: text.to_owned(), unit: std::marker::PhantomData })
    }
}

impl<U> Serialize for Range<U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, U: Unit> Deserialize<'de> for Range<U> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<U>(std::marker::PhantomData<U>);
        impl<U: Unit> de::Visitor<'_> for Text<U> {
            type Value = Range<U>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or a range of two with a colon between", U::WHAT)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Text(std::marker::PhantomData))
    }
}

const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// 0 is Sunday.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weekday;

impl Unit for Weekday {
    const WHAT: &'static str = "a day of the week, like monday";

    fn number(text: &str) -> Option<i32> {
        WEEKDAYS.iter().position(|day| *day == text).and_then(|at| i32::try_from(at).ok())
    }
}

/// 1 is the first of the month, -1 its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day;

impl Unit for Day {
    const WHAT: &'static str = "a day of the month, 1 to 31 or -31 to -1";

    fn number(text: &str) -> Option<i32> {
        text.parse().ok().filter(|day| (-31..=31).contains(day) && *day != 0)
    }

    fn is_rising(begin: i32, end: i32) -> bool {
        match (begin > 0, end > 0) {
            (true, false) => begin <= end + 31,
            (false, true) => false,
            _ => begin <= end,
        }
    }
}

/// 1 is January.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Month;

impl Unit for Month {
    const WHAT: &'static str = "a month, by its name or 1 to 12";

    fn number(text: &str) -> Option<i32> {
        let named = MONTHS.iter().position(|month| *month == text);
        let named = named.and_then(|at| i32::try_from(at + 1).ok());
        named.or_else(|| text.parse().ok().filter(|month| (1..=12).contains(month)))
    }
}

/// As it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Year;

impl Unit for Year {
    const WHAT: &'static str = "a year";

    fn number(text: &str) -> Option<i32> {
        text.parse().ok().filter(|year| (0..=9999).contains(year))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range<U: Unit>(text: &str) -> Option<(i32, i32)> {
        text.parse::<Range<U>>().ok().map(|range| range.of.into_inner())
    }

    #[test]
    fn ranges() {
        assert_eq!(range::<Weekday>("Monday:friday"), Some((1, 5)));
        assert_eq!(range::<Weekday>("saturday:sunday"), None);
        assert_eq!(range::<Month>("may:august"), Some((5, 8)));
        assert_eq!(range::<Month>("12"), Some((12, 12)));
        assert_eq!(range::<Month>("13"), None);
        assert_eq!(range::<Year>("2020:2022"), Some((2020, 2022)));
        for (text, expected) in [
            ("1:5", Some((1, 5))),
            ("-3:-1", Some((-3, -1))),
            ("20:-1", Some((20, -1))),
            ("31", Some((31, 31))),
            ("0", None),
            ("-1:1", None),
            ("5:1", None),
            ("32", None),
            ("31:-30", None),
        ] {
            assert_eq!(range::<Day>(text), expected, "{text}");
        }
    }

    #[test]
    fn times_of_day() {
        let read = |start: &str, end: &str| {
            TimeRange::try_from(RawTimes { start_time: start.into(), end_time: end.into() })
        };
        assert_eq!(read("09:00", "24:00"), Ok(TimeRange { start: 540, end: 1440 }));
        for (start, end) in [("9:00", "10:00"), ("10:00", "09:00"), ("10:00", "24:01"), ("x", "y")]
        {
            assert!(read(start, end).is_err(), "{start} to {end}");
        }
    }
}
