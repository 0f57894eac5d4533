//! The embedded series store as alerting's data source: questions by the PromQL engine, recorded series by the collector's way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use watchkeep_alerting::source::{
    MatrixRow, QueryAnswer, QueryData, Recorded, RecordedHistogram, RowValue, SeriesData, Source,
    SourceError, VectorRow,
};
use watchkeep_collector::Recorder;
use watchkeep_series::{
    Histogram, Labels, Points, Queryable, Sample, is_stale,
    promql::{Answer, EvalError, Expr, SampleValue, Value},
};

use crate::{
    native,
    querier::{Querier, QueryError, When, Wish, go_on},
};

/// The store as a [`Source`].
#[derive(Debug, Clone)]
pub(crate) struct StoreSource {
    querier: Querier,
    recorder: Recorder,
}

impl StoreSource {
    /// Its turns are its own: dashboards do not keep rules waiting.
    pub(crate) fn new(querier: &Querier, recorder: Recorder) -> Self {
        Self { querier: querier.apart(), recorder }
    }

    async fn ask(&self, expr: &str, when: When) -> Result<QueryAnswer, SourceError> {
        let parsed = Expr::parse(expr).map_err(|error| SourceError::Expression {
            expr: expr.to_owned(),
            message: error.to_string(),
        })?;
        let answer = self.querier.evaluate(Arc::new(parsed), when, Wish::default()).await;
        let (answer, _) = answer.map_err(|error| said(error, expr))?;
        Ok(told(answer))
    }
}

impl Source for StoreSource {
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from_ms: i64,
        to_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        Box::pin(async move {
            let wrong = |message| SourceError::Selector { selector: selector.to_owned(), message };
            let matchers =
                Expr::parse_selector(selector).map_err(|error| wrong(error.to_string()))?;
            let samples_max = self.querier.config().samples_max;
            let read = move |store: &dyn Queryable,
                             stop: &dyn Fn() -> bool|
                  -> Result<_, EvalError> {
                let mut found = Vec::new();
                store.select(&matchers, from_ms, to_ms, samples_max, &mut |labels, points| {
                    go_on(stop)?;
                    found.push(series(labels, points));
                    Ok(())
                })?;
                Ok(found)
            };
            let read = self.querier.run(None, move |store, stop| read(store, stop)).await;
            let (found, _) = read.map_err(|error| SourceError::Read {
                selector: selector.to_owned(),
                message: error.to_string(),
            })?;
            Ok(found.into_iter().filter(|series| !series.samples.is_empty()).collect())
        })
    }

    fn query<'a>(
        &'a self,
        expr: &'a str,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        Box::pin(self.ask(expr, When::At(at_ms)))
    }

    fn query_range<'a>(
        &'a self,
        expr: &'a str,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        Box::pin(self.ask(expr, When::Range { from_ms, to_ms, step_ms }))
    }

    fn write(&self, samples: Vec<Recorded>) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let count = samples.len();
            let samples = samples.into_iter().map(|(labels, timestamp_ms, value)| {
                (Labels::new(labels), Sample { timestamp_ms, value })
            });
            let recorded = self.recorder.record(samples.collect()).await;
            recorded
                .map(drop)
                .map_err(|error| SourceError::Write { samples: count, message: error.to_string() })
        })
    }

    fn write_histograms(
        &self,
        histograms: Vec<RecordedHistogram>,
    ) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let samples = histograms.len();
            let histograms = histograms.into_iter();
            let histograms = histograms.map(|(labels, one)| (Labels::new(labels), one)).collect();
            let recorded = self.recorder.record_histograms(histograms).await;
            recorded
                .map(drop)
                .map_err(|error| SourceError::Write { samples, message: error.to_string() })
        })
    }
}

fn named(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The floats of a series, its ends left out: an external system does not show them, either.
fn series(labels: &Labels, points: &Points) -> SeriesData {
    let samples = points.floats.iter().filter(|sample| !is_stale(sample.value));
    let samples = samples.map(|sample| (sample.timestamp_ms, sample.value)).collect();
    SeriesData { labels: named(labels), samples }
}

fn said(error: QueryError, expr: &str) -> SourceError {
    let expr = expr.to_owned();
    match error {
        QueryError::Bad(message) => SourceError::Expression { expr, message },
        QueryError::Timeout(limit) => {
            let limit_ms = u64::try_from(Duration::as_millis(&limit)).unwrap_or(u64::MAX);
            SourceError::Timeout { expr, limit_ms }
        }
        other => SourceError::Evaluation { expr, message: other.to_string() },
    }
}

fn told(answer: Answer) -> QueryAnswer {
    let data = match answer.value {
        Value::Scalar { value, .. } => QueryData::Scalar(value),
        Value::String { value, .. } => QueryData::String(value),
        Value::Vector(samples) => {
            let row = samples.into_iter().map(|sample| VectorRow {
                labels: named(&sample.labels),
                timestamp_ms: sample.timestamp_ms,
                value: match sample.value {
                    SampleValue::Float(value) => RowValue::Float(value),
                    SampleValue::Histogram(value) => histogram(&value),
                },
            });
            QueryData::Vector(row.collect())
        }
        Value::Matrix(series) => QueryData::Matrix(series.iter().map(row).collect()),
    };
    QueryAnswer { data, warnings: answer.warnings, infos: answer.infos }
}

fn row(series: &Points) -> MatrixRow {
    let floats = series.floats.iter().map(|s| (s.timestamp_ms, RowValue::Float(s.value)));
    let histograms = series.histograms.iter().map(|s| (s.timestamp_ms, histogram(&s.value)));
    let mut points: Vec<_> = floats.chain(histograms).collect();
    points.sort_by_key(|(at, _)| *at);
    MatrixRow { labels: named(&series.labels), points }
}

fn histogram(value: &Histogram) -> RowValue {
    let native = Some(Arc::new(native::message(value, 0)));
    RowValue::Histogram { text: value.to_string(), native }
}
