//! Instant vector selectors: at each step the newest sample that is not too old.

use std::sync::Arc;

use super::{Evaluator, Sink};
use crate::{
    Histogram, HistogramSample, Labels, Matcher, Points, ResetHint, SeriesError,
    promql::{
        EvalError,
        plan::Selector,
        row::{Cell, Row, Steps},
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
            if self.parts_only.get() {
                resolve_hints(&mut points.histograms);
            }
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
        self.select_of(selector, steps, sink, &|_, at_ms| Some(at_ms))
    }

    /// As `select`, but when the samples' counters began, in seconds, where that is known.
    pub(super) fn select_starts(
        &self,
        selector: &Selector,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        self.select_of(selector, steps, sink, &|points, at_ms| {
            let found = points.starts.binary_search_by_key(&at_ms, |s| s.timestamp_ms);
            // A series that has none at all does not know of them.
            let known = !points.starts.is_empty();
            known.then(|| found.map_or(0, |at| points.starts[at].start_ms))
        })
    }

    /// A time that each sample has, in seconds.
    fn select_of(
        &self,
        selector: &Selector,
        steps: Steps,
        sink: &mut Sink<'_>,
        time: &dyn Fn(&Points, i64) -> Option<i64>,
    ) -> Result<(), EvalError> {
        let lookback = self.options.lookback_ms;
        let times: Vec<i64> = steps.times().map(|t| self.time(selector.when, t)).collect();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        let from = first.saturating_sub(lookback).saturating_add(1);
        let (mut row, mut found) = (Row::default(), Row::default());
        self.read(&selector.matchers, from, last, &mut |labels, points| {
            row.reset(labels, true, steps.count);
            found.reset(labels, true, steps.count);
            // The positions of the samples, as if they were their values.
            fill(&mut found, points, &times, lookback, |at, _| at as f64);
            for (step, &at) in times.iter().enumerate() {
                let of_histogram = || {
                    let before = points.histograms.partition_point(|h| h.timestamp_ms <= at);
                    Some(points.histograms[before.checked_sub(1)?].timestamp_ms)
                };
                let sample_ms = match found.cell(step) {
                    Cell::Absent => None,
                    Cell::Float(at) => Some(at as i64),
                    Cell::Histogram(_) => of_histogram(),
                };
                if let Some(ms) = sample_ms.and_then(|ms| time(points, ms)) {
                    row.floats[step] = ms as f64 / 1000.0;
                }
            }
            if row.is_empty() { Ok(()) } else { sink(&mut row) }
        })
    }
}

/// Says of each histogram but the first whether there was a reset before it, where that is not known. Prometheus does so
/// where only count and sum of histograms are asked, and there alone: the warning about resets that contradict each
/// other follows from it.
fn resolve_hints(histograms: &mut [HistogramSample]) {
    for at in 1..histograms.len() {
        let (before, rest) = histograms.split_at_mut(at);
        let (Some(before), Some(sample)) = (before.last(), rest.first_mut()) else { return };
        if sample.value.reset_hint == ResetHint::Unknown {
            let reset = sample.value.detect_reset(&before.value);
            let hint = if reset { ResetHint::Reset } else { ResetHint::NotReset };
            Arc::make_mut(&mut sample.value).reset_hint = hint;
        }
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
    let mut before = None;
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
                let skipped = before.map(|before| histogram - 1 - before);
                row.set_histogram(step, as_follower(&newest.value, skipped));
                before = Some(histogram - 1);
            }
            (Some(sample), _) if sample.timestamp_ms > oldest && !is_stale(sample.value) => {
                row.floats[step] = value(sample.timestamp_ms, sample.value);
            }
            _ => {}
        }
    }
}

/// A histogram whose hint is about the sample before it, after another one: the one `skipped` places before (none:
/// there was none, 0: itself).
fn as_follower(value: &Arc<Histogram>, skipped: Option<usize>) -> Arc<Histogram> {
    let hint = match (value.reset_hint, skipped) {
        (ResetHint::Reset, Some(0)) => ResetHint::NotReset,
        (ResetHint::Reset | ResetHint::NotReset, Some(2..)) => ResetHint::Unknown,
        _ => return Arc::clone(value),
    };
    Arc::new(Histogram { reset_hint: hint, ..value.as_ref().clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::{Engine, Expr, MemorySeries};

    /// Where only parts are asked, hints are made on the way, so that resets that contradict each other are seen.
    #[test]
    fn hints_of_parts() -> Result<(), Box<dyn std::error::Error>> {
        let mut memory = MemorySeries::new();
        let mut points = Points { labels: Labels::new([("__name__", "h")]), ..Points::default() };
        for (timestamp_ms, count) in [(10_000, 1.0), (20_000, 3.0), (30_000, 2.0)] {
            let value = Arc::new(Histogram { count, ..Histogram::default() });
            points.histograms.push(HistogramSample { timestamp_ms, value });
        }
        memory.insert(points);
        for (text, warnings) in [
            ("sum_over_time(h[1m])", 0),
            ("histogram_count(sum_over_time(h[1m]))", 1),
            ("histogram_sum(sum_over_time(h[1m]))", 1),
            ("histogram_count(sum_over_time(h[1m:10s]))", 0),
            ("histogram_quantile(0.5, sum_over_time(h[1m]))", 0),
        ] {
            let expr = Expr::parse(text)?;
            let answer = Engine::default().instant(&memory, &expr, 30_000, &|| false)?;
            assert_eq!(answer.warnings.len(), warnings, "{text}: {:?}", answer.warnings);
        }
        Ok(())
    }
}
