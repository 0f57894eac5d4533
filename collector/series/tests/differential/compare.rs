//! Whether two answers are the same. Shared with the test of the HTTP API (`tests/e2e_prometheus_api/differential.rs`).

use std::collections::BTreeMap;

use serde_json::Value as Json;
use watchkeep_series::{
    Histogram,
    promql::{Answer, SampleValue, Value},
};

use crate::generate::Query;

/// Values agree within this, relative to the larger one.
const TOLERANCE: f64 = 1e-9;
/// What is left of a difference of equal numbers may be rounding.
const NOTHING: f64 = 1e-9;

type Rows = Vec<(String, Vec<(i64, f64)>)>;

/// An answer, in whatever form it came.
pub(crate) trait Answered {
    /// Its type by Prometheus's name, and its rows.
    fn rows(&self) -> (&str, Rows);
}

impl Answered for Answer {
    fn rows(&self) -> (&str, Rows) {
        rows_of(&self.value)
    }
}

/// `data` of an answer by HTTP.
impl Answered for Json {
    fn rows(&self) -> (&str, Rows) {
        (self["resultType"].as_str().unwrap_or_default(), rows_of_json(self))
    }
}

/// How two answers agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Agreement {
    /// Neither answers.
    Refused,
    /// With no series.
    Empty,
    /// With the same floats.
    Floats,
    /// With the same native histograms.
    Histograms,
}

/// How they agree; an error says how they do not.
pub(crate) fn same(
    query: &Query,
    ours: &Result<impl Answered, String>,
    theirs: &Result<Json, String>,
) -> Result<Agreement, String> {
    match (ours, theirs) {
        (Err(_), Err(_)) => Ok(Agreement::Refused),
        (Ok(_), Err(error)) => Err(format!("only Prometheus refuses: {error}")),
        (Err(error), Ok(_)) => Err(format!("only we refuse: {error}")),
        (Ok(ours), Ok(theirs)) => {
            let ((kind, mut ours), (expected, mut theirs)) = (ours.rows(), theirs.rows());
            if kind != expected {
                return Err(format!("{kind} instead of {expected}"));
            }
            let agreement = match &ours[..] {
                [] => Agreement::Empty,
                rows if rows.iter().any(|(name, _)| name.ends_with(" count")) => {
                    Agreement::Histograms
                }
                _ => Agreement::Floats,
            };
            if is_ordered(query) {
                // Series with equal values come in any order, and so does what topk takes of them.
                for rows in [&mut ours, &mut theirs] {
                    rows.iter_mut().for_each(|(labels, _)| labels.clear());
                }
            }
            if takes_any_of_equals(query) {
                for rows in [&mut ours, &mut theirs] {
                    *rows = columns(rows);
                }
            } else if !is_ordered(query) {
                ours.sort_by(|a, b| a.0.cmp(&b.0));
                theirs.sort_by(|a, b| a.0.cmp(&b.0));
            }
            equal(&ours, &theirs).map(|()| agreement)
        }
    }
}

/// Whether the order of the answer is part of it.
fn is_ordered(query: &Query) -> bool {
    query.range.is_none() && query.text.starts_with("sort")
}

/// Whether it may pick any of several equal values.
fn takes_any_of_equals(query: &Query) -> bool {
    query.text.starts_with("topk") || query.text.starts_with("bottomk")
}

fn equal(ours: &Rows, theirs: &Rows) -> Result<(), String> {
    let names = |rows: &Rows| rows.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>();
    if names(ours) != names(theirs) {
        return Err(format!("series {:?} instead of {:?}", names(ours), names(theirs)));
    }
    for ((labels, ours), (_, theirs)) in ours.iter().zip(theirs) {
        let times = |points: &[(i64, f64)]| points.iter().map(|(t, _)| *t).collect::<Vec<_>>();
        if times(ours) != times(theirs) {
            return Err(format!("{labels} at {:?} instead of {:?}", times(ours), times(theirs)));
        }
        let differs = |((_, a), (_, b)): &(&(i64, f64), &(i64, f64))| !close(*a, *b);
        if let Some(((at, a), (_, b))) = ours.iter().zip(theirs).find(differs) {
            return Err(format!("{labels} at {at}: {a:e} instead of {b:e}"));
        }
    }
    Ok(())
}

fn close(a: f64, b: f64) -> bool {
    let off = (a - b).abs();
    a == b
        || (a.is_nan() && b.is_nan())
        || off <= NOTHING
        || off <= TOLERANCE * a.abs().max(b.abs())
}

/// The values of each time, sorted, without the series they belong to.
fn columns(rows: &Rows) -> Rows {
    let mut columns: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (at, value) in rows.iter().flat_map(|(_, points)| points) {
        // Whatever its sign, a NaN is one.
        let value = if value.is_nan() { f64::NAN } else { *value };
        columns.entry(*at).or_default().push(value);
    }
    let sorted = |(at, mut values): (i64, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        (String::new(), values.into_iter().map(|value| (at, value)).collect())
    };
    columns.into_iter().map(sorted).collect()
}

