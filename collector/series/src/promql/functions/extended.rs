//! `anchored` and `smoothed` range selectors: the ends of a window are samples, too.
//!
//! Anchored, the last sample before a window stands at its beginning and nothing is extrapolated. Smoothed, values at
//! both ends are interpolated between the samples around them. So the change of a counter is that between its ends.
//!
//! ```text
//! samples   a ·····(·· b ····· c ···]··· d        ( ] the window, counter without resets
//! anchored  a stands at (, c at ]                 c − a
//! smoothed  between a and b, between c and d
//! ```

use std::sync::Arc;

use super::{
    over_time::{Slice, Teller},
    rate::RateKind,
};
use crate::{
    Histogram, HistogramError, ResetHint,
    promql::{
        SampleValue,
        eval::{Window, remark},
    },
};

/// Which samples of a series the ends of a window are taken from.
struct Ends {
    /// The first sample that matters: the last one at or before the beginning, if there is one.
    first: usize,
    /// The last one: with smoothing the first at or after the end.
    last: usize,
    /// The value at the beginning lies between `first` and the next sample: this far.
    left: Option<f64>,
    /// The value at the end lies between the sample before `last` and `last`: this far.
    right: Option<f64>,
}

impl Ends {
    fn find(times: &[i64], window: Window, smoothed: bool) -> Option<Self> {
        let end = times.len().checked_sub(1)?;
        let first = times[..end].partition_point(|t| *t <= window.from_ms).saturating_sub(1);
        let last = if smoothed { times[..end].partition_point(|t| *t < window.to_ms) } else { end };
        if times[last] <= window.from_ms || times[first] > window.to_ms {
            return None;
        }
        let between =
            |a: usize, b: usize, at: i64| (at - times[a]) as f64 / (times[b] - times[a]) as f64;
        let left = (smoothed && times[first] < window.from_ms && first < end)
            .then(|| between(first, first + 1, window.from_ms));
        let right = (smoothed && last > 0 && times[last] > window.to_ms)
            .then(|| between(last - 1, last, window.to_ms));
        Some(Self { first, last, left, right })
    }

    /// Pairs of samples between which a reset counts: one that the left end lies within is past.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let from = self.first + usize::from(self.left.is_some());
        (from..self.last).map(|at| (at, at + 1))
    }
}

/// The change of a window; `slice` reaches beyond `window` by the lookback.
pub(crate) fn rate(
    kind: RateKind,
    smoothed: bool,
    slice: &Slice<'_>,
    window: Window,
    teller: &Teller<'_, '_>,
) -> Option<SampleValue> {
    if !slice.floats.is_empty() && !slice.histograms.is_empty() {
        teller.warn(remark::mixed_floats);
        return None;
    }
    let seconds = (window.to_ms - window.from_ms) as f64 / 1000.0;
    if slice.histograms.is_empty() {
        let change = float_change(kind, smoothed, slice, window)?;
        return Some(SampleValue::Float(if kind.per_second { change / seconds } else { change }));
    }
    let gauge = |hint: ResetHint| hint == ResetHint::Gauge;
    let hints = || slice.histograms.iter().map(|h| h.value.reset_hint);
    match histogram_change(kind, smoothed, slice, window) {
        Err(_) => {
            teller.warn(remark::mixed_schemas);
            None
        }
        Ok(change) => {
            let mut change = change?;
            if kind.counter && hints().any(gauge) {
                teller.warn(remark::not_counter);
            } else if !kind.counter && !hints().all(gauge) {
                teller.warn(remark::not_gauge);
            }
            if kind.per_second {
                change.div(seconds);
            }
            Some(SampleValue::Histogram(Arc::new(change)))
        }
    }
}

