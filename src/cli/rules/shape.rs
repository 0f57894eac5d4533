//! The shapes of promtool's unit-test files, as YAML has them.

use std::{collections::BTreeMap, fmt};

use chrono::DateTime;
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};
use watchkeep_alerting::rule::parse_duration;

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Millis(pub(super) i64);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = parse_duration(&text).map_err(de::Error::custom)?;
        Ok(Self(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// When a test begins, in milliseconds: seconds since 1970, or RFC 3339.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Start(pub(super) i64);

/// A test begins at most so many seconds before or after 1970: until the year 2106.
const SECONDS_MAX: u32 = u32::MAX;

impl Start {
    fn of_seconds(seconds: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the range is judged before")]
        (seconds.abs() < f64::from(SECONDS_MAX)).then(|| Self((seconds * 1_000.0).round() as i64))
    }

    fn of_text(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.parse() {
            return Self::of_seconds(seconds);
        }
        DateTime::parse_from_rfc3339(text).ok().map(|at| Self(at.timestamp_millis()))
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StartVisitor)
    }
}

struct StartVisitor;

impl Visitor<'_> for StartVisitor {
    type Value = Start;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970, or a time such as 2026-01-05T09:00:00Z")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Start, E> {
        Start::of_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Start, E> {
        let start = Start::of_seconds(seconds);
        start.ok_or_else(|| E::invalid_value(Unexpected::Float(seconds), &self))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Start, E> {
        let start =
            (seconds.unsigned_abs() < u64::from(SECONDS_MAX)).then(|| Start(seconds * 1_000));
        start.ok_or_else(|| E::invalid_value(Unexpected::Signed(seconds), &self))
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Start, E> {
        match i64::try_from(seconds) {
            Ok(seconds) => self.visit_i64(seconds),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(seconds), &self)),
        }
    }
}

/// A unit-test file.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(super) struct TestFile {
    pub(super) rule_files: Vec<String>,
    pub(super) evaluation_interval: Option<Millis>,
    pub(super) group_eval_order: Vec<String>,
    pub(super) tests: Vec<Case>,
    pub(super) fuzzy_compare: bool,
}

/// One test: series, and what becomes of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) interval: Option<Millis>,
    /// All other times count from here.
    pub(super) start_timestamp: Start,
    pub(super) input_series: Vec<InputSeries>,
    pub(super) alert_rule_test: Vec<AlertTest>,
    pub(super) promql_expr_test: Vec<ExprTest>,
    pub(super) external_labels: BTreeMap<String, String>,
    pub(super) external_url: String,
}

/// A series in the notation of test files.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InputSeries {
    pub(super) series: String,
    pub(super) values: String,
}

/// Which alerts fire at a time.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertTest {
    pub(super) eval_time: Millis,
    pub(super) alertname: String,
    pub(super) exp_alerts: Option<Vec<ExpectedAlert>>,
}

/// A firing alert.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedAlert {
    pub(super) exp_labels: Option<BTreeMap<String, String>>,
    pub(super) exp_annotations: Option<BTreeMap<String, String>>,
}

/// What an expression answers at a time.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExprTest {
    pub(super) expr: String,
    pub(super) eval_time: Millis,
    pub(super) exp_samples: Option<Vec<ExpectedSample>>,
}

/// A sample of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedSample {
    pub(super) labels: String,
    pub(super) value: f64,
    pub(super) histogram: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_begins_when_it_says() {
        for (text, start) in [
            ("1767603600", Some(1_767_603_600_000)),
            ("'1767603600'", Some(1_767_603_600_000)),
            ("1767603600.5", Some(1_767_603_600_500)),
            ("-1", Some(-1_000)),
            ("2026-01-05T09:00:00Z", Some(1_767_603_600_000)),
            ("2026-01-05T10:00:00.5+01:00", Some(1_767_603_600_500)),
            ("soon", None),
            ("1e300", None),
            ("99999999999999999", None),
        ] {
            let case = format!("start_timestamp: {text}\n");
            let read = serde_saphyr::from_str::<Case>(&case);
            assert_eq!(read.ok().map(|case| case.start_timestamp.0), start, "{text}");
        }
    }
}
