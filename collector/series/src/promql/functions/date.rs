//! Parts of a date in UTC. The calendar is computed here (days to civil, H. Hinnant's algorithm): chrono's clock has
//! no place in a pure crate, and its range is smaller than a float's.

/// A part of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatePart {
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
}

impl DatePart {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "day_of_month" => Self::DayOfMonth,
            "day_of_week" => Self::DayOfWeek,
            "day_of_year" => Self::DayOfYear,
            "days_in_month" => Self::DaysInMonth,
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// The part of the date that is so many seconds after 1970.
    pub(crate) fn of(self, seconds: f64) -> f64 {
        // Truncates, saturates, and takes NaN for 0, which is as good as any.
        let seconds = seconds as i64;
        let days = seconds.div_euclid(86_400);
        let second = seconds.rem_euclid(86_400);
        let (year, month, day) = civil(days);
        let part = match self {
            Self::DayOfMonth => day,
            Self::DayOfWeek => (days + 4).rem_euclid(7),
            Self::DayOfYear => days - days_from_civil(year, 1, 1) + 1,
            Self::DaysInMonth => days_in_month(year, month),
            Self::Hour => second / 3600,
            Self::Minute => second / 60 % 60,
            Self::Month => month,
            Self::Year => year,
        };
        part as f64
    }
}

/// Year, month and day of a day since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_from_civil(next_year, next, 1) - days_from_civil(year, month, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use DatePart as D;
        for (seconds, part, expected) in [
            (0.0, D::Year, 1970.0),
            (0.0, D::DayOfWeek, 4.0),
            (0.0, D::DayOfYear, 1.0),
            (951_782_400.0, D::DaysInMonth, 29.0), // 2000-02-29
            (951_782_400.0, D::DayOfMonth, 29.0),
            (951_782_400.0, D::DayOfYear, 60.0),
            (1_136_239_445.0, D::Hour, 22.0), // 2006-01-02 22:04:05
            (1_136_239_445.0, D::Minute, 4.0),
            (1_136_239_445.0, D::DayOfWeek, 1.0),
            (-1.0, D::Year, 1969.0),
            (-1.0, D::Month, 12.0),
            (1_703_980_800.0, D::DayOfYear, 365.0), // 2023-12-31
        ] {
            assert_eq!(part.of(seconds), expected, "{part:?} of {seconds}");
        }
        for extreme in [f64::MAX, f64::MIN, f64::INFINITY, f64::NAN] {
            assert!(D::Year.of(extreme).is_finite());
        }
    }
}
