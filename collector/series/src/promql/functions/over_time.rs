//! Functions over the samples of a window, a series at a time.

use std::sync::Arc;

use super::{OverTime, rate};
use crate::{
    Histogram, HistogramMean, HistogramSample, HistogramSum, ResetHint, Sample, StartTime,
    promql::{
        EvalError, SampleValue,
        error::execution,
        eval::{Evaluator, Window, remark},
        kahan::{self, Mean, Sum, Variance},
        plan::Position,
    },
};

/// A window's samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice<'a> {
    pub(crate) window: Window,
    /// The step's time.
    pub(crate) at_ms: i64,
    pub(crate) floats: &'a [Sample],
    pub(crate) histograms: &'a [HistogramSample],
    pub(crate) starts: &'a [StartTime],
}

/// Where notes about a series go.
pub(crate) struct Teller<'a, 'e> {
    pub(crate) evaluator: &'a Evaluator<'e>,
    pub(crate) metric: &'a str,
    pub(crate) position: Position,
}

impl Teller<'_, '_> {
    pub(crate) fn warn(&self, text: impl Fn(&str, Position) -> String) {
        self.evaluator.warn(text(self.metric, self.position));
    }

    pub(crate) fn info(&self, text: impl Fn(&str, Position) -> String) {
        self.evaluator.info(text(self.metric, self.position));
    }
}

/// The function's value on a window that has samples; `params` are its numbers at this step.
pub(crate) fn apply(
    function: OverTime,
    slice: &Slice<'_>,
    params: [f64; 2],
    teller: &Teller<'_, '_>,
) -> Result<Option<SampleValue>, EvalError> {
    use OverTime as F;
    let float = |value| Ok(Some(SampleValue::Float(value)));
    let floats = slice.floats;
    let seconds = |ms: i64| ms as f64 / 1000.0;
    match function {
        F::Count => float((floats.len() + slice.histograms.len()) as f64),
        F::Present => float(1.0),
        F::First => Ok(edge(slice, false)),
        F::Last => Ok(edge(slice, true)),
        F::TsOfFirst => float(seconds(times(slice).0)),
        F::TsOfLast => float(seconds(times(slice).1)),
        F::Changes => float(count_pairs(slice, |pair| pair.changed())),
        F::Resets => float(count_pairs(slice, |pair| pair.reset(slice.starts))),
        F::Irate => Ok(rate::last_two(true, slice, teller)),
        F::Idelta => Ok(rate::last_two(false, slice, teller)),
        F::Rate | F::Increase | F::Delta => {
            let kind = function.rate_kind();
            if !floats.is_empty() && !slice.histograms.is_empty() {
                teller.warn(remark::mixed_floats);
                return Ok(None);
            }
            if floats.is_empty() {
                return Ok(rate::histogram_rate(kind, slice, teller));
            }
            let mut resets = rate::Resets::default();
            resets.find(floats, slice.starts);
            let series = (floats, slice.starts);
            let found = rate::float_rate(kind, series, (0, floats.len()), &resets, slice.window);
            Ok(found.map(SampleValue::Float))
        }
        F::Sum | F::Avg if !floats.is_empty() && !slice.histograms.is_empty() => {
            teller.warn(remark::mixed_floats);
            Ok(None)
        }
        F::Sum | F::Avg if floats.is_empty() => Ok(total(function, slice.histograms, teller)),
        F::Sum => {
            let mut sum = Sum::default();
            floats.iter().for_each(|s| sum.add(s.value));
            float(sum.value())
        }
        F::Avg => {
            let mut mean = Mean::of(floats[0].value);
            floats[1..].iter().for_each(|s| mean.add(s.value));
            float(mean.value())
        }
        F::DoubleExponentialSmoothing => smoothing(slice, params, teller),
        F::Deriv | F::PredictLinear => {
            if floats.len() < 2 {
                if floats.len() == 1 && !slice.histograms.is_empty() {
                    teller.info(remark::ignored_in_range);
                }
                return Ok(None);
            }
            note_histograms(slice, teller);
            let from = if function == F::Deriv { floats[0].timestamp_ms } else { slice.at_ms };
            let (slope, intercept) = regression(floats, from);
            float(if function == F::Deriv { slope } else { slope * params[0] + intercept })
        }
        _ if floats.is_empty() => Ok(None),
        _ => {
            note_histograms(slice, teller);
            float(of_floats(function, floats, params[0], teller))
        }
    }
}

