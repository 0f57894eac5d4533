//! The instants at which a shift ends: a cron line read on a time zone's wall clock.
//!
//! What a change of the clocks does to a tick, as crontab has it: one that the clock skips comes when the
//! clock goes on (02:30 becomes 03:00), one that it shows twice comes the first time. No hand-off is lost.
//! So days are counted, not ticks followed one by one: a hand-off in 2099 is found within milliseconds.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use chrono_tz::Tz;
use cron::{Schedule, TimeUnitSpec};
use watchkeep_catalog::Time;

/// More hand-offs a day are surely a mistake: one a minute.
const HANDOFFS_PER_DAY_MAX: usize = 1_440;
/// The `cron` crate knows no later year.
pub(crate) const YEAR_MAX: i32 = 2099;

#[derive(Debug, Clone)]
pub(crate) struct Handoff {
    schedule: Schedule,
    /// Of a day that matches, in order.
    times: Vec<TimeDelta>,
    zone: Tz,
}

/// One day's ticks, in order.
enum Ticks<'a> {
    /// The clock runs straight: offsets from this instant.
    Straight(Time, &'a [TimeDelta]),
    /// The clocks change on this day.
    Bent(Vec<Time>),
}

impl Ticks<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Straight(_, times) => times.len(),
            Self::Bent(ticks) => ticks.len(),
        }
    }

    fn get(&self, at: usize) -> Time {
        match self {
            Self::Straight(start, times) => *start + times[at],
            Self::Bent(ticks) => ticks[at],
        }
    }

    /// How many are at or before `instant`.
    fn until(&self, instant: Time) -> usize {
        match self {
            Self::Straight(start, times) => times.partition_point(|t| *start + *t <= instant),
            Self::Bent(ticks) => ticks.partition_point(|t| *t <= instant),
        }
    }
}

impl Handoff {
    /// Reads a cron line on `zone`'s wall clock.
    ///
    /// # Errors
    /// When it is none, or has too many ticks a day.
    pub(crate) fn new(line: &str, zone: Tz) -> Result<Self, String> {
        let schedule = super::crontab::parse(line)?;
        let (hours, minutes, seconds) = (schedule.hours(), schedule.minutes(), schedule.seconds());
        let count = [hours.count(), minutes.count(), seconds.count()];
        let count: u64 = count.map(u64::from).iter().product();
        if count > HANDOFFS_PER_DAY_MAX as u64 {
            return Err(format!(
                "cron line {line:?} ticks {count} times a day: at most {HANDOFFS_PER_DAY_MAX} \
                 are allowed; is the field for seconds 0?"
            ));
        }
        let of_day = |h: u32, m: u32, s: u32| TimeDelta::seconds(i64::from(h * 3600 + m * 60 + s));
        let times = hours
            .iter()
            .flat_map(|h| minutes.iter().map(move |m| (h, m)))
            .flat_map(|(h, m)| seconds.iter().map(move |s| of_day(h, m, s)))
            .collect();
        Ok(Self { schedule, times, zone })
    }

    /// The first instant of a day on the wall clock.
    fn midnight(&self, day: NaiveDate) -> Time {
        self.resolve(day.and_time(NaiveTime::MIN))
    }

    /// How many ticks are in (`after`, `until`].
    pub(super) fn count(&self, after: Time, until: Time) -> u64 {
        let (mut last, mut count) = (after, 0);
        let mut day = self.day_before(after);
        let end = self.day_after(until);
        while day <= end && last < until {
            if self.matches(day) {
                let ticks = self.ticks(day);
                let (from, to) = (ticks.until(last), ticks.until(until));
                if to > from {
                    count += (to - from) as u64;
                    last = ticks.get(to - 1);
                }
            }
            day = day + Days::new(1);
        }
        count
    }

    /// The last tick in (`after`, `until`].
    pub(crate) fn last(&self, after: Time, until: Time) -> Option<Time> {
        let begin = self.day_before(after);
        let mut day = self.day_after(until);
        while day >= begin {
            if self.matches(day) {
                let ticks = self.ticks(day);
                if let Some(at) = ticks.until(until).checked_sub(1) {
                    return Some(ticks.get(at)).filter(|tick| *tick > after);
                }
            }
            day = day - Days::new(1);
        }
        None
    }

    /// The first tick behind `after`; none when there is none before the year 2100.
    pub(crate) fn next(&self, after: Time) -> Option<Time> {
        let mut day = self.day_before(after);
        while day.year() <= YEAR_MAX {
            if self.matches(day) {
                let ticks = self.ticks(day);
                let at = ticks.until(after);
                if at < ticks.len() {
                    return Some(ticks.get(at));
                }
            }
            day = day + Days::new(1);
        }
        None
    }

    fn local(&self, at: Time) -> NaiveDate {
        at.with_timezone(&self.zone).date_naive()
    }

    /// A day of margin on both sides: clocks also change at midnight, and once skipped a whole day.
    fn day_before(&self, at: Time) -> NaiveDate {
        self.local(at) - Days::new(2)
    }

    fn day_after(&self, at: Time) -> NaiveDate {
        self.local(at) + Days::new(1)
    }

    fn matches(&self, day: NaiveDate) -> bool {
        let year = u32::try_from(day.year()).unwrap_or(0);
        self.schedule.days_of_week().includes(day.weekday().number_from_sunday())
            && self.schedule.days_of_month().includes(day.day())
            && self.schedule.months().includes(day.month())
            && self.schedule.years().includes(year)
    }

    fn ticks(&self, day: NaiveDate) -> Ticks<'_> {
        let (start, end) = (self.midnight(day), self.midnight(day + Days::new(1)));
        if end - start == TimeDelta::days(1) {
            return Ticks::Straight(start, &self.times);
        }
        let midnight = day.and_time(NaiveTime::MIN);
        let mut ticks: Vec<_> = self.times.iter().map(|t| self.resolve(midnight + *t)).collect();
        ticks.dedup();
        Ticks::Bent(ticks)
    }

    fn resolve(&self, local: NaiveDateTime) -> Time {
        super::wall::first(self.zone, local)
    }
}
