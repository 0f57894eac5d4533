//! Whether an answer is what a case expects.

use watchkeep_series::{
    Histogram, Labels, Points, ResetHint, is_stale,
    promql::{
        Answer, SampleValue, Value,
        notation::{self, Point},
    },
};

use crate::{
    Failure,
    script::{Eval, When},
};

/// Largest relative difference of equal values.
const TOLERANCE: f64 = 1e-6;

pub(crate) fn answer(eval: &Eval, answer: &Answer) -> Result<(), Failure> {
    match &answer.value {
        Value::String { value, .. } => {
            let expected = eval.text.as_ref().ok_or("a string was not expected")?;
            if value == expected { Ok(()) } else { Err(format!("string {value:?}").into()) }
        }
        Value::Scalar { value, .. } => {
            let [line] = eval.expected.as_slice() else {
                return Err("one number was expected".into());
            };
            let points = notation::parse_points(line)?;
            let [Point::Value(SampleValue::Float(expected))] = points.as_slice() else {
                return Err(format!("scalar {value}, expected {line}").into());
            };
            same(*expected, *value).then_some(()).ok_or_else(|| format!("scalar {value}").into())
        }
        Value::Vector(samples) => {
            let found = samples.iter().map(|s| (s.labels.clone(), vec![Some(s.value.clone())]));
            series(eval, 1, found.collect())
        }
        Value::Matrix(matrix) => {
            let times = times(eval.points.unwrap_or(eval.when));
            let found = matrix.iter().map(|p| (p.labels.clone(), at(p, &times)));
            series(eval, times.len(), found.collect())
        }
    }
}

fn times(when: When) -> Vec<i64> {
    match when {
        When::At(at) => vec![at],
        When::Range { from_ms, to_ms, step_ms } => {
            (0..).map(|n| from_ms + n * step_ms.max(1)).take_while(|t| *t <= to_ms).collect()
        }
    }
}

fn at(points: &Points, times: &[i64]) -> Vec<Option<SampleValue>> {
    let value = |time: &i64| {
        let float = points.floats.iter().find(|s| s.timestamp_ms == *time);
        let histogram = points.histograms.iter().find(|h| h.timestamp_ms == *time);
        let float = float.map(|s| SampleValue::Float(s.value));
        float.or_else(|| histogram.map(|h| SampleValue::Histogram(h.value.clone())))
    };
    times.iter().map(value).collect()
}

type Series = (Labels, Vec<Option<SampleValue>>);

fn series(eval: &Eval, steps: usize, mut found: Vec<Series>) -> Result<(), Failure> {
    found.retain(|(_, values)| values.iter().any(Option::is_some));
    let mut expected: Vec<Series> = Vec::new();
    for line in &eval.expected {
        let (labels, points) = notation::parse_series(line)?;
        let mut values: Vec<Option<SampleValue>> = points.into_iter().map(value).collect();
        values.resize(steps.max(values.len()), None);
        expected.push((labels, values));
    }
    expected.retain(|(_, values)| values.iter().any(Option::is_some));
    if eval.ordered {
        let order = |all: &[Series]| all.iter().map(|(l, _)| l.clone()).collect::<Vec<_>>();
        if order(&expected) != order(&found) {
            return Err(format!("order {}", shown(&found)).into());
        }
    }
    for (labels, values) in &expected {
        let (_, other) = found
            .iter()
            .find(|(other, _)| other == labels)
            .ok_or_else(|| format!("{labels} is missing; found {}", shown(&found)))?;
        let equal =
            values.len() == other.len() && values.iter().zip(other).all(|(a, b)| same_value(a, b));
        if !equal {
            let (labels, values, other) = (labels, line(values), line(other));
            return Err(format!("{labels} is {other}, expected {values}").into());
        }
    }
    if found.len() != expected.len() {
        let extra = found.iter().find(|(labels, _)| !expected.iter().any(|(l, _)| l == labels));
        let extra = extra.map(|(labels, values)| format!("{labels} {}", line(values)));
        return Err(format!("not expected: {}", extra.unwrap_or_default()).into());
    }
    Ok(())
}

fn value(point: Point) -> Option<SampleValue> {
    match point {
        Point::Gap => None,
        Point::Value(value) => Some(value),
    }
}

fn line(values: &[Option<SampleValue>]) -> String {
    let one = |value: &Option<SampleValue>| match value {
        None => "_".to_owned(),
        Some(SampleValue::Float(value)) => value.to_string(),
        Some(SampleValue::Histogram(histogram)) => histogram.notation(),
    };
    values.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn shown(found: &[Series]) -> String {
    let all: Vec<String> = found.iter().map(|(l, v)| format!("{l} {}", line(v))).collect();
    all.join(", ")
}

fn same_value(expected: &Option<SampleValue>, found: &Option<SampleValue>) -> bool {
    match (expected, found) {
        (None, None) => true,
        (Some(SampleValue::Float(a)), Some(SampleValue::Float(b))) => same(*a, *b),
        (Some(SampleValue::Histogram(a)), Some(SampleValue::Histogram(b))) => histograms(a, b),
        _ => false,
    }
}

fn same(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

fn histograms(expected: &Histogram, found: &Histogram) -> bool {
    let (a, b) = (expected.clone().compact(0), found.clone().compact(0));
    let all =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b));
    (a.reset_hint == ResetHint::Unknown || a.reset_hint == b.reset_hint)
        && a.schema == b.schema
        && same(a.zero_threshold, b.zero_threshold)
        && same(a.zero_count, b.zero_count)
        && same(a.count, b.count)
        && same(a.sum, b.sum)
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && all(&a.positive_buckets, &b.positive_buckets)
        && all(&a.negative_buckets, &b.negative_buckets)
        && all(&a.custom_values, &b.custom_values)
}
