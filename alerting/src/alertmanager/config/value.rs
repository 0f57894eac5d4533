//! The small values of `alertmanager.yml`: durations as Prometheus writes them, and secrets.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What stands in place of a secret where a configuration is shown.
pub(super) const HIDDEN: &str = "<secret>";

/// Units of a duration, the largest first, each with its milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Longest duration: 292 years, as with Prometheus; a time and it make a time still.
const MILLIS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// A duration: `1h30m`, `500ms`, `0`. Each unit once, the larger one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    /// So many seconds.
    #[must_use]
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whether it is no time at all.
    #[must_use]
    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// As a difference of times; none of ours is too large for it.
    #[must_use]
    pub(crate) fn delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::from_std(self.0).unwrap_or(chrono::TimeDelta::MAX)
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is not a duration: write a number and its unit, like 30s or 1h30m")
        };
        if text == "0" {
            return Ok(Self::default());
        }
        let (mut rest, mut units, mut total) = (text, &UNITS[..], 0_u64);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at(digits);
            let letters = behind.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, behind) = behind.split_at(letters);
            let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let part = number.checked_mul(units[at].1).ok_or_else(wrong)?;
            total = total.checked_add(part).filter(|t| *t <= MILLIS_MAX).ok_or_else(wrong)?;
            (rest, units) = (behind, &units[at + 1..]);
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_millis(total))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, milliseconds) in UNITS {
            // Years and weeks only where nothing is left over, so that 30d stays 30d.
            let coarse = matches!(unit, "y" | "w") && !rest.is_multiple_of(milliseconds);
            if rest >= milliseconds && !coarse {
                write!(f, "{}{unit}", rest / milliseconds)?;
                rest %= milliseconds;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A secret in the file itself. Shown nowhere.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(pub(crate) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms, shown) in [
            ("0", Some(0), "0s"),
            ("5m", Some(300_000), "5m"),
            ("1h30m", Some(5_400_000), "1h30m"),
            ("500ms", Some(500), "500ms"),
            ("120h", Some(432_000_000), "5d"),
            ("14d", Some(1_209_600_000), "2w"),
            ("1w2d", Some(777_600_000), "9d"),
            ("1y", Some(31_536_000_000), "1y"),
            ("", None, ""),
            ("5", None, ""),
            ("m5", None, ""),
            ("5m1h", None, ""),
            ("5m5m", None, ""),
            ("1.5h", None, ""),
            ("-1s", None, ""),
            ("99999999999999999999s", None, ""),
            ("999999999999999999y", None, ""),
            ("293y", None, ""),
            ("292y", Some(9_208_512_000_000), "292y"),
        ] {
            let span: Result<Span, _> = text.parse();
            let found = span.as_ref().ok().map(|s| u64::try_from(s.0.as_millis()).unwrap());
            assert_eq!(found, ms, "{text}");
            if let Ok(span) = span {
                assert_eq!(span.to_string(), shown, "{text}");
            }
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Hidden("tiger".to_owned());
        let shown = format!("{secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!(shown, "<secret> \"<secret>\"");
    }
}
