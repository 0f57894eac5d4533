//! Selectors whose ends are read in another way: drives `functions/extended.rs`.

use std::sync::Arc;

use super::{Cursor, Evaluator, Series, Sink, Window, remark};
use crate::{
    METRIC_NAME, Points,
    promql::{
        EvalError, SampleValue,
        error::execution,
        functions::{
            OverTime, extended,
            over_time::{self, Slice, Teller},
        },
        plan::{Ends, Node, Position, Selector, What},
        row::{Row, Steps},
    },
    query::is_stale,
};

/// How the ends of a range vector are read.
pub(super) fn ends_of(node: &Node) -> Ends {
    match &node.bare().what {
        What::Range(selector, _) => selector.ends,
        _ => Ends::Plain,
    }
}

/// Whether a function makes sense of such ends; functions with others are refused, whatever the series.
pub(super) fn check(ends: Ends, function: Option<OverTime>, name: &str) -> Result<(), EvalError> {
    use OverTime::{Changes, Delta, Increase, Rate, Resets};
    let (word, fine, list) = match ends {
        Ends::Plain => return Ok(()),
        Ends::Anchored => (
            "anchored",
            matches!(function, Some(Changes | Delta | Increase | Rate | Resets)),
            "changes, delta, increase, rate, resets",
        ),
        Ends::Smoothed => {
            ("smoothed", matches!(function, Some(Delta | Increase | Rate)), "delta, increase, rate")
        }
    };
    if fine {
        return Ok(());
    }
    Err(execution(format!("{word} modifier can only be used with: {list} - not with {name}")))
}

impl Evaluator<'_> {
    /// Fills a row from a series whose windows reach beyond the real ones by the lookback.
    pub(super) fn extended_row(
        &self,
        row: &mut Row,
        function: OverTime,
        ends: Ends,
        (series, windows): (&Series<'_>, &[Window]),
        steps: Steps,
        teller: &Teller<'_, '_>,
    ) -> Result<(), EvalError> {
        let mut cursor = Cursor::default();
        let lookback = self.options.lookback_ms;
        let after = if ends == Ends::Smoothed { lookback } else { 0 };
        for step in 0..windows.len() {
            let Some((wide, floats, histograms)) = cursor.next(series, windows, step) else {
                continue;
            };
            let window = Window {
                from_ms: wide.from_ms.saturating_add(lookback),
                to_ms: wide.to_ms.saturating_sub(after),
            };
            let slice = Slice {
                window,
                at_ms: steps.at(step),
                floats: &series.floats[floats],
                histograms: &series.histograms[histograms],
                starts: series.starts,
            };
            let value = if matches!(function, OverTime::Changes | OverTime::Resets) {
                match extended::from_anchor(&slice, window) {
                    Some(slice) => over_time::apply(function, &slice, [0.0; 2], teller)?,
                    None => None,
                }
            } else {
                let smoothed = ends == Ends::Smoothed;
                extended::rate(function.rate_kind(), smoothed, &slice, window, teller)
            };
            row.set(step, value);
        }
        Ok(())
    }

    /// `metric smoothed`: values between samples.
    pub(super) fn select_smoothed(
        &self,
        selector: &Selector,
        position: Position,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let lookback = self.options.lookback_ms;
        let times: Vec<i64> = steps.times().map(|t| self.time(selector.when, t)).collect();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return Ok(()) };
        let from = first.saturating_sub(lookback).saturating_add(1);
        let to = last.saturating_add(lookback);
        let mut row = Row::default();
        self.read(&selector.matchers, from, to, &mut |labels, points| {
            points.floats.retain(|s| !is_stale(s.value));
            points.histograms.retain(|h| !is_stale(h.value.sum));
            row.reset(labels, false, steps.count);
            let metric = labels.get(METRIC_NAME).unwrap_or_default();
            let teller = Teller { evaluator: self, metric, position };
            for (step, &at) in times.iter().enumerate() {
                row.set(step, smoothed(points, at, lookback, &teller));
            }
            if row.is_empty() { Ok(()) } else { sink(&mut row) }
        })
    }
}

fn smoothed(
    points: &Points,
    at: i64,
    lookback: i64,
    teller: &Teller<'_, '_>,
) -> Option<SampleValue> {
    let (from, to) = (at.saturating_sub(lookback), at.saturating_add(lookback));
    let start = points.floats.partition_point(|s| s.timestamp_ms <= from);
    let floats = &points.floats[start..points.floats.partition_point(|s| s.timestamp_ms <= to)];
    let start = points.histograms.partition_point(|h| h.timestamp_ms <= from);
    let end = points.histograms.partition_point(|h| h.timestamp_ms <= to);
    let histograms = &points.histograms[start..end];
    if !floats.is_empty() && !histograms.is_empty() {
        teller.warn(remark::mixed_floats);
        return None;
    }
    let part = |a: i64, b: i64| (at - a) as f64 / (b - a) as f64;
    if histograms.is_empty() {
        let next = floats.partition_point(|s| s.timestamp_ms <= at);
        let before = floats[next.checked_sub(1)?];
        let value = match floats.get(next) {
            Some(next) if before.timestamp_ms < at => {
                let part = part(before.timestamp_ms, next.timestamp_ms);
                before.value + (next.value - before.value) * part
            }
            _ => before.value,
        };
        return Some(SampleValue::Float(value));
    }
    let next = histograms.partition_point(|h| h.timestamp_ms <= at);
    let before = &histograms[next.checked_sub(1)?];
    match histograms.get(next) {
        Some(next) if before.timestamp_ms < at => {
            let part = part(before.timestamp_ms, next.timestamp_ms);
            match extended::between(&before.value, &next.value, part, true) {
                Ok(value) => Some(SampleValue::Histogram(Arc::new(value))),
                Err(_) => {
                    teller.warn(remark::mixed_schemas);
                    None
                }
            }
        }
        _ => Some(SampleValue::Histogram(before.value.clone())),
    }
}
