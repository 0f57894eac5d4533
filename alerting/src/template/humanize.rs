//! Numbers for people, by Prometheus's rules: `humanize`, `humanize1024`, `humanizeDuration`,
//! `humanizePercentage`. Pure.

use super::number::general;

const ABOVE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BELOW: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

fn four(value: f64) -> String {
    general(value, 4)
}

/// 1234567 → 1.235M.
#[must_use]
pub fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four(value);
    }
    let (value, prefix) = match value.abs() >= 1.0 {
        true => divide(value, 1000.0, &ABOVE),
        false => multiply(value),
    };
    four(value) + prefix
}

/// 1048576 → 1Mi.
#[must_use]
pub fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four(value);
    }
    let (value, prefix) = divide(value, 1024.0, &BINARY);
    four(value) + prefix
}

/// Seconds: 3661 → 1h 1m 1s; 0.01 → 10ms.
#[must_use]
pub fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four(seconds);
    }
    if seconds == 0.0 {
        return four(seconds) + "s";
    }
    if seconds.abs() < 1.0 {
        let (value, prefix) = multiply(seconds);
        return four(value) + prefix + "s";
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are what is shown")]
    let whole = seconds.abs() as i64;
    let (s, m, h, d) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    match (d, h, m) {
        (1.., ..) => format!("{sign}{d}d {h}h {m}m {s}s"),
        (_, 1.., _) => format!("{sign}{h}h {m}m {s}s"),
        (_, _, 1..) => format!("{sign}{m}m {s}s"),
        _ => format!("{}s", four(seconds)),
    }
}

/// 0.1234 → 12.34%.
#[must_use]
pub fn humanize_percentage(value: f64) -> String {
    four(value * 100.0) + "%"
}

fn divide(mut value: f64, by: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < by {
            break;
        }
        (value, prefix) = (value / by, next);
    }
    (value, prefix)
}

fn multiply(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in BELOW {
        if value.abs() >= 1.0 {
            break;
        }
        (value, prefix) = (value * 1000.0, next);
    }
    (value, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        for (value, plain, binary, duration) in [
            (0.0, "0", "0", "0s"),
            (1.0, "1", "1", "1s"),
            (-1.0, "-1", "-1", "-1s"),
            (60.0, "60", "60", "1m 0s"),
            (-3661.0, "-3.661k", "-3.575ki", "-1h 1m 1s"),
            (1_234_567.0, "1.235M", "1.177Mi", "14d 6h 56m 7s"),
            (1024.0, "1.024k", "1ki", "17m 4s"),
            (0.1, "100m", "0.1", "100ms"),
            (0.000_012_345, "12.35u", "1.234e-05", "12.35us"),
            (1.25, "1.25", "1.25", "1.25s"),
            (f64::NAN, "NaN", "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
        ] {
            assert_eq!(humanize(value), plain, "{value}");
            assert_eq!(humanize_1024(value), binary, "{value}");
            assert_eq!(humanize_duration(value), duration, "{value}");
        }
        assert_eq!(humanize_percentage(0.12345), "12.35%");
    }
}
