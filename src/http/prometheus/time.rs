//! Times and durations in requests: seconds as a number, RFC 3339, or PromQL's `1h30m`. Pure.

use chrono::DateTime;

/// Seconds on which a whole range of milliseconds lies.
const SECONDS_MAX: f64 = 9_223_372_036_854_775.0;
/// How Prometheus's clients say "from the beginning" and "without end" (`model.Earliest`, `v1.MinTime`, …).
const BEGINNING: &str = "-292273086-05-16T16:47:06Z";
const END: &str = "292277025-08-18T07:12:54.999999999Z";
/// Units, from the largest: in this order they follow one another.
const UNITS: [(&str, i64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Milliseconds since 1970; none when it is no time.
pub(super) fn time(text: &str) -> Option<i64> {
    if let Some(ms) = number(text) {
        return Some(ms);
    }
    match text {
        BEGINNING => Some(i64::MIN),
        END => Some(i64::MAX),
        _ => DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis()),
    }
}

/// Milliseconds; none when it is no duration.
pub(super) fn duration(text: &str) -> Option<i64> {
    if let Some(ms) = number(text) {
        return Some(ms);
    }
    let (mut rest, mut total, mut next) = (text, 0_i64, 0);
    if rest.is_empty() {
        return None;
    }
    if rest == "0" {
        return Some(0);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = rest.split_at(digits);
        let end = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let at = UNITS[next..].iter().position(|(name, _)| *name == &unit[..end])? + next;
        total = total.checked_add(count.parse::<i64>().ok()?.checked_mul(UNITS[at].1)?)?;
        (rest, next) = (&unit[end..], at + 1);
    }
    Some(total)
}

/// Seconds as a decimal number.
#[expect(clippy::cast_possible_truncation, reason = "the range is judged before")]
fn number(text: &str) -> Option<i64> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let seconds: f64 = text.parse().ok()?;
    (seconds.abs() < SECONDS_MAX).then(|| (seconds * 1_000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, ms) in [
            ("0", Some(0)),
            ("1.5", Some(1_500)),
            ("-1", Some(-1_000)),
            ("1767603600.123", Some(1_767_603_600_123)),
            ("1.7676036e+09", Some(1_767_603_600_000)),
            ("2026-01-05T09:00:00.5Z", Some(1_767_603_600_500)),
            ("2026-01-05T10:00:00+01:00", Some(1_767_603_600_000)),
            (BEGINNING, Some(i64::MIN)),
            (END, Some(i64::MAX)),
            ("", None),
            ("now", None),
            ("inf", None),
            ("+Inf", None),
            ("1e300", None),
        ] {
            assert_eq!(time(text), ms, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("15", Some(15_000)),
            ("0.25", Some(250)),
            ("15s", Some(15_000)),
            ("1h30m", Some(5_400_000)),
            ("1y2w3d4h5m6s7ms", Some(33_019_506_007)),
            ("500ms", Some(500)),
            ("0", Some(0)),
            ("1m1h", None),
            ("1m1m", None),
            ("m", None),
            ("5 m", None),
            ("", None),
            ("99999999999999y", None),
        ] {
            assert_eq!(duration(text), ms, "{text}");
        }
    }
}