fn note_histograms(slice: &Slice<'_>, teller: &Teller<'_, '_>) {
    if !slice.histograms.is_empty() {
        teller.info(remark::ignored_in_range);
    }
}

/// Functions that look at floats only; there is at least one.
fn of_floats(function: OverTime, floats: &[Sample], q: f64, teller: &Teller<'_, '_>) -> f64 {
    use OverTime as F;
    let values = || floats.iter().map(|s| s.value).collect::<Vec<f64>>();
    match function {
        F::Max => extreme(floats, |new, old| new > old).value,
        F::Min => extreme(floats, |new, old| new < old).value,
        F::TsOfMax => extreme(floats, |new, old| new >= old).timestamp_ms as f64 / 1000.0,
        F::TsOfMin => extreme(floats, |new, old| new <= old).timestamp_ms as f64 / 1000.0,
        F::Stddev | F::Stdvar => {
            let mut variance = Variance::default();
            floats.iter().for_each(|s| variance.add(s.value));
            if function == F::Stddev { variance.value().sqrt() } else { variance.value() }
        }
        F::Mad if floats.iter().any(|s| s.value.is_nan()) => f64::NAN,
        F::Mad => {
            let median = kahan::quantile(0.5, &mut values());
            let mut distances: Vec<f64> = floats.iter().map(|s| (s.value - median).abs()).collect();
            kahan::quantile(0.5, &mut distances)
        }
        _ => {
            if !(0.0..=1.0).contains(&q) {
                teller.warn(|_, position| remark::bad_quantile(q, position));
            }
            kahan::quantile(q, &mut values())
        }
    }
}

/// The sample that is better than all before it; NaN is worse than anything.
fn extreme(floats: &[Sample], better: impl Fn(f64, f64) -> bool) -> Sample {
    let mut best = floats[0];
    for sample in floats {
        if better(sample.value, best.value) || best.value.is_nan() {
            best = *sample;
        }
    }
    best
}

/// Times of the first and the last sample.
fn times(slice: &Slice<'_>) -> (i64, i64) {
    let floats = slice.floats.first().zip(slice.floats.last());
    let floats = floats.map(|(first, last)| (first.timestamp_ms, last.timestamp_ms));
    let histograms = slice.histograms.first().zip(slice.histograms.last());
    let histograms = histograms.map(|(first, last)| (first.timestamp_ms, last.timestamp_ms));
    match (floats, histograms) {
        (Some(f), Some(h)) => (f.0.min(h.0), f.1.max(h.1)),
        (f, h) => f.or(h).unwrap_or_default(),
    }
}

fn edge(slice: &Slice<'_>, last: bool) -> Option<SampleValue> {
    let float = if last { slice.floats.last() } else { slice.floats.first() };
    let histogram = if last { slice.histograms.last() } else { slice.histograms.first() };
    match (float, histogram) {
        (Some(f), Some(h)) if (h.timestamp_ms < f.timestamp_ms) == last => {
            Some(SampleValue::Float(f.value))
        }
        (_, Some(h)) => Some(SampleValue::Histogram(Arc::clone(&h.value))),
        (f, None) => f.map(|f| SampleValue::Float(f.value)),
    }
}

fn total(
    function: OverTime,
    histograms: &[HistogramSample],
    teller: &Teller<'_, '_>,
) -> Option<SampleValue> {
    let hint = |wanted| histograms.iter().any(|h| h.value.reset_hint == wanted);
    let (first, rest) = histograms.split_first()?;
    let mut reconciled = false;
    let mut failed = false;
    let mut note = |result: Result<crate::Combined, crate::HistogramError>| match result {
        Ok(combined) => reconciled |= combined.bounds_reconciled,
        Err(_) => failed = true,
    };
    let value = if function == OverTime::Sum {
        let mut sum = HistogramSum::of(&first.value);
        rest.iter().for_each(|h| note(sum.add(&h.value)));
        sum.finish()
    } else {
        let mut mean = HistogramMean::of(&first.value);
        rest.iter().for_each(|h| note(mean.add(&h.value)));
        mean.finish()
    };
    if failed {
        teller.warn(remark::mixed_schemas);
        return None;
    }
    if hint(ResetHint::Reset) && hint(ResetHint::NotReset) {
        teller.warn(|_, position| remark::reset_collision("aggregation", position));
    }
    if reconciled {
        teller.info(|_, position| remark::reconciled("aggregation", position));
    }
    Some(SampleValue::Histogram(Arc::new(value)))
}

