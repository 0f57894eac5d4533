//! When the turn goes to the next: by a cron line, or every so many hours, days or weeks. Pure.
//!
//! Days and weeks are counted on the wall clock, so a hand-off at nine stays at nine when summer time begins; hours are
//! hours that pass, so twelve hours stay twelve.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;
use watchkeep_catalog::Time;

use super::{Handoff, wall};
use crate::config::Every;

/// Longest turn, in days.
const DAYS_MAX: u32 = 3_660;

#[derive(Debug, Clone)]
pub(super) enum Turns {
    Cron(Box<Handoff>),
    Hours { start: Time, every: TimeDelta },
    Days { date: NaiveDate, time: NaiveTime, every: u32, zone: Tz },
}

impl Turns {
    /// Turns of the same length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn every(
        every: &Every,
        date: NaiveDate,
        time: NaiveTime,
        zone: Tz,
    ) -> Result<Self, String> {
        let days = |days: u32| match days {
            1..=DAYS_MAX => Ok(Self::Days { date, time, every: days, zone }),
            _ => Err(format!("{days} days are out of range: give 1 to {DAYS_MAX}")),
        };
        match (every.hours, every.days, every.weeks) {
            (Some(hours), None, None) if (1..=DAYS_MAX * 24).contains(&hours) => {
                let start = wall::first(zone, date.and_time(time));
                Ok(Self::Hours { start, every: TimeDelta::hours(i64::from(hours)) })
            }
            (Some(hours), None, None) => {
                Err(format!("{hours} hours are out of range: give 1 to {}", DAYS_MAX * 24))
            }
            (None, Some(number), None) => days(number),
            (None, None, Some(weeks)) if (1..=DAYS_MAX / 7).contains(&weeks) => days(weeks * 7),
            (None, None, Some(weeks)) => {
                Err(format!("{weeks} weeks are out of range: give 1 to {}", DAYS_MAX / 7))
            }
            _ => Err("give hours, days or weeks, one of them".to_owned()),
        }
    }

    /// How many hand-offs are in (`start`, `at`]; `start` is the rotation's.
    pub(super) fn count(&self, start: Time, at: Time) -> u64 {
        if at <= start {
            return 0;
        }
        match self {
            Self::Cron(handoff) => handoff.count(start, at),
            Self::Hours { start, every } => {
                let passed = (at - *start).num_seconds().div_euclid(every.num_seconds());
                u64::try_from(passed).unwrap_or(0)
            }
            Self::Days { date, every, zone, .. } => {
                let local = at.with_timezone(zone).date_naive();
                let days = u64::try_from((local - *date).num_days()).unwrap_or(0);
                // A skipped midnight may have put the hand-off of a day into the next, or the day away.
                let mut number = days / u64::from(*every) + 1;
                while number > 0 && self.day(number) > at {
                    number -= 1;
                }
                number
            }
        }
    }

    /// Hand-off number `number` of turns that are counted in days.
    fn day(&self, number: u64) -> Time {
        let Self::Days { date, time, every, zone } = self else { return Time::MAX_UTC };
        let day = date.checked_add_days(Days::new(number.saturating_mul(u64::from(*every))));
        day.map_or(DateTime::<chrono::Utc>::MAX_UTC, |day| wall::first(*zone, day.and_time(*time)))
    }

    /// The first hand-off behind `after` and behind `start`.
    pub(super) fn next(&self, start: Time, after: Time) -> Option<Time> {
        let after = after.max(start);
        match self {
            Self::Cron(handoff) => handoff.next(after),
            Self::Hours { start: first, every } => {
                let number = i32::try_from(self.count(start, after) + 1).ok()?;
                first.checked_add_signed(every.checked_mul(number)?)
            }
            Self::Days { .. } => Some(self.day(self.count(start, after) + 1)),
        }
    }

    /// The last hand-off in (`start`, `until`].
    pub(super) fn last(&self, start: Time, until: Time) -> Option<Time> {
        match self {
            Self::Cron(handoff) => handoff.last(start, until),
            Self::Hours { start: first, every } => {
                let number = i32::try_from(self.count(start, until)).ok().filter(|n| *n > 0)?;
                first.checked_add_signed(every.checked_mul(number)?)
            }
            Self::Days { .. } => match self.count(start, until) {
                0 => None,
                number => Some(self.day(number)),
            },
        }
    }
}
