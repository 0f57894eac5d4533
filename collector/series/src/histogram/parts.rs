//! A histogram taken apart, so that another can be added: buckets as lists of indexed counts, made alike before they
//! are merged (the wider zero bucket, the coarser schema, the bounds that both have).

use super::{Histogram, HistogramError, ResetHint, bound, custom, span, tally::Tally};

/// What happened on the way of combining two histograms; PromQL reports both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Combined {
    /// One said that there was a counter reset, the other that there was none.
    pub reset_collision: bool,
    /// Custom bounds differed: only those that both have are left.
    pub bounds_reconciled: bool,
}

impl Combined {
    /// Either of both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            reset_collision: self.reset_collision || other.reset_collision,
            bounds_reconciled: self.bounds_reconciled || other.bounds_reconciled,
        }
    }
}

/// Bucket indexes, rising, and what is in them.
pub(super) type Cells<T> = Vec<(i64, T)>;

#[derive(Debug, Clone)]
pub(super) struct Parts<T> {
    pub(super) reset_hint: ResetHint,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero: T,
    pub(super) count: T,
    pub(super) sum: T,
    pub(super) positive: Cells<T>,
    pub(super) negative: Cells<T>,
    pub(super) custom_values: Vec<f64>,
}

impl<T: Tally> Parts<T> {
    pub(super) fn of(histogram: &Histogram) -> Self {
        let side =
            |spans, buckets| span::cells(spans, buckets).map(|(i, c)| (i, T::of(c))).collect();
        Self {
            reset_hint: histogram.reset_hint,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero: T::of(histogram.zero_count),
            count: T::of(histogram.count),
            sum: T::of(histogram.sum),
            positive: side(&histogram.positive_spans, &histogram.positive_buckets),
            negative: side(&histogram.negative_spans, &histogram.negative_buckets),
            custom_values: histogram.custom_values.clone(),
        }
    }

    pub(super) fn into_histogram(self) -> Histogram {
        let side = |cells: Cells<T>| span::pack(cells.into_iter().map(|(i, t)| (i, t.value())));
        let (positive_spans, positive_buckets) = side(self.positive);
        let (negative_spans, negative_buckets) = side(self.negative);
        Histogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values,
        }
    }

    /// Adds `sign` (1 or −1) times `other`. On an error nothing has changed.
    pub(super) fn combine(
        &mut self,
        other: &Histogram,
        sign: f64,
    ) -> Result<Combined, HistogramError> {
        if (self.schema == super::CUSTOM_SCHEMA) != other.is_custom() {
            return Err(HistogramError::MixedSchemas);
        }
        for threshold in [self.zero_threshold, other.zero_threshold] {
            if threshold.is_nan() || threshold < 0.0 {
                return Err(HistogramError::ZeroThreshold(threshold));
            }
        }
        let reset_collision = combine_hints(&mut self.reset_hint, other.reset_hint);
        let mut other = Parts::<f64>::of(other);
        let bounds_reconciled = if self.schema == super::CUSTOM_SCHEMA {
            self.meet_bounds(&mut other)
        } else {
            self.meet_zero_and_schema(&mut other);
            false
        };
        self.zero = self.zero.plus(sign * other.zero);
        self.count = self.count.plus(sign * other.count);
        self.sum = self.sum.plus(sign * other.sum);
        merge(&mut self.positive, &other.positive, sign);
        merge(&mut self.negative, &other.negative, sign);
        Ok(Combined { reset_collision, bounds_reconciled })
    }

    fn meet_bounds(&mut self, other: &mut Parts<f64>) -> bool {
        if custom::same(&self.custom_values, &other.custom_values) {
            return false;
        }
        let common = custom::intersect(&self.custom_values, &other.custom_values);
        self.rebucket(&common);
        other.rebucket(&common);
        true
    }

    /// Moves custom buckets to fewer bounds.
    pub(super) fn rebucket(&mut self, common: &[f64]) {
        let cells = std::mem::take(&mut self.positive);
        let target = |index| {
            let upper = bound::upper(index, self.schema, &self.custom_values);
            common.partition_point(|bound| *bound < upper) as i64
        };
        self.positive = regrouped(cells, target);
        self.custom_values = common.to_vec();
    }

    fn meet_zero_and_schema(&mut self, other: &mut Parts<f64>) {
        while self.zero_threshold != other.zero_threshold {
            if self.zero_threshold < other.zero_threshold {
                self.widen_zero(other.zero_threshold);
            } else {
                other.widen_zero(self.zero_threshold);
            }
        }
        let coarser = self.schema.min(other.schema);
        self.reduce(coarser);
        other.reduce(coarser);
    }

    /// Lets the zero bucket swallow what lies below `threshold`. A populated bucket that lies across it is swallowed
    /// whole, so the threshold may become larger still.
    pub(super) fn widen_zero(&mut self, mut threshold: f64) {
        let upper = |index| bound::upper(index, self.schema, &[]);
        let cells = || self.positive.iter().chain(&self.negative);
        while let Some(across) = cells()
            .filter(|(index, tally)| {
                tally.value() != 0.0 && upper(index - 1) < threshold && threshold < upper(*index)
            })
            .map(|(index, _)| upper(*index))
            .reduce(f64::max)
        {
            threshold = across;
        }
        let schema = self.schema;
        for cells in [&mut self.positive, &mut self.negative] {
            let outside =
                cells.partition_point(|(i, _)| bound::upper(i - 1, schema, &[]) < threshold);
            for (_, tally) in cells.drain(..outside) {
                self.zero = self.zero.join(tally);
            }
        }
        self.zero_threshold = threshold;
    }

    pub(super) fn reduce(&mut self, schema: i32) {
        let by = self.schema - schema;
        if by > 0 {
            self.positive = reduced(std::mem::take(&mut self.positive), by);
            self.negative = reduced(std::mem::take(&mut self.negative), by);
            self.schema = schema;
        }
    }
}

