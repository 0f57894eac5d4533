//! `rate`, `increase`, `delta`, `irate`, `idelta`: how fast a window's samples change.
//!
//! The change between first and last sample is extrapolated to the window's ends where samples come close to them, and
//! a counter not below zero (Prometheus's rule since 2.x).

use std::sync::Arc;

use crate::{
    Histogram, HistogramSample, ResetHint, Sample, StartTime,
    promql::{
        SampleValue,
        eval::{Window, remark},
    },
};

use super::over_time::{Slice, Teller};

/// What distinguishes the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateKind {
    pub(crate) counter: bool,
    pub(crate) per_second: bool,
}

/// Indexes of the floats before which a counter was reset, found once per series.
#[derive(Debug, Default)]
pub(crate) struct Resets(Vec<usize>);

impl Resets {
    pub(crate) fn find(&mut self, floats: &[Sample], starts: &[StartTime]) {
        self.0.clear();
        for (at, pair) in floats.windows(2).enumerate() {
            if pair[1].value < pair[0].value
                || restarted(starts, pair[0].timestamp_ms, pair[1].timestamp_ms)
            {
                self.0.push(at + 1);
            }
        }
    }

    /// What the counter had reached before the resets within a window of floats.
    fn correction(&self, floats: &[Sample], from: usize, to: usize, change: f64) -> f64 {
        if self.0.is_empty() {
            return change;
        }
        let first = self.0.partition_point(|at| *at <= from);
        let within = self.0[first..].iter().take_while(|at| **at < to);
        within.fold(change, |sum, at| sum + floats[at - 1].value)
    }
}

fn start_of(starts: &[StartTime], timestamp_ms: i64) -> i64 {
    let found = starts.binary_search_by_key(&timestamp_ms, |s| s.timestamp_ms);
    found.map_or(0, |at| starts[at].start_ms)
}

/// Whether a sample's start time says that the counter was reset since the sample before.
pub(crate) fn restarted(starts: &[StartTime], before_ms: i64, at_ms: i64) -> bool {
    if starts.is_empty() {
        return false;
    }
    let start = start_of(starts, at_ms);
    if start == 0 || start >= at_ms || start < before_ms {
        return false;
    }
    // A start at the sample before: a delta series, unless the start before that is unknown.
    let known = start_of(starts, before_ms);
    start > before_ms || (known != 0 && known < before_ms)
}

/// Whether a sample's start time contradicts the sample before.
pub(crate) fn overlaps(starts: &[StartTime], before_ms: i64, at_ms: i64) -> bool {
    let start = start_of(starts, at_ms);
    start != 0 && start < before_ms && start != start_of(starts, before_ms)
}

/// When the first sample's counter began, if that lies within the window: there it was zero.
fn zero_at(kind: RateKind, starts: &[StartTime], first_ms: i64, window: Window) -> Option<i64> {
    if !kind.counter || starts.is_empty() {
        return None;
    }
    let start = start_of(starts, first_ms);
    (start != 0 && start > window.from_ms && start < first_ms).then_some(start)
}

/// Extrapolated change of floats `from..to` within the window.
#[inline]
pub(crate) fn float_rate(
    kind: RateKind,
    (floats, starts): (&[Sample], &[StartTime]),
    (from, to): (usize, usize),
    resets: &Resets,
    window: Window,
) -> Option<f64> {
    let count = to - from;
    if count == 0 || (count == 1 && starts.is_empty()) {
        return None;
    }
    let (first, last) = (floats[from], floats[to - 1]);
    let known = zero_at(kind, starts, first.timestamp_ms, window);
    if count == 1 && known.is_none() {
        return None;
    }
    let mut change = last.value - if known.is_some() { 0.0 } else { first.value };
    if kind.counter {
        change = resets.correction(floats, from, to, change);
    }
    let zero = (kind.counter && change > 0.0 && first.value >= 0.0).then(|| first.value / change);
    let sampled = Sampled {
        from_ms: known.unwrap_or(first.timestamp_ms),
        to_ms: last.timestamp_ms,
        average: average(first.timestamp_ms, last.timestamp_ms, count),
        zero: if known.is_some() { Some(0.0) } else { zero },
    };
    Some(change * sampled.factor(kind, window))
}

