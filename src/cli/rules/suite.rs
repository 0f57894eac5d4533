//! Series in memory, rules over them, and a time that goes by steps: what a unit test runs on. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use watchkeep_alerting::rule::{Answered, Ask, Histogram, Measure, Sample, Sink};
use watchkeep_series::{
    HistogramSample, Labels, Points, Sample as FloatSample,
    promql::{
        Engine, EngineOptions, Expr, MemorySeries, SampleValue, Value, VectorSample,
        notation::{Point, parse_series},
    },
};

use crate::rules::PromQl;

/// Most expressions that are kept parsed: templates make them of labels, without end.
const PARSED_MAX: usize = 10_000;

/// Series that a test gives, as far as time has come, and those that its rules record.
pub(super) struct Suite {
    series: RwLock<MemorySeries>,
    engine: Engine,
    /// By their text: rules ask the same at every step, and reading it would take longer than answering it.
    parsed: Mutex<HashMap<String, Arc<Expr>>>,
}

/// A series that is still to come, newest first.
#[derive(Debug)]
pub(super) struct Coming(Labels, Vec<(i64, SampleValue)>);

impl Suite {
    pub(super) fn new(PromQl { experimental }: PromQl) -> Self {
        let options = EngineOptions { experimental, ..EngineOptions::default() };
        Self { series: RwLock::default(), engine: Engine::new(options), parsed: Mutex::default() }
    }

    fn parsed(&self, text: &str) -> Result<Arc<Expr>, String> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(text) {
            return Ok(Arc::clone(known));
        }
        let expr = Arc::new(Expr::parse(text).map_err(|e| e.to_string())?);
        if parsed.len() >= PARSED_MAX {
            parsed.clear();
        }
        parsed.insert(text.to_owned(), Arc::clone(&expr));
        Ok(expr)
    }

    /// Lets everything up to `until_ms` come.
    pub(super) fn arrive(&self, coming: &mut [Coming], until_ms: i64) {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        for Coming(labels, points) in coming {
            let mut arrived = Points { labels: labels.clone(), ..Points::default() };
            while let Some((at, value)) = points.pop_if(|(at, _)| *at <= until_ms) {
                push(&mut arrived, at, value);
            }
            if !arrived.floats.is_empty() || !arrived.histograms.is_empty() {
                series.insert(arrived);
            }
        }
    }

    /// The value of an expression as a vector.
    pub(super) fn vector(&self, expr: &str, at_ms: i64) -> Result<Vec<VectorSample>, String> {
        let expr = self.parsed(expr)?;
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let answer = self.engine.instant(&*series, &expr, at_ms, &|| false);
        match answer.map_err(|e| e.to_string())?.value {
            Value::Vector(samples) => Ok(samples),
            Value::Scalar { timestamp_ms, value } => Ok(vec![VectorSample {
                labels: Labels::default(),
                timestamp_ms,
                value: SampleValue::Float(value),
            }]),
            Value::String { .. } | Value::Matrix(_) => {
                Err("the answer is neither a vector nor a scalar".to_owned())
            }
        }
    }
}

fn push(points: &mut Points, timestamp_ms: i64, value: SampleValue) {
    match value {
        SampleValue::Float(value) => points.floats.push(FloatSample { timestamp_ms, value }),
        SampleValue::Histogram(value) => {
            points.histograms.push(HistogramSample { timestamp_ms, value });
        }
    }
}

/// A series of a test, one point each `interval_ms` from `start_ms` on.
///
/// # Errors
/// When it is not in the notation.
pub(super) fn series(
    series: &str,
    values: &str,
    (start_ms, interval_ms): (i64, i64),
) -> Result<Coming, String> {
    let (labels, points) =
        parse_series(&format!("{series} {values}")).map_err(|e| e.to_string())?;
    let timed = (0..).map(|at| start_ms + at * interval_ms).zip(points);
    let mut values: Vec<_> = timed
        .filter_map(|(at, point)| match point {
            Point::Gap => None,
            Point::Value(value) => Some((at, value)),
        })
        .collect();
    values.reverse();
    Ok(Coming(labels, values))
}

impl Ask for Suite {
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<Answered>, String> {
        let answered = |sample: VectorSample| Answered {
            labels: sample.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            value: match sample.value {
                SampleValue::Float(value) => Measure::Float(value),
                SampleValue::Histogram(histogram) => Measure::Histogram(Histogram {
                    text: histogram.to_string().into(),
                    carried: histogram,
                }),
            },
        };
        Ok(self.vector(expr, at_ms)?.into_iter().map(answered).collect())
    }
}

impl Sink for Suite {
    fn write(&self, samples: Vec<Sample>) -> Result<(), String> {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        for Sample { labels, timestamp_ms, value } in samples {
            let mut points = Points { labels: of(&labels), ..Points::default() };
            let value = match value {
                Measure::Float(value) => SampleValue::Float(value),
                Measure::Histogram(histogram) => {
                    let carried = Arc::downcast(histogram.carried);
                    SampleValue::Histogram(carried.map_err(|_| "a histogram of another kind")?)
                }
            };
            push(&mut points, timestamp_ms, value);
            series.insert(points);
        }
        Ok(())
    }
}

fn of(labels: &BTreeMap<String, String>) -> Labels {
    Labels::new(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