fn float_change(kind: RateKind, smoothed: bool, slice: &Slice<'_>, window: Window) -> Option<f64> {
    let floats = slice.floats;
    let times: Vec<i64> = floats.iter().map(|s| s.timestamp_ms).collect();
    let ends = Ends::find(&times, window, smoothed)?;
    let between = |a: usize, part: f64| {
        let (from, to) = (floats[a].value, floats[a + 1].value);
        let from = if kind.counter && to < from { 0.0 } else { from };
        from + (to - from) * part
    };
    let left = ends.left.map_or(floats[ends.first].value, |part| between(ends.first, part));
    let right = ends.right.map_or(floats[ends.last].value, |part| between(ends.last - 1, part));
    let resets = ends.pairs().filter(|_| kind.counter);
    let resets = resets.filter(|(a, b)| floats[*b].value < floats[*a].value);
    Some(resets.fold(right - left, |change, (a, _)| change + floats[a].value))
}

fn histogram_change(
    kind: RateKind,
    smoothed: bool,
    slice: &Slice<'_>,
    window: Window,
) -> Result<Option<Histogram>, HistogramError> {
    let samples = slice.histograms;
    let times: Vec<i64> = samples.iter().map(|h| h.timestamp_ms).collect();
    let Some(ends) = Ends::find(&times, window, smoothed) else { return Ok(None) };
    let value = |at: usize| samples[at].value.as_ref();
    let left = match ends.left {
        Some(part) => between(value(ends.first), value(ends.first + 1), part, kind.counter)?,
        None => value(ends.first).clone(),
    };
    let mut change = match ends.right {
        Some(part) => between(value(ends.last - 1), value(ends.last), part, kind.counter)?,
        None => value(ends.last).clone(),
    };
    change.sub(&left)?;
    for (a, b) in ends.pairs().filter(|_| kind.counter) {
        if value(b).detect_reset(value(a)) {
            change.add(value(a))?;
        }
    }
    change.reset_hint = ResetHint::Gauge;
    Ok(Some(change.compact(0)))
}

/// A histogram that far between two; after a reset it rises from nothing.
pub(crate) fn between(
    a: &Histogram,
    b: &Histogram,
    part: f64,
    counter: bool,
) -> Result<Histogram, HistogramError> {
    let mut rise = b.clone();
    if counter && b.detect_reset(a) {
        // What does not go together does not, reset or not.
        rise.clone().sub(a)?;
        rise.mul(part);
        return Ok(rise);
    }
    rise.sub(a)?;
    rise.mul(part);
    let mut value = a.clone();
    value.add(&rise)?;
    value.reset_hint = b.reset_hint;
    Ok(value)
}

/// The samples of an anchored window from its anchor on: the last sample at or before its beginning.
pub(crate) fn from_anchor<'a>(slice: &Slice<'a>, window: Window) -> Option<Slice<'a>> {
    let floats = slice.floats.partition_point(|s| s.timestamp_ms <= window.from_ms);
    let histograms = slice.histograms.partition_point(|h| h.timestamp_ms <= window.from_ms);
    if floats == slice.floats.len() && histograms == slice.histograms.len() {
        return None;
    }
    let float = floats.checked_sub(1).map(|at| slice.floats[at].timestamp_ms);
    let histogram = histograms.checked_sub(1).map(|at| slice.histograms[at].timestamp_ms);
    let float_is_anchor = float > histogram;
    let histogram_is_anchor = histogram > float;
    Some(Slice {
        floats: &slice.floats[floats - usize::from(float_is_anchor)..],
        histograms: &slice.histograms[histograms - usize::from(histogram_is_anchor)..],
        ..*slice
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let times = [0, 10, 20, 30];
        let window = Window { from_ms: 5, to_ms: 25 };
        for (smoothed, first, last, left, right) in
            [(false, 0, 3, None, None), (true, 0, 3, Some(0.5), Some(0.5))]
        {
            let found =
                Ends::find(&times, window, smoothed).map(|e| (e.first, e.last, e.left, e.right));
            assert_eq!(found, Some((first, last, left, right)));
        }
        assert!(Ends::find(&[0, 4], window, false).is_none());
        assert!(Ends::find(&[], window, true).is_none());
    }
}