/// Seconds between samples.
fn average(first_ms: i64, last_ms: i64, count: usize) -> f64 {
    if count < 2 { 0.0 } else { seconds(last_ms - first_ms) / (count - 1) as f64 }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// The part of a window that has samples.
struct Sampled {
    from_ms: i64,
    to_ms: i64,
    /// Seconds between samples.
    average: f64,
    /// How many times its length before its beginning the counter was zero.
    zero: Option<f64>,
}

impl Sampled {
    /// By what its change is multiplied to get that of the window.
    #[inline]
    fn factor(&self, kind: RateKind, window: Window) -> f64 {
        let sampled = seconds(self.to_ms - self.from_ms);
        let threshold = self.average * 1.1;
        let mut to_start = seconds(self.from_ms - window.from_ms);
        let mut to_end = seconds(window.to_ms - self.to_ms);
        if to_start >= threshold {
            to_start = self.average / 2.0;
        }
        if let Some(zero) = self.zero {
            let to_zero = sampled * zero;
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= threshold {
            to_end = self.average / 2.0;
        }
        let factor = (sampled + to_start + to_end) / sampled;
        if kind.per_second { factor / seconds(window.to_ms - window.from_ms) } else { factor }
    }
}

/// Extrapolated change of a window's histograms.
pub(crate) fn histogram_rate(
    kind: RateKind,
    slice: &Slice<'_>,
    teller: &Teller<'_, '_>,
) -> Option<SampleValue> {
    let samples = slice.histograms;
    let (first, last) = (samples.first()?, samples.last()?);
    let known = zero_at(kind, slice.starts, first.timestamp_ms, slice.window);
    if samples.len() == 1 && known.is_none() {
        return None;
    }
    let mut change = histogram_change(kind.counter, known.is_some(), slice, teller)?;
    let counted = kind.counter && change.count > 0.0 && first.value.count >= 0.0;
    let zero = counted.then(|| first.value.count / change.count);
    let sampled = Sampled {
        from_ms: known.unwrap_or(first.timestamp_ms),
        to_ms: last.timestamp_ms,
        average: average(first.timestamp_ms, last.timestamp_ms, samples.len()),
        zero: if known.is_some() { Some(0.0) } else { zero },
    };
    change.mul(sampled.factor(kind, slice.window));
    Some(SampleValue::Histogram(Arc::new(change)))
}

fn histogram_change(
    counter: bool,
    from_zero: bool,
    slice: &Slice<'_>,
    teller: &Teller<'_, '_>,
) -> Option<Histogram> {
    let (samples, starts) = (slice.histograms, slice.starts);
    let (first, last) = (samples.first()?, samples.last()?);
    let is_reset = |before: &HistogramSample, after: &HistogramSample, value: &Histogram| {
        restarted(starts, before.timestamp_ms, after.timestamp_ms)
            || after.value.detect_reset(value)
    };
    // When the counter was reset right after it, the first sample does not count, nor its layout.
    let second = samples.get(1).unwrap_or(first);
    let skipped = counter && samples.len() > 1 && is_reset(first, second, &first.value);
    let like = if from_zero { first } else { second };
    let nothing = Histogram {
        schema: like.value.schema,
        custom_values: like.value.custom_values.clone(),
        ..Histogram::default()
    };
    let base: &Histogram = if from_zero || skipped { &nothing } else { &first.value };
    let custom = base.is_custom();
    let inner = samples.get(1..samples.len() - 1).unwrap_or_default();
    let gauge = |s: &HistogramSample| s.value.reset_hint == ResetHint::Gauge;
    if counter && samples.iter().any(gauge) {
        teller.warn(remark::not_counter);
    }
    let mixed = last.value.is_custom() != custom
        || counter && inner.iter().any(|s| s.value.is_custom() != custom);
    if mixed {
        teller.warn(remark::mixed_schemas);
        return None;
    }
    let mut change = last.value.as_ref().clone();
    let tell =
        |combined: Result<crate::Combined, crate::HistogramError>, during: &str| match combined {
            Ok(combined) => {
                if combined.bounds_reconciled {
                    teller.info(|_, position| remark::reconciled(during, position));
                }
                Some(())
            }
            Err(_) => {
                teller.warn(remark::mixed_schemas);
                None
            }
        };
    if counter {
        let coarsest = inner.iter().map(|s| s.value.schema).chain([base.schema]).min()?;
        if coarsest < change.schema && !custom {
            change.reduce_resolution(coarsest).ok()?;
        }
    }
    tell(change.sub(base), "subtraction")?;
    if counter {
        let mut before = if from_zero { &first.value } else { base };
        for pair in samples.windows(2) {
            if is_reset(&pair[0], &pair[1], before) {
                tell(change.add(before), "addition")?;
            }
            before = &pair[1].value;
        }
    } else if !gauge(first) || !gauge(last) {
        teller.warn(remark::not_gauge);
    }
    change.reset_hint = ResetHint::Gauge;
    Some(change.compact(0))
}

/// The change between the last two samples, floats or histograms.
pub(crate) fn last_two(
    per_second: bool,
    slice: &Slice<'_>,
    teller: &Teller<'_, '_>,
) -> Option<SampleValue> {
    enum Value<'a> {
        Float(f64),
        Histogram(&'a Histogram),
    }
    let floats = slice.floats.iter().rev().take(2).map(|s| (s.timestamp_ms, Value::Float(s.value)));
    let histograms = slice.histograms.iter().rev().take(2);
    let histograms = histograms.map(|h| (h.timestamp_ms, Value::Histogram(&h.value)));
    let mut newest: Vec<(i64, Value<'_>)> = floats.chain(histograms).collect();
    newest.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let [(after_ms, after), (before_ms, before), ..] = newest.as_slice() else { return None };
    let seconds = (after_ms - before_ms) as f64 / 1000.0;
    let restart = restarted(slice.starts, *before_ms, *after_ms);
    match (before, after) {
        (Value::Float(before), Value::Float(after)) => {
            let reset = per_second && (after < before || restart);
            let change = if reset { *after } else { after - before };
            Some(SampleValue::Float(if per_second { change / seconds } else { change }))
        }
        (Value::Histogram(before), Value::Histogram(after)) => {
            let gauges = [before, after].map(|h| h.reset_hint == ResetHint::Gauge);
            if per_second && gauges.contains(&true) {
                teller.warn(remark::not_counter);
            }
            if !per_second && gauges.contains(&false) {
                teller.warn(remark::not_gauge);
            }
            let mut change = (*after).clone();
            if !per_second || !(restart || after.detect_reset(before)) {
                match change.sub(before) {
                    Ok(combined) if combined.bounds_reconciled => {
                        teller.info(|_, position| remark::reconciled("subtraction", position));
                    }
                    Ok(_) => {}
                    Err(_) => {
                        teller.warn(remark::mixed_schemas);
                        return None;
                    }
                }
            }
            change.reset_hint = ResetHint::Gauge;
            let mut change = change.compact(0);
            if per_second {
                change.div(seconds);
            }
            Some(SampleValue::Histogram(Arc::new(change)))
        }
        _ => {
            teller.warn(remark::mixed_floats);
            None
        }
    }
}
