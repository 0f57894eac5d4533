//! Numbers as Prometheus writes them: in PromQL's text, and in the JSON of its API.

/// Shortest text that reads back as the same number, with an exponent below 1e-4 and from 1e6 (C's `%g`): `0.25`,
/// `1e+06`, `+Inf`.
#[must_use]
pub fn general(value: f64) -> String {
    written(value, |exponent| !(-4..6).contains(&exponent))
}

/// As the API's JSON strings have it: an exponent only below 1e-6 and from 1e21.
#[must_use]
pub fn json_number(value: f64) -> String {
    written(value, |exponent| !(-6..21).contains(&exponent))
}

fn written(value: f64, with_exponent: impl Fn(i32) -> bool) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if value != 0.0 && with_exponent(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (value, text, json) in [
            (0.0, "0", "0"),
            (1.0, "1", "1"),
            (-0.25, "-0.25", "-0.25"),
            (1e6, "1e+06", "1000000"),
            (123_456_789.0, "1.23456789e+08", "123456789"),
            (999_999.5, "999999.5", "999999.5"),
            (1e21, "1e+21", "1e+21"),
            (1e-4, "0.0001", "0.0001"),
            (1.5e-5, "1.5e-05", "0.000015"),
            (1e-7, "1e-07", "1e-07"),
            (1e100, "1e+100", "1e+100"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(general(value), text);
            assert_eq!(json_number(value), json);
        }
    }
}
