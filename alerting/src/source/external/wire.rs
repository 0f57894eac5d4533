//! Answers of the query API, from JSON. The shapes are Prometheus's (HTTP API, expression query result formats).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::source::{MatrixRow, QueryAnswer, QueryData, RowValue, VectorRow};

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default)]
    infos: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    error_type: Option<String>,
    error: String,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((f64, String)),
    String((f64, String)),
    Vector(Vec<Vector>),
    Matrix(Vec<Matrix>),
}

#[derive(Deserialize)]
struct Vector {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    histogram: Option<(f64, serde::de::IgnoredAny)>,
}

#[derive(Deserialize)]
struct Matrix {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, serde::de::IgnoredAny)>,
}

/// Reads a good answer.
///
/// # Errors
/// What is not as it should be.
pub(super) fn answer(body: &[u8]) -> Result<QueryAnswer, String> {
    let envelope: Envelope = serde_json::from_slice(body)
        .map_err(|e| format!("the answer is not that of Prometheus's query API: {e}"))?;
    let (Some(data), "success") = (envelope.data, envelope.status.as_str()) else {
        return Err(format!("the answer has status {:?} and no data", envelope.status));
    };
    let data = match data {
        Data::Scalar((_, text)) => QueryData::Scalar(float(&text)?),
        Data::String((_, text)) => QueryData::String(text),
        Data::Vector(rows) => {
            QueryData::Vector(rows.into_iter().map(vector).collect::<Result<_, _>>()?)
        }
        Data::Matrix(rows) => {
            QueryData::Matrix(rows.into_iter().map(matrix).collect::<Result<_, _>>()?)
        }
    };
    let (warnings, infos) = (envelope.warnings, envelope.infos);
    Ok(QueryAnswer {
        data,
        warnings: warnings.unwrap_or_default(),
        infos: infos.unwrap_or_default(),
    })
}

/// The kind and the words of a refusal, if the body is one.
pub(super) fn refusal(body: &[u8]) -> Option<(String, String)> {
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    Some((refusal.error_type.unwrap_or_default(), refusal.error))
}

fn vector(row: Vector) -> Result<VectorRow, String> {
    let (seconds, value) = match (row.value, row.histogram) {
        (Some((at, text)), _) => (at, RowValue::Float(float(&text)?)),
        (None, Some((at, _))) => (at, UNREAD),
        (None, None) => return Err(format!("{:?} has no value", row.metric)),
    };
    Ok(VectorRow { labels: row.metric, timestamp_ms: ms(seconds), value })
}

fn matrix(row: Matrix) -> Result<MatrixRow, String> {
    let mut points = Vec::with_capacity(row.values.len() + row.histograms.len());
    for (at, text) in &row.values {
        points.push((ms(*at), RowValue::Float(float(text)?)));
    }
    points.extend(row.histograms.into_iter().map(|(at, _)| (ms(at), UNREAD)));
    points.sort_by_key(|(at, _)| *at);
    Ok(MatrixRow { labels: row.metric, points })
}

/// A native histogram: without its schema nobody can compute with it.
const UNREAD: RowValue = RowValue::Histogram { text: String::new(), native: None };

fn float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// Times have at most three digits behind the point; as floats of seconds they are exact enough for 250,000 years.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and no sample lies out there")]
fn ms(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}
