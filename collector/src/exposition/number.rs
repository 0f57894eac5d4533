//! Numbers as Prometheus reads them: Go's, without hexadecimal and underscores.

/// The value that stands for "not a number". The staleness marker is another NaN, which no page can say.
const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// A value; none when it is not a number, or one that no `f64` can hold.
pub(super) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']);
    let digits = unsigned.unwrap_or(text);
    if digits.eq_ignore_ascii_case("nan") {
        return unsigned.is_none().then_some(NAN);
    }
    let value: f64 = text.parse().ok()?;
    let is_word = digits.starts_with(['i', 'I']);
    (value.is_finite() || is_word).then_some(value)
}

/// Seconds, with a fraction or not, as milliseconds.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let ms = float(text)? * 1e3;
    // i64 holds every finite value below; beyond, the time means nothing.
    (ms.is_finite() && ms.abs() < 9.2e18).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-0", Some(-0.0)),
            ("Inf", Some(f64::INFINITY)),
            ("+inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1e999", None),
            ("0x1p-3", None),
            ("0x10", None),
            ("1_2", None),
            ("-NaN", None),
            ("true", None),
            ("", None),
            ("1\r", None),
        ] {
            assert_eq!(float(text), value, "{text}");
        }
        for text in ["NaN", "nan", "nAn"] {
            assert_eq!(float(text).map(f64::to_bits), Some(0x7ff8_0000_0000_0001));
        }
        assert_eq!(seconds("1395066363.123"), Some(1_395_066_363_123));
        assert_eq!((seconds("-1"), seconds("NaN"), seconds("+Inf")), (Some(-1000), None, None));
    }
}
