//! When a layer counts: hours of the wall clock on some weekdays. Pure.
//!
//! A restriction holds at an instant when the wall clock shows, at that instant, a time within it. So an hour that
//! the clock shows twice counts twice, and one that it skips never comes.

use std::collections::BTreeSet;

use chrono::{Datelike, Days, NaiveTime, Weekday};
use chrono_tz::Tz;
use watchkeep_catalog::Time;

use super::wall;
use crate::config::Restriction as Config;

#[derive(Debug, Clone)]
struct Hours {
    days: Vec<Weekday>,
    /// Of the day, with it.
    from: NaiveTime,
    /// Of the day, or of the next one when it is not later than `from`; without it.
    to: NaiveTime,
}

/// None: always.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restrictions(Vec<Hours>);

/// `09:30`, as a time of the day.
pub(super) fn time_of_day(text: &str) -> Result<NaiveTime, String> {
    let read = NaiveTime::parse_from_str(text, "%H:%M");
    read.map_err(|_| {
        format!("{text:?} is not a time of the day: write it as 09:30, 00:00 to 23:59")
    })
}

impl Restrictions {
    /// Reads days and times.
    ///
    /// # Errors
    /// The restriction's number and what is wrong with it.
    pub(crate) fn new(configs: &[Config]) -> Result<Self, (usize, String)> {
        let read = |config: &Config| {
            let (from, to) = (time_of_day(&config.from)?, time_of_day(&config.to)?);
            let mut days = Vec::new();
            for day in &config.days {
                let known: Weekday = day.parse().map_err(|_| {
                    format!("day {day:?} is not known: give mon, tue, wed, thu, fri, sat or sun")
                })?;
                days.push(known);
            }
            if days.is_empty() {
                days = (0..7).filter_map(|day| Weekday::try_from(day).ok()).collect();
            }
            Ok(Hours { days, from, to })
        };
        let hours = configs.iter().enumerate().map(|(at, c)| read(c).map_err(|e: String| (at, e)));
        Ok(Self(hours.collect::<Result<_, _>>()?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the layer counts at `at`.
    pub(crate) fn hold(&self, zone: Tz, at: Time) -> bool {
        let local = at.with_timezone(&zone).naive_local();
        let (day, time) = (local.weekday(), local.time());
        let holds = |hours: &Hours| {
            let Hours { days, from, to } = hours;
            if from < to {
                return days.contains(&day) && *from <= time && time < *to;
            }
            (days.contains(&day) && *from <= time) || (days.contains(&day.pred()) && time < *to)
        };
        self.0.is_empty() || self.0.iter().any(holds)
    }

    /// All instants in [`from`, `to`) at which the answer of [`Self::hold`] may change; more do no harm.
    pub(super) fn edges(&self, zone: Tz, from: Time, to: Time, edges: &mut BTreeSet<Time>) {
        if self.0.is_empty() {
            return;
        }
        let local = |at: Time| at.with_timezone(&zone).date_naive();
        let times: BTreeSet<NaiveTime> = self.0.iter().flat_map(|h| [h.from, h.to]).collect();
        let (mut day, last) = (local(from) - Days::new(1), local(to) + Days::new(1));
        while day <= last {
            for time in times.iter().chain([&NaiveTime::MIN]) {
                edges.extend(wall::all(zone, day.and_time(*time)));
            }
            day = day + Days::new(1);
        }
        edges.extend(wall::changes(zone, from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong() {
        let config = |days: &[&str], from: &str, to: &str| Config {
            days: days.iter().map(|d| (*d).to_owned()).collect(),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        for (wrong, part) in [
            (config(&["mon", "foo"], "09:00", "17:00"), "day \"foo\""),
            (config(&[], "9", "17:00"), "time of the day"),
            (config(&[], "09:00", "24:00"), "time of the day"),
        ] {
            let good = config(&["Mon"], "22:00", "06:00");
            let (at, message) = Restrictions::new(&[good, wrong]).unwrap_err();
            assert!(at == 1 && message.contains(part), "{message}");
        }
        assert_eq!(time_of_day("09:30").unwrap(), NaiveTime::from_hms_opt(9, 30, 0).unwrap());
    }
}
