//! Instant vector selectors: at each step the newest sample that is not too old.

use super::{Evaluator, Sink};
use crate::{
    Labels, Matcher, Points, SeriesError,
    promql::{
        EvalError,
        plan::Selector,
        row::{Row, Steps},
    },
    query::is_stale,
};

impl Evaluator<'_> {
    /// Reads series and counts what was read.
    pub(super) fn read(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
        each: &mut dyn FnMut(&Labels, &mut Points) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let left = self.options.samples_max.saturating_sub(self.read.get());
        let mut failed = None;
        self.check_stop()?;
        let read = self.source.select(matchers, from_ms, to_ms, left, &mut |labels, points| {
            let count = points.floats.len() + points.histograms.len();
            self.read.set(self.read.get().saturating_add(count));
            self.check_stop().and_then(|()| each(labels, points)).map_err(|e| {
                failed = Some(e);
                SeriesError::Stopped
            })
        });
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(SeriesError::SamplesMax(_))) => {
                Err(EvalError::SamplesMax(self.options.samples_max))
            }
            (None, Err(error)) => Err(error.into()),
            (None, Ok(())) => Ok(()),
        }
    }

    pub(super) fn select(
        &self,
        selector: &Selector,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let lookback = self.options.lookback_ms;
        let times: Vec<i64> = steps.times().map(|t| self.time(selector.when, t)).collect();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        let from = first.saturating_sub(lookback).saturating_add(1);
        let mut row = Row::default();
        self.read(&selector.matchers, from, last, &mut |labels, points| {
            row.reset(labels, false, steps.count);
            fill(&mut row, points, &times, lookback, |_, value| value);
            if row.is_empty() { Ok(()) } else { sink(&mut row) }
        })
    }

    /// As `select`, but the samples' own times in seconds instead of their values.
    pub(super) fn select_times(
        &self,
        selector: &Selector,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let lookback = self.options.lookback_ms;
        let times: Vec<i64> = steps.times().map(|t| self.time(selector.when, t)).collect();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        let from = first.saturating_sub(lookback).saturating_add(1);
        let mut row = Row::default();
        self.read(&selector.matchers, from, last, &mut |labels, points| {
            row.reset(labels, true, steps.count);
            let seconds = |ms: i64| ms as f64 / 1000.0;
            fill(&mut row, points, &times, lookback, |at, _| seconds(at));
            for (step, &time) in times.iter().enumerate() {
                let newest = points.histograms.iter().rev().find(|h| h.timestamp_ms <= time);
                if let (Some(newest), true) = (newest, row.has(step)) {
                    let histogram = row.histograms.get(step).is_some_and(Option::is_some);
                    if histogram {
                        row.clear(step);
                        row.floats[step] = seconds(newest.timestamp_ms);
                    }
                }
            }
            row.histograms.clear();
            if row.is_empty() { Ok(()) } else { sink(&mut row) }
        })
    }
}

/// Puts into each step the newest sample at or before its time and after its time less the lookback.
fn fill(
    row: &mut Row,
    points: &Points,
    times: &[i64],
    lookback_ms: i64,
    value: impl Fn(i64, f64) -> f64,
) {
    let mut float = 0;
    let mut histogram = 0;
    for (step, &time) in times.iter().enumerate() {
        // Times rise or stand still.
        while points.floats.get(float).is_some_and(|s| s.timestamp_ms <= time) {
            float += 1;
        }
        while points.histograms.get(histogram).is_some_and(|h| h.timestamp_ms <= time) {
            histogram += 1;
        }
        let sample = float.checked_sub(1).map(|at| points.floats[at]);
        let newest = histogram.checked_sub(1).map(|at| &points.histograms[at]);
        let oldest = time.saturating_sub(lookback_ms);
        match (sample, newest) {
            (sample, Some(newest))
                if newest.timestamp_ms > oldest
                    && sample.is_none_or(|s| s.timestamp_ms < newest.timestamp_ms) =>
            {
                row.set_histogram(step, newest.value.clone());
            }
            (Some(sample), _) if sample.timestamp_ms > oldest && !is_stale(sample.value) => {
                row.floats[step] = value(sample.timestamp_ms, sample.value);
            }
            _ => {}
        }
    }
}
