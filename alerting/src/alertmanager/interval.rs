//! Whether a time lies in a named interval. Pure.

use chrono::{Datelike, NaiveDate, Timelike};
use watchkeep_catalog::Time;

use super::config::{NamedIntervals, TimeInterval};

impl NamedIntervals {
    /// Whether one of its intervals holds this time.
    pub(crate) fn contains(&self, at: Time) -> bool {
        self.time_intervals.iter().any(|interval| interval.contains(at))
    }
}

impl TimeInterval {
    /// Whether the time lies in it, on the wall clock of its time zone.
    pub(crate) fn contains(&self, at: Time) -> bool {
        let at = at.with_timezone(&self.location.unwrap_or(chrono_tz::UTC));
        let minute = at.hour() * 60 + at.minute();
        let (date, day) = (at.date_naive(), signed(at.day()));
        let days = days_in_month(date);
        let in_times = self.times.iter().any(|range| (range.start..range.end).contains(&minute));
        let in_days = self.days_of_month.iter().any(|range| {
            let from_end = |day: i32| if day < 0 { days + day + 1 } else { day };
            let (begin, end) = (from_end(*range.of.start()), from_end(*range.of.end()));
            begin <= days && (begin.max(1)..=end.min(days)).contains(&day)
        });
        let weekday = signed(at.weekday().num_days_from_sunday());
        (self.times.is_empty() || in_times)
            && (self.days_of_month.is_empty() || in_days)
            && (self.weekdays.is_empty() || self.weekdays.iter().any(|r| r.of.contains(&weekday)))
            && (self.months.is_empty()
                || self.months.iter().any(|r| r.of.contains(&signed(at.month()))))
            && (self.years.is_empty() || self.years.iter().any(|r| r.of.contains(&at.year())))
    }
}

/// Numbers of days and months are small.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn days_in_month(date: NaiveDate) -> i32 {
    let next = match date.month() {
        12 => NaiveDate::from_ymd_opt(date.year() + 1, 1, 1),
        month => NaiveDate::from_ymd_opt(date.year(), month + 1, 1),
    };
    next.and_then(|next| next.pred_opt()).map_or(31, |last| signed(last.day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(yaml: &str, at: &str) -> bool {
        let interval: TimeInterval = serde_saphyr::from_str(yaml).expect(yaml);
        interval.contains(at.parse().expect("a time"))
    }

    #[test]
    fn of_days_and_times() {
        let office =
            "{times: [{start_time: '09:00', end_time: '17:00'}], weekdays: ['monday:friday']}";
        for (yaml, at, expected) in [
            ("{}", "2024-02-29T12:00:00Z", true),
            (office, "2024-02-29T09:00:00Z", true),
            (office, "2024-02-29T08:59:59Z", false),
            (office, "2024-02-29T17:00:00Z", false),
            (office, "2024-03-02T12:00:00Z", false),
            ("{days_of_month: ['-1']}", "2024-02-29T12:00:00Z", true),
            ("{days_of_month: ['-1']}", "2024-02-28T12:00:00Z", false),
            ("{days_of_month: ['-1']}", "2023-02-28T12:00:00Z", true),
            ("{days_of_month: ['30:31']}", "2024-02-29T12:00:00Z", false),
            ("{days_of_month: ['25:31']}", "2024-02-29T12:00:00Z", true),
            ("{days_of_month: ['-31:-29']}", "2024-02-01T12:00:00Z", true),
            ("{months: [february], years: ['2020:2024']}", "2024-02-01T12:00:00Z", true),
            ("{months: [march], years: ['2020:2024']}", "2024-02-01T12:00:00Z", false),
            ("{days_of_month: [1]}", "2024-02-01T12:00:00Z", true),
        ] {
            assert_eq!(contains(yaml, at), expected, "{yaml} at {at}");
        }
    }

    #[test]
    fn on_the_wall_clock_of_a_place() {
        let berlin = "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}";
        // In the night of the 31st of March 2024 there is no hour from two to three, in that of the 27th of October there are two.
        for (at, expected) in [
            ("2024-03-30T01:30:00Z", true),
            ("2024-03-31T00:59:59Z", false),
            ("2024-03-31T01:00:00Z", false),
            ("2024-10-27T00:30:00Z", true),
            ("2024-10-27T01:30:00Z", true),
            ("2024-10-27T02:00:00Z", false),
        ] {
            assert_eq!(contains(berlin, at), expected, "{at}");
        }
    }
}
