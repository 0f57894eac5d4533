//! What a test expects against what came. Pure.

use std::{collections::BTreeMap, time::Duration};

use watchkeep_alerting::rule::{AlertState, Group, GroupState, RuleKind, format_duration};
use watchkeep_series::{
    Labels,
    promql::{
        SampleValue,
        notation::{Point, parse_labels, parse_points},
    },
};

use super::{
    shape::{AlertTest, ExprTest},
    suite::Suite,
};

type Map = BTreeMap<String, String>;

/// A time of a test, in words.
pub(super) fn clock(millis: i64) -> String {
    format_duration(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// Whether exactly the expected alerts fire.
pub(super) fn alerts(test: &AlertTest, groups: &[Group], states: &[GroupState]) -> Option<String> {
    let mut expected: Vec<(Map, Map)> = Vec::new();
    for alert in test.exp_alerts.iter().flatten() {
        let mut labels = alert.exp_labels.clone().unwrap_or_default();
        labels.insert("alertname".to_owned(), test.alertname.clone());
        labels.retain(|_, value| !value.is_empty());
        expected.push((labels, alert.exp_annotations.clone().unwrap_or_default()));
    }
    let mut got: Vec<(Map, Map)> = Vec::new();
    for (group, state) in groups.iter().zip(states) {
        for (rule, state) in group.rules.iter().zip(&state.rules) {
            if matches!(&rule.kind, RuleKind::Alert(alert) if alert.name == test.alertname) {
                let firing = state.active.iter().filter(|(_, a)| a.state == AlertState::Firing);
                got.extend(firing.map(|(labels, a)| (labels.clone(), a.annotations.clone())));
            }
        }
    }
    expected.sort();
    got.sort();
    (expected != got).then(|| {
        format!(
            "alertname: {}, time: {},\n    exp:[{}],\n    got:[{}]",
            test.alertname,
            clock(test.eval_time.0),
            lines(&expected),
            lines(&got),
        )
    })
}

fn lines(alerts: &[(Map, Map)]) -> String {
    let line = |(labels, annotations): &(Map, Map)| {
        format!("\n        Labels:{labels:?}\n        Annotations:{annotations:?}")
    };
    alerts.iter().map(line).collect::<Vec<_>>().join(",")
}

/// Whether an expression answers as expected, in a test that begins at `start_ms`.
pub(super) fn samples(
    test: &ExprTest,
    start_ms: i64,
    suite: &Suite,
    fuzzy: bool,
) -> Option<String> {
    let place = format!("expr: {:?}, time: {}", test.expr, clock(test.eval_time.0));
    let got = match suite.vector(&test.expr, start_ms.saturating_add(test.eval_time.0)) {
        Ok(got) => got.into_iter().map(|sample| (sample.labels, sample.value)).collect(),
        Err(message) => return Some(format!("{place}, err: {message}")),
    };
    let expected = match expected(test) {
        Ok(expected) => expected,
        Err(message) => return Some(format!("{place}, err: {message}")),
    };
    let (got, expected) = (sorted(got), sorted(expected));
    let same = got.len() == expected.len()
        && got.iter().zip(&expected).all(|((labels, value), (wanted, expected))| {
            labels == wanted && equal(value, expected, fuzzy)
        });
    let words = |samples: &[(Labels, SampleValue)]| {
        let word = |(labels, value): &(Labels, SampleValue)| format!("{labels} {}", written(value));
        samples.iter().map(word).collect::<Vec<_>>().join(", ")
    };
    (!same).then(|| format!("{place},\n    exp: {}\n    got: {}", words(&expected), words(&got)))
}

fn expected(test: &ExprTest) -> Result<Vec<(Labels, SampleValue)>, String> {
    let mut expected = Vec::new();
    for sample in test.exp_samples.iter().flatten() {
        let text = if sample.labels.trim().is_empty() { "{}" } else { sample.labels.trim() };
        let (labels, rest) = parse_labels(text).map_err(|e| format!("labels {text:?}: {e}"))?;
        if !rest.trim().is_empty() {
            return Err(format!("labels {text:?}: unexpected {:?}", rest.trim()));
        }
        let value = match sample.histogram.trim() {
            "" => SampleValue::Float(sample.value),
            histogram => {
                let points = parse_points(histogram).map_err(|e| e.to_string())?;
                match <[Point; 1]>::try_from(points) {
                    Ok([Point::Value(value @ SampleValue::Histogram(_))]) => value,
                    _ => return Err(format!("{histogram:?} is not one histogram")),
                }
            }
        };
        expected.push((labels, value));
    }
    Ok(expected)
}

fn sorted(mut samples: Vec<(Labels, SampleValue)>) -> Vec<(Labels, SampleValue)> {
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    samples
}

fn written(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => histogram.to_string(),
    }
}

/// NaN is not even equal to itself, as in promtool 2; `fuzzy` forgives the last bit.
fn equal(got: &SampleValue, expected: &SampleValue, fuzzy: bool) -> bool {
    match (got, expected) {
        (SampleValue::Float(a), SampleValue::Float(b)) => {
            a == b || (fuzzy && (a.next_up() == *b || a.next_down() == *b))
        }
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => a.to_string() == b.to_string(),
        _ => false,
    }
}
