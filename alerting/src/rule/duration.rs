//! Prometheus's durations: `1h30m`, `5m`, `250ms`, `0`. Units from large to small, each once. Pure.

use std::time::Duration;

/// Units and their milliseconds, from large to small.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Longest duration: 292 years, what 64 bits of nanoseconds hold.
const MILLIS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// Reads a duration.
///
/// # Errors
/// In words with the remedy, when it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("{text:?} is not a duration; write it as 1h30m, 5m, 15s or 250ms");
    let mut total: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0);
        let (number, behind) = rest.split_at(digits.ok_or_else(wrong)?);
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (name, behind) = behind.split_at(end);
        let (_, millis) = units.find(|(unit, _)| *unit == name).ok_or_else(wrong)?;
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*millis));
        let sum = part.and_then(|part| part.checked_add(total)).filter(|sum| *sum <= MILLIS_MAX);
        total = sum.ok_or_else(|| format!("{text:?} is longer than 292 years; write less"))?;
        rest = behind;
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Ok(Duration::from_millis(total)),
    }
}

/// Writes a duration as Prometheus does: weeks and years only where nothing is left over.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, millis) in UNITS {
        let whole = matches!(unit, "y" | "w");
        if rest >= millis && (!whole || rest.is_multiple_of(millis)) {
            out.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, millis, written) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("250ms", 250, "250ms"),
            ("1d1h", 90_000_000, "1d1h"),
            ("2w", 1_209_600_000, "2w"),
            ("15d", 1_296_000_000, "15d"),
            ("1y", 31_536_000_000, "1y"),
        ] {
            let read = parse_duration(text).unwrap();
            assert_eq!(read, Duration::from_millis(millis), "{text}");
            assert_eq!(format_duration(read), written, "{text}");
        }
        for wrong in
            ["", "5", "m", "1m1h", "1m1m", "-1m", "1.5h", "1 m", "1h ", "9999999999y", "1µs"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
