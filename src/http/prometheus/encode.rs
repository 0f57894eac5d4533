//! The value of an expression as JSON: `{"resultType": "vector", "result": […]}`. Pure.

use std::fmt::Write;

use watchkeep_series::{
    Labels, Points, json_number,
    promql::{SampleValue, Value, VectorSample},
};

use crate::sample_json::{histogram, seconds};

/// The value, cut after `limit` series (0: none is too many); and whether something was cut.
pub(super) fn result(of: &Value, limit: usize) -> (String, bool) {
    let limit = if limit == 0 { usize::MAX } else { limit };
    match of {
        Value::Scalar { timestamp_ms, value: number } => {
            // Prometheus writes a scalar without an exponent, and samples with one.
            let text = if number.is_finite() { number.to_string() } else { json_number(*number) };
            (typed("scalar", &point(*timestamp_ms, &text)), false)
        }
        Value::String { timestamp_ms, value } => {
            let at = seconds(*timestamp_ms);
            (typed("string", &format!("[{at},{}]", string(value))), false)
        }
        Value::Vector(samples) => {
            let rows = samples.iter().take(limit).map(sample).collect::<Vec<_>>().join(",");
            (typed("vector", &format!("[{rows}]")), samples.len() > limit)
        }
        Value::Matrix(all) => {
            let rows = all.iter().take(limit).map(series).collect::<Vec<_>>().join(",");
            (typed("matrix", &format!("[{rows}]")), all.len() > limit)
        }
    }
}

fn typed(kind: &str, result: &str) -> String {
    format!(r#""resultType":"{kind}","result":{result}"#)
}

fn point(timestamp_ms: i64, text: &str) -> String {
    format!(r#"[{},"{text}"]"#, seconds(timestamp_ms))
}

fn sample(sample: &VectorSample) -> String {
    let metric = labels(&sample.labels);
    let at = sample.timestamp_ms;
    match &sample.value {
        SampleValue::Float(number) => {
            format!(r#"{{"metric":{metric},"value":{}}}"#, point(at, &json_number(*number)))
        }
        SampleValue::Histogram(of) => {
            let shown = histogram(of);
            format!(r#"{{"metric":{metric},"histogram":[{},{shown}]}}"#, seconds(at))
        }
    }
}

fn series(of: &Points) -> String {
    let mut text = format!(r#"{{"metric":{}"#, labels(&of.labels));
    let mut list = |name: &str, points: Vec<String>| {
        if !points.is_empty() {
            // A String takes everything.
            let _ = write!(text, r#","{name}":[{}]"#, points.join(","));
        }
    };
    list(
        "values",
        of.floats.iter().map(|s| point(s.timestamp_ms, &json_number(s.value))).collect(),
    );
    let histograms = of.histograms.iter();
    let shown =
        histograms.map(|s| format!("[{},{}]", seconds(s.timestamp_ms), histogram(&s.value)));
    list("histograms", shown.collect());
    text.push('}');
    text
}

/// An object with a field for each label.
pub(super) fn labels(labels: &Labels) -> String {
    let fields: Vec<_> =
        labels.iter().map(|(n, v)| format!("{}:{}", string(n), string(v))).collect();
    format!("{{{}}}", fields.join(","))
}

pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use watchkeep_series::{Histogram, HistogramSample, Sample};

    use super::*;

    #[test]
    fn every_type() {
        let up = Labels::new([("__name__", "up"), ("a", "\"b\"\n")]);
        let metric = r#"{"__name__":"up","a":"\"b\"\n"}"#;
        let vector = |value| {
            let one = VectorSample { labels: up.clone(), timestamp_ms: 1_500, value };
            Value::Vector(vec![one.clone(), one])
        };
        let points = Points {
            labels: up.clone(),
            floats: vec![Sample { timestamp_ms: 1_000, value: f64::NAN }],
            histograms: vec![HistogramSample { timestamp_ms: 2_000, value: Arc::default() }],
            ..Points::default()
        };
        let empty = r#"{"count":"0","sum":"0"}"#;
        for (value, expected) in [
            (
                Value::Scalar { timestamp_ms: 1, value: 1e6 },
                r#""scalar","result":[0.001,"1000000"]"#.to_owned(),
            ),
            (
                Value::String { timestamp_ms: 0, value: "x\"".into() },
                r#""string","result":[0,"x\""]"#.to_owned(),
            ),
            (
                vector(SampleValue::Float(f64::INFINITY)),
                format!(r#""vector","result":[{{"metric":{metric},"value":[1.500,"+Inf"]}}]"#),
            ),
            (
                vector(SampleValue::Histogram(Arc::new(Histogram::default()))),
                format!(r#""vector","result":[{{"metric":{metric},"histogram":[1.500,{empty}]}}]"#),
            ),
            (
                Value::Matrix(vec![points]),
                format!(
                    r#""matrix","result":[{{"metric":{metric},"values":[[1,"NaN"]],"histograms":[[2,{empty}]]}}]"#
                ),
            ),
        ] {
            let (text, cut) = result(&value, 1);
            assert_eq!(text, format!(r#""resultType":{expected}"#));
            assert_eq!(cut, matches!(value, Value::Vector(_)));
        }
    }
}