/// Cells of a schema that is `by` steps coarser: 2^`by` buckets become one.
pub(super) fn reduced<T: Tally>(cells: Cells<T>, by: i32) -> Cells<T> {
    regrouped(cells, |index| ((index - 1) >> by.min(40)) + 1)
}

fn regrouped<T: Tally>(cells: Cells<T>, target: impl Fn(i64) -> i64) -> Cells<T> {
    let mut wide: Cells<T> = Vec::with_capacity(cells.len());
    for (index, tally) in cells {
        let index = target(index);
        match wide.last_mut() {
            Some((last, sum)) if *last == index => *sum = sum.join(tally),
            _ => wide.push((index, tally)),
        }
    }
    wide
}

fn merge<T: Tally>(into: &mut Cells<T>, from: &[(i64, f64)], sign: f64) {
    let mut from = from.iter().map(|(index, count)| (*index, sign * count)).peekable();
    let mut merged = Vec::with_capacity(into.len() + from.len());
    for (index, tally) in into.drain(..) {
        while let Some((new, count)) = from.next_if(|(other, _)| *other < index) {
            merged.push((new, T::of(count)));
        }
        let both = from.next_if(|(other, _)| *other == index);
        merged.push((index, both.map_or(tally, |(_, count)| tally.plus(count))));
    }
    merged.extend(from.map(|(index, count)| (index, T::of(count))));
    *into = merged;
}

/// The hint of a sum; whether the two contradict each other.
pub(super) fn combine_hints(hint: &mut ResetHint, other: ResetHint) -> bool {
    use ResetHint::{Gauge, Unknown};
    let (sum, collision) = match (*hint, other) {
        (one, same) if one == same => (one, false),
        (Gauge, _) | (_, Gauge) => (Gauge, false),
        (Unknown, _) | (_, Unknown) => (Unknown, false),
        _ => (Unknown, true),
    };
    *hint = sum;
    collision
}
