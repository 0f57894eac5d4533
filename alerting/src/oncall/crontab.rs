//! Cron lines in, the `cron` crate's schedules out: lines with seconds as they are, and crontab's five fields.
//!
//! The two count weekdays differently: crontab's 1 is Monday, the crate's (Quartz's) 1 is Sunday. So numbers
//! are translated in a line of five fields and refused in a longer one.

use cron::Schedule;

const EXAMPLE: &str = "such as \"0 0 9 * * Mon\" (second minute hour day month weekday) or the crontab \
                       line \"0 9 * * mon\"";
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Reads a cron line.
///
/// # Errors
/// The reason, and an example of a good line.
pub(super) fn parse(line: &str) -> Result<Schedule, String> {
    let wrong = |reason: String| format!("bad cron line {line:?}: {reason}; write one {EXAMPLE}");
    let fields: Vec<&str> = line.split_whitespace().collect();
    let full = match fields[..] {
        [shorthand] if shorthand.starts_with('@') => shorthand.to_owned(),
        [minute, hour, day, month, weekday] => {
            if !day.starts_with(['*', '?']) && !weekday.starts_with(['*', '?']) {
                return Err(wrong(
                    "it names days of the month and weekdays; crontab takes either of them, \
                     here one of them must be *"
                        .to_owned(),
                ));
            }
            let weekday = weekdays(weekday).map_err(wrong)?;
            format!("0 {minute} {hour} {day} {month} {weekday}")
        }
        [_, _, _, _, _, weekday] | [_, _, _, _, _, weekday, _] => {
            if weekday.split('/').next().is_some_and(|w| w.contains(|c: char| c.is_ascii_digit())) {
                return Err(wrong(format!("weekday {weekday:?} is a number; write Sun to Sat")));
            }
            fields.join(" ")
        }
        _ => return Err(wrong(format!("it has {} fields, not 5, 6 or 7", fields.len()))),
    };
    full.parse().map_err(|e: cron::error::Error| wrong(e.to_string()))
}

/// crontab's weekday field as names: `1-5` becomes `Mon,Tue,Wed,Thu,Fri`.
fn weekdays(field: &str) -> Result<String, String> {
    if field.starts_with(['*', '?']) {
        return Ok(field.to_owned());
    }
    let mut names = Vec::new();
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<usize>().ok().filter(|step| *step > 0);
                (range, step.ok_or_else(|| format!("weekday {item:?} has a bad step"))?)
            }
            None => (item, 1),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, mut last) = (weekday(first)?, weekday(last)?);
        if last < first {
            last += 7;
        }
        names.extend((first..=last).step_by(step).map(|day| DAYS[day % 7]));
    }
    Ok(names.join(","))
}

/// Days since Sunday; 7 is Sunday too.
fn weekday(text: &str) -> Result<usize, String> {
    let name = |day: &&str| text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(day));
    match text.parse::<usize>() {
        Ok(number) if number <= 7 => Ok(number),
        Ok(number) => Err(format!("weekday {number} is out of range: give 0 to 7, or Sun to Sat")),
        Err(_) => DAYS
            .iter()
            .position(name)
            .ok_or_else(|| format!("weekday {text:?} is not known: give 0 to 7, or Sun to Sat")),
    }
}

#[cfg(test)]
mod tests {
    use cron::TimeUnitSpec;

    use super::*;

    #[test]
    fn weekdays_of_both_kinds() {
        // The crate's ordinals: 1 is Sunday.
        for (line, days) in [
            ("0 9 * * 1", vec![2]),
            ("0 9 * * 0", vec![1]),
            ("0 9 * * 7", vec![1]),
            ("0 9 * * 1-5", vec![2, 3, 4, 5, 6]),
            ("0 9 * * 5-7", vec![1, 6, 7]),
            ("0 9 * * fri-mon", vec![1, 2, 6, 7]),
            ("0 9 * * 1-5/2,sat", vec![2, 4, 6, 7]),
            ("0 9 1 * *", vec![1, 2, 3, 4, 5, 6, 7]),
            ("0 0 9 * * Mon *", vec![2]),
            ("0 0 9 * * Mon-Fri", vec![2, 3, 4, 5, 6]),
            ("@daily", vec![1, 2, 3, 4, 5, 6, 7]),
        ] {
            let schedule = parse(line).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(schedule.days_of_week().iter().collect::<Vec<_>>(), days, "{line}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, part) in [
            ("", "0 fields"),
            ("0 9 * *", "4 fields"),
            ("0 25 * * *", "25"),
            ("0 9 * * 8", "out of range"),
            ("0 9 * * funday", "not known"),
            ("0 9 1 * 1", "days of the month and weekdays"),
            ("0 0 9 * * 1", "write Sun to Sat"),
            ("0 9 * * 1/0", "bad step"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(part) && message.contains("such as"), "{message}");
        }
    }
}
