//! Numbers as Go's `fmt` writes them (`%v`, `%.4g`), and values as numbers. Pure.

use gotmpl::Value;

use super::time;

/// A value as a number, as Prometheus's functions take it: numbers, strings with one in them, durations.
///
/// # Errors
/// In words, when it is none.
pub fn float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(float) => Ok(*float),
        #[expect(clippy::cast_precision_loss, reason = "as Go converts an int to a float64")]
        Value::Int(int) => Ok(*int as f64),
        #[expect(clippy::cast_precision_loss, reason = "as Go converts a uint to a float64")]
        Value::Uint(uint) => Ok(*uint as f64),
        Value::String(text) => parse(text).ok_or_else(|| format!("{text:?} is not a number")),
        other => time::duration_seconds(other)
            .ok_or_else(|| format!("a number is expected, not {}", other.type_name())),
    }
}

/// As Go's `ParseFloat` reads it, without hexadecimal.
fn parse(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    match digits.to_ascii_lowercase().as_str() {
        "nan" if digits.len() == text.len() => Some(f64::NAN),
        "inf" | "infinity" => Some(match text.starts_with('-') {
            true => f64::NEG_INFINITY,
            false => f64::INFINITY,
        }),
        _ => text.parse().ok(),
    }
}

/// `%v`: the shortest that reads back the same, with an exponent from 1e+06 up and below 1e-04.
#[must_use]
pub fn shortest(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match (-4..6).contains(&exponent) {
        true => value.to_string(),
        false => with_exponent(mantissa, exponent),
    }
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `%.{precision}g`: so many digits that count, without zeros at the end.
pub(super) fn general(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let digits_behind = precision.max(1) - 1;
    let text = format!("{value:.digits_behind$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let precision = i32::try_from(precision.max(1)).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= precision {
        return with_exponent(trim(mantissa), exponent);
    }
    let behind = usize::try_from(precision - 1 - exponent).unwrap_or(0);
    trim(&format!("{value:.behind$}")).to_owned()
}

fn not_finite(value: f64) -> &'static str {
    match value {
        v if v.is_nan() => "NaN",
        v if v > 0.0 => "+Inf",
        _ => "-Inf",
    }
}

fn trim(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_that_count() {
        for (value, expected) in [
            (0.0, "0"),
            (5.0, "5"),
            (1.0 / 3.0, "0.3333"),
            (1234.5, "1234"),
            (12345.0, "1.234e+04"),
            (10000.0, "1e+04"),
            (999.96, "1000"),
            (9999.6, "1e+04"),
            (0.00001234, "1.234e-05"),
            (0.0001, "0.0001"),
            (-2.5, "-2.5"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(general(value, 4), expected, "{value}");
        }
    }

    /// As `promtool` renders them.
    #[test]
    fn shortest_forms() {
        for (value, expected) in [
            (1e21, "1e+21"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (123_456_789.5, "1.234567895e+08"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5, "-2.5"),
            (0.0, "0"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(shortest(value), expected, "{value}");
        }
    }

    #[test]
    fn strings_are_numbers_too() {
        for (text, expected) in
            [("1.5", Some(1.5)), ("+Inf", Some(f64::INFINITY)), ("1e3", Some(1000.0)), ("x", None)]
        {
            assert_eq!(float(&Value::String(text.into())).ok(), expected, "{text}");
        }
        assert!(float(&Value::String("NaN".into())).is_ok_and(f64::is_nan));
        assert!(float(&Value::Bool(true)).is_err());
    }
}