/// A sample of either kind.
#[derive(Clone, Copy)]
enum Either<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

/// Two samples in a row.
struct Pair<'a> {
    before: (i64, Either<'a>),
    after: (i64, Either<'a>),
}

impl Pair<'_> {
    fn changed(&self) -> bool {
        match (self.before.1, self.after.1) {
            (Either::Float(a), Either::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
            (Either::Histogram(a), Either::Histogram(b)) => !a.equals(b),
            _ => true,
        }
    }

    fn reset(&self, starts: &[StartTime]) -> bool {
        let restarted = rate::restarted(starts, self.before.0, self.after.0);
        match (self.before.1, self.after.1) {
            (Either::Float(a), Either::Float(b)) => b < a || restarted,
            (Either::Histogram(a), Either::Histogram(b)) => restarted || b.detect_reset(a),
            _ => true,
        }
    }
}

fn count_pairs(slice: &Slice<'_>, counts: impl Fn(&Pair<'_>) -> bool) -> f64 {
    let mut floats = slice.floats.iter().peekable();
    let mut histograms = slice.histograms.iter().peekable();
    let mut before = None;
    let mut count = 0.0;
    loop {
        let float_first = match (floats.peek(), histograms.peek()) {
            (None, None) => return count,
            (Some(f), Some(h)) => f.timestamp_ms < h.timestamp_ms,
            (float, None) => float.is_some(),
            (None, Some(_)) => false,
        };
        let after = if float_first {
            floats.next().map(|s| (s.timestamp_ms, Either::Float(s.value)))
        } else {
            histograms.next().map(|h| (h.timestamp_ms, Either::Histogram(&h.value)))
        };
        let Some(after) = after else { return count };
        if let Some(before) = before.replace(after)
            && counts(&Pair { before, after })
        {
            count += 1.0;
        }
    }
}

/// Double exponential smoothing (Holt): level and trend.
fn smoothing(
    slice: &Slice<'_>,
    [smoothing, trend]: [f64; 2],
    teller: &Teller<'_, '_>,
) -> Result<Option<SampleValue>, EvalError> {
    for (name, factor, short) in [("smoothing", smoothing, "sf"), ("trend", trend, "tf")] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(execution(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}"
            )));
        }
    }
    let floats = slice.floats;
    if floats.len() < 2 {
        if floats.len() == 1 && !slice.histograms.is_empty() {
            teller.info(remark::ignored_in_range);
        }
        return Ok(None);
    }
    note_histograms(slice, teller);
    let mut before = 0.0;
    let mut level = floats[0].value;
    let mut slope = floats[1].value - floats[0].value;
    for (at, sample) in floats.iter().enumerate().skip(1) {
        if at > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let smoothed = smoothing * sample.value + (1.0 - smoothing) * (level + slope);
        before = std::mem::replace(&mut level, smoothed);
    }
    Ok(Some(SampleValue::Float(level)))
}

/// Least squares: slope per second, and the value at `from_ms`.
fn regression(floats: &[Sample], from_ms: i64) -> (f64, f64) {
    let first = floats[0].value;
    if floats.iter().all(|s| s.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x, mut y, mut xy, mut x2) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for sample in floats {
        let time = (sample.timestamp_ms - from_ms) as f64 / 1000.0;
        x.add(time);
        y.add(sample.value);
        xy.add(time * sample.value);
        x2.add(time * time);
    }
    let plain = |sum: Sum| sum.sum + sum.lost;
    let (x, y, xy, x2) = (plain(x), plain(y), plain(xy), plain(x2));
    let count = floats.len() as f64;
    let slope = (xy - x * y / count) / (x2 - x * x / count);
    (slope, y / count - slope * x / count)
}
