//! Sums, differences and multiples of histograms.

use super::{
    Histogram, HistogramError, ResetHint,
    parts::{Combined, Parts, combine_hints},
};

impl Histogram {
    /// Adds `other` to this one. Where they differ, the wider zero bucket, the coarser schema or the common custom
    /// bounds hold for the sum. The result is not compacted.
    ///
    /// The reset hint is that of both; of a gauge and a counter the sum is a gauge, and what contradicts itself is
    /// unknown and reported.
    ///
    /// # Errors
    /// When one has custom buckets and the other has not; then nothing has changed.
    pub fn add(&mut self, other: &Self) -> Result<Combined, HistogramError> {
        self.combine(other, 1.0)
    }

    /// Subtracts `other`. The hint is that of [`Self::add`]; PromQL's minus makes a gauge of it afterwards.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn sub(&mut self, other: &Self) -> Result<Combined, HistogramError> {
        self.combine(other, -1.0)
    }

    /// Multiplies every count and the sum. A negative factor makes a gauge of it.
    pub fn mul(&mut self, factor: f64) {
        self.scale(factor, |value| value * factor);
    }

    /// Divides every count and the sum; by 0 they are infinite or NaN. A negative divisor makes a gauge of it.
    pub fn div(&mut self, divisor: f64) {
        self.scale(divisor, |value| value / divisor);
    }

    fn scale(&mut self, by: f64, scaled: impl Fn(f64) -> f64) {
        for value in [&mut self.zero_count, &mut self.count, &mut self.sum] {
            *value = scaled(*value);
        }
        for value in self.positive_buckets.iter_mut().chain(&mut self.negative_buckets) {
            *value = scaled(*value);
        }
        if by < 0.0 {
            self.reset_hint = ResetHint::Gauge;
        }
    }

    fn combine(&mut self, other: &Self, sign: f64) -> Result<Combined, HistogramError> {
        if !self.has_layout_of(other) {
            let mut parts = Parts::<f64>::of(self);
            let combined = parts.combine(other, sign)?;
            *self = parts.into_histogram();
            return Ok(combined);
        }
        let reset_collision = combine_hints(&mut self.reset_hint, other.reset_hint);
        self.zero_count += sign * other.zero_count;
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        for (own, others) in [
            (&mut self.positive_buckets, &other.positive_buckets),
            (&mut self.negative_buckets, &other.negative_buckets),
        ] {
            own.iter_mut().zip(others).for_each(|(own, other)| *own += sign * other);
        }
        Ok(Combined { reset_collision, bounds_reconciled: false })
    }

    /// Whether the same counts stand for the same buckets in both.
    pub(super) fn has_layout_of(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && self.custom_values == other.custom_values
            && self.positive_buckets.len() == other.positive_buckets.len()
            && self.negative_buckets.len() == other.negative_buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    fn close(one: &Histogram, other: &Histogram) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()));
        let (one, other) = (one.buckets(), other.buckets());
        let populated = |b: &&super::super::Bucket| b.count.abs() > 1e-9;
        let (one, other): (Vec<_>, Vec<_>) =
            (one.iter().filter(populated).collect(), other.iter().filter(populated).collect());
        one.len() == other.len()
            && one
                .iter()
                .zip(&other)
                .all(|(a, b)| a.lower == b.lower && a.upper == b.upper && near(a.count, b.count))
    }

    proptest! {
        /// Whatever the two look like: nothing is lost, it does not matter which comes first, and minus undoes plus.
        #[test]
        fn sums(one in testing::exponential(), other in testing::exponential()) {
            let (mut ab, mut ba) = (one.clone(), other.clone());
            prop_assert!(ab.add(&other).is_ok() && ba.add(&one).is_ok());
            prop_assert!(close(&ab, &ba), "{ab:?}\n{ba:?}");
            let total = |h: &Histogram| h.buckets().iter().map(|b| b.count).sum::<f64>();
            prop_assert!((total(&ab) - total(&one) - total(&other)).abs() < 1e-6);
            prop_assert_eq!(ab.schema, one.schema.min(other.schema));
            prop_assert!(ab.zero_threshold >= one.zero_threshold.max(other.zero_threshold));
            let mut back = ab.clone();
            back.sub(&other).expect("same kind");
            let mut alike = one.clone();
            let mut nothing = other.clone();
            nothing.mul(0.0);
            alike.add(&nothing).expect("same kind");
            if alike.zero_threshold == back.zero_threshold {
                prop_assert!(close(&back, &alike), "{back:?}\n{alike:?}");
            }
        }

        #[test]
        fn custom_sums(one in testing::custom(), other in testing::custom()) {
            let (mut ab, mut ba) = (one.clone(), other.clone());
            let happened = ab.add(&other).expect("custom both");
            ba.add(&one).expect("custom both");
            prop_assert!(close(&ab, &ba));
            prop_assert_eq!(happened.bounds_reconciled, one.custom_values != other.custom_values);
            for bound in &ab.custom_values {
                let below = |h: &Histogram| -> f64 {
                    h.positive().filter(|b| b.upper <= *bound).map(|b| b.count).sum()
                };
                prop_assert!((below(&ab) - below(&one) - below(&other)).abs() < 1e-6);
            }
        }

        #[test]
        fn kinds_do_not_mix(one in testing::exponential(), other in testing::custom()) {
            let mut sum = one.clone();
            prop_assert_eq!(sum.add(&other), Err(HistogramError::MixedSchemas));
            prop_assert_eq!(&sum, &one);
            let mut sum = other.clone();
            prop_assert_eq!(sum.sub(&one), Err(HistogramError::MixedSchemas));
        }
    }

    #[test]
    fn hints() {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        for (one, other, sum, collision) in [
            (Unknown, Unknown, Unknown, false),
            (Gauge, Reset, Gauge, false),
            (NotReset, Gauge, Gauge, false),
            (NotReset, NotReset, NotReset, false),
            (NotReset, Unknown, Unknown, false),
            (Reset, NotReset, Unknown, true),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let mut h = Histogram { reset_hint: one, ..Histogram::default() };
                let other = Histogram { reset_hint: other, ..Histogram::default() };
                assert_eq!(h.add(&other).map(|c| c.reset_collision), Ok(collision));
                assert_eq!(h.reset_hint, sum);
            }
        }
        let mut negated = Histogram { reset_hint: NotReset, ..Histogram::default() };
        negated.mul(2.0);
        assert_eq!(negated.reset_hint, NotReset);
        negated.div(-2.0);
        assert_eq!(negated.reset_hint, Gauge);
    }
}
