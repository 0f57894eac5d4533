//! Range vectors: the samples of each series over the whole query, once, and the window of each step.
//!
//! A window is open on the left: `x[5m]` at noon has the samples after 11:55 and up to 12:00. A subquery is evaluated
//! once, at multiples of its step since 1970, and its results are the samples.

use std::ops::Range;

use super::{Evaluator, answer};
use crate::{
    HistogramSample, Labels, Points, Sample, StartTime,
    promql::{
        EvalError,
        error::execution,
        plan::{Ends, Node, Subquery, What, When},
        row::Steps,
    },
    query::is_stale,
};

/// The bounds of a step's window: after `from_ms`, up to `to_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

/// One series of a range vector, with all samples that any window may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series<'a> {
    pub(crate) labels: &'a Labels,
    /// A subquery's expression had dropped the name.
    pub(crate) drop_name: bool,
    pub(crate) floats: &'a [Sample],
    pub(crate) histograms: &'a [HistogramSample],
    pub(crate) starts: &'a [StartTime],
}

/// Takes a series and the windows.
pub(crate) type Each<'e> = dyn FnMut(Series<'_>, &[Window]) -> Result<(), EvalError> + 'e;

impl Evaluator<'_> {
    /// Pushes the series of a range vector.
    pub(super) fn matrix(
        &self,
        node: &Node,
        steps: Steps,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        match &node.what {
            What::Paren(inner) => self.matrix(inner, steps, each),
            What::Range(selector, range_ms) => {
                let mut windows = self.windows(selector.when, *range_ms, steps);
                if selector.ends != Ends::Plain {
                    let lookback = self.options.lookback_ms;
                    let after = if selector.ends == Ends::Smoothed { lookback } else { 0 };
                    for window in &mut windows {
                        window.from_ms = window.from_ms.saturating_sub(lookback);
                        window.to_ms = window.to_ms.saturating_add(after);
                    }
                }
                let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
                    return Ok(());
                };
                let from_ms = first.from_ms.saturating_add(1);
                self.read(&selector.matchers, from_ms, last.to_ms, &mut |labels, points| {
                    points.floats.retain(|s| !is_stale(s.value));
                    points.histograms.retain(|h| !is_stale(h.value.sum));
                    each(whole(labels, false, points), &windows)
                })
            }
            What::Subquery(subquery) => self.subquery(subquery, steps, each),
            _ => Err(execution("expected a range vector")),
        }
    }

    fn subquery(
        &self,
        subquery: &Subquery,
        steps: Steps,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        let windows = self.windows(subquery.when, subquery.range_ms, steps);
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(()) };
        let step_ms = subquery.step_ms.unwrap_or(self.options.subquery_step_ms).max(1);
        let start_ms = first.from_ms.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
        if start_ms > last.to_ms {
            return Ok(());
        }
        let count = (last.to_ms.abs_diff(start_ms) / step_ms.unsigned_abs()).saturating_add(1);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > self.options.samples_max {
            return Err(EvalError::SamplesMax(self.options.samples_max));
        }
        let inner = Steps { start_ms, step_ms, count };
        // The times, and a row and its samples while they are looked at.
        self.hold(count.saturating_mul(3))?;
        let times: Vec<i64> = inner.times().collect();
        // Steps leave samples out: what is known from one to the next is of no use.
        self.asking(false, || {
            self.rows(&subquery.expr, inner, &mut |row| {
                let points = answer::points(row, &times);
                each(whole(&row.labels, row.drop_name, &points), &windows)
            })
        })?;
        self.release(count.saturating_mul(3));
        Ok(())
    }

    fn windows(&self, when: When, range_ms: i64, steps: Steps) -> Vec<Window> {
        let window = |step_ms| {
            let to_ms = self.time(when, step_ms);
            Window { from_ms: to_ms.saturating_sub(range_ms), to_ms }
        };
        steps.times().map(window).collect()
    }

    /// The samples of a range vector at one time, as an answer.
    pub(super) fn points(&self, node: &Node) -> Result<Vec<Points>, EvalError> {
        super::extended::check(super::extended::ends_of(node), None, "a range vector")?;
        let mut found: Vec<(bool, Points)> = Vec::new();
        self.matrix(node, self.steps, &mut |series, windows| {
            let mut cursor = Cursor::default();
            let Some((_, floats, histograms)) = cursor.next(&series, windows, 0) else {
                return Ok(());
            };
            self.hold(floats.len() + histograms.len())?;
            let points = Points {
                labels: series.labels.clone(),
                floats: series.floats[floats].to_vec(),
                histograms: series.histograms[histograms].to_vec(),
                starts: Vec::new(),
            };
            found.push((series.drop_name, points));
            Ok(())
        })?;
        let mut all = Vec::with_capacity(found.len());
        for (drop_name, mut points) in found {
            if drop_name {
                points.labels = answer::without_metadata(&points.labels);
            }
            if !(points.floats.is_empty() && points.histograms.is_empty()) {
                all.push(points);
            }
        }
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        if all.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
            return Err(execution("vector cannot contain metrics with the same labelset"));
        }
        Ok(all)
    }
}

fn whole<'a>(labels: &'a Labels, drop_name: bool, points: &'a Points) -> Series<'a> {
    Series {
        labels,
        drop_name,
        floats: &points.floats,
        histograms: &points.histograms,
        starts: &points.starts,
    }
}

/// Where the windows of a series are in its samples. Windows rise or stand still, so that each step looks only at what
/// is new.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    floats: Range<usize>,
    histograms: Range<usize>,
}

impl Cursor {
    /// The samples of the step's window; nothing when there are none.
    #[inline]
    pub(crate) fn next(
        &mut self,
        series: &Series<'_>,
        windows: &[Window],
        step: usize,
    ) -> Option<(Window, Range<usize>, Range<usize>)> {
        let window = windows[step];
        slide(&mut self.floats, series.floats, window, |s| s.timestamp_ms);
        slide(&mut self.histograms, series.histograms, window, |h| h.timestamp_ms);
        let empty = self.floats.is_empty() && self.histograms.is_empty();
        (!empty).then(|| (window, self.floats.clone(), self.histograms.clone()))
    }
}

#[inline]
fn slide<T>(range: &mut Range<usize>, samples: &[T], window: Window, time: impl Fn(&T) -> i64) {
    while samples.get(range.end).is_some_and(|s| time(s) <= window.to_ms) {
        range.end += 1;
    }
    while range.start < range.end && time(&samples[range.start]) <= window.from_ms {
        range.start += 1;
    }
}