fn rows_of(value: &Value) -> (&'static str, Rows) {
    match value {
        Value::Scalar { timestamp_ms, value } => {
            ("scalar", vec![(String::new(), vec![(*timestamp_ms, *value)])])
        }
        Value::String { timestamp_ms, value } => {
            ("string", vec![(value.clone(), vec![(*timestamp_ms, 0.0)])])
        }
        Value::Vector(samples) => {
            let rows = |s: &watchkeep_series::promql::VectorSample| match &s.value {
                SampleValue::Float(value) => {
                    vec![(s.labels.to_string(), vec![(s.timestamp_ms, *value)])]
                }
                SampleValue::Histogram(h) => {
                    histogram_rows(&s.labels.to_string(), s.timestamp_ms, h)
                }
            };
            ("vector", samples.iter().flat_map(rows).collect())
        }
        Value::Matrix(series) => {
            let rows = |points: &watchkeep_series::Points| {
                let labels = points.labels.to_string();
                let floats: Vec<_> =
                    points.floats.iter().map(|s| (s.timestamp_ms, s.value)).collect();
                let histograms = points.histograms.iter();
                let mut rows: Rows = histograms
                    .flat_map(|h| histogram_rows(&labels, h.timestamp_ms, &h.value))
                    .collect();
                if !floats.is_empty() || rows.is_empty() {
                    rows.push((labels, floats));
                }
                rows
            };
            ("matrix", series.iter().flat_map(rows).collect())
        }
    }
}

/// A histogram as rows of numbers: count, sum and each bucket.
fn histogram_rows(labels: &str, at: i64, histogram: &Histogram) -> Rows {
    let whole = [("count".to_owned(), histogram.count), ("sum".to_owned(), histogram.sum)];
    let buckets = histogram.json_rows().into_iter();
    let buckets =
        buckets.map(|(ends, lower, upper, count)| (bucket_name(ends, lower, upper), count));
    whole
        .into_iter()
        .chain(buckets)
        .map(|(part, value)| (format!("{labels} {at} {part}"), vec![(at, value)]))
        .collect()
}

/// Bounds to twelve digits: the last ones are a matter of the library.
fn bucket_name(ends: u8, lower: f64, upper: f64) -> String {
    format!("{ends} {lower:.12e} {upper:.12e}")
}

fn json_histogram_rows(labels: &str, pair: &Json) -> Rows {
    let at = time_of(&pair[0]);
    let number = |value: &Json| value.as_str().expect("text").parse::<f64>().expect("a number");
    let whole = ["count", "sum"].map(|part| (part.to_owned(), number(&pair[1][part])));
    let buckets = pair[1]["buckets"].as_array().into_iter().flatten().map(|bucket| {
        let ends = bucket[0].as_u64().expect("which ends are in it") as u8;
        (bucket_name(ends, number(&bucket[1]), number(&bucket[2])), number(&bucket[3]))
    });
    whole
        .into_iter()
        .chain(buckets)
        .map(|(part, value)| (format!("{labels} {at} {part}"), vec![(at, value)]))
        .collect()
}

fn time_of(seconds: &Json) -> i64 {
    (seconds.as_f64().expect("a time") * 1_000.0).round() as i64
}

fn rows_of_json(data: &Json) -> Rows {
    let result = &data["result"];
    let point = |pair: &Json| -> (i64, f64) {
        (time_of(&pair[0]), pair[1].as_str().expect("a value").parse().expect("a number"))
    };
    match data["resultType"].as_str() {
        Some("scalar") => vec![(String::new(), vec![point(result)])],
        Some("string") => {
            let value = result[1].as_str().unwrap_or_default().to_owned();
            vec![(value, vec![(time_of(&result[0]), 0.0)])]
        }
        _ => result
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|series| {
                let labels = series["metric"].as_object().expect("labels");
                let pairs = labels.iter().map(|(name, value)| (name, value.as_str().unwrap_or("")));
                let labels = watchkeep_series::Labels::new(pairs).to_string();
                let listed = |one: &str, many: &str| -> Vec<Json> {
                    let all =
                        series.get(many).and_then(Json::as_array).cloned().unwrap_or_default();
                    series.get(one).cloned().into_iter().chain(all).collect()
                };
                let points: Vec<_> = listed("value", "values").iter().map(point).collect();
                let histograms = listed("histogram", "histograms");
                let mut rows: Rows =
                    histograms.iter().flat_map(|h| json_histogram_rows(&labels, h)).collect();
                if !points.is_empty() || rows.is_empty() {
                    rows.push((labels, points));
                }
                rows
            })
            .collect(),
    }
}
