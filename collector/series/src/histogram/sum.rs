//! Sums and means of many histograms without loss by rounding (Neumaier), for PromQL's `sum`, `avg` and their
//! `_over_time` forms.

use super::{
    Histogram, HistogramError,
    parts::{Combined, Parts},
    tally::{Compensated, Tally},
};

/// A sum that more histograms are added to.
#[derive(Debug, Clone)]
pub struct HistogramSum(Parts<Compensated>);

impl HistogramSum {
    /// A sum of one.
    #[must_use]
    pub fn of(first: &Histogram) -> Self {
        Self(Parts::of(first))
    }

    /// Adds one.
    ///
    /// # Errors
    /// As [`Histogram::add`]; then the sum has not changed.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        self.0.combine(other, 1.0)
    }

    /// The sum; not compacted.
    #[must_use]
    pub fn finish(self) -> Histogram {
        self.0.into_histogram()
    }

    fn has_overflow(&self) -> bool {
        let Parts { zero, count, sum, positive, negative, .. } = &self.0;
        [zero, count, sum]
            .into_iter()
            .chain(positive.iter().chain(negative).map(|(_, tally)| tally))
            .any(|tally| tally.value().is_infinite())
    }

    fn change(&mut self, change: impl Fn(f64) -> f64) {
        let Parts { zero, count, sum, positive, negative, .. } = &mut self.0;
        [zero, count, sum]
            .into_iter()
            .chain(positive.iter_mut().chain(negative).map(|(_, tally)| tally))
            .for_each(|tally| *tally = tally.map(&change));
    }
}

/// A mean that more histograms enter: a sum that is divided at the end, or, once that would overflow, a mean that is
/// kept up to date.
#[derive(Debug, Clone)]
pub struct HistogramMean {
    number: f64,
    sum: HistogramSum,
    incremental: bool,
}

impl HistogramMean {
    /// The mean of one.
    #[must_use]
    pub fn of(first: &Histogram) -> Self {
        Self { number: 1.0, sum: HistogramSum::of(first), incremental: false }
    }

    /// Takes one in.
    ///
    /// # Errors
    /// As [`Histogram::add`]; then the mean has not changed.
    pub fn add(&mut self, other: &Histogram) -> Result<Combined, HistogramError> {
        if !self.incremental {
            let mut sum = self.sum.clone();
            let combined = sum.add(other)?;
            if !sum.has_overflow() {
                self.sum = sum;
                self.number += 1.0;
                return Ok(combined);
            }
            let number = self.number;
            self.sum.change(|value| value / number);
            self.incremental = true;
        }
        let mut share = other.clone();
        share.div(self.number + 1.0);
        let mut mean = self.sum.clone();
        let keep = self.number / (self.number + 1.0);
        mean.change(|value| value * keep);
        let combined = mean.add(&share)?;
        self.sum = mean;
        self.number += 1.0;
        Ok(combined)
    }

    /// The mean; not compacted.
    #[must_use]
    pub fn finish(mut self) -> Histogram {
        if !self.incremental {
            let number = self.number;
            self.sum.change(|value| value / number);
        }
        self.sum.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    fn of_sum(sum: f64, count: f64) -> Histogram {
        Histogram { sum, count, ..Histogram::default() }
    }

    #[test]
    fn nothing_is_lost_beside_large_numbers() {
        let values = [1.0, 1e100, 1.0, -1e100];
        let mut sum = HistogramSum::of(&of_sum(values[0], 1.0));
        let mut mean = HistogramMean::of(&of_sum(values[0], 1.0));
        for value in &values[1..] {
            sum.add(&of_sum(*value, 1.0)).expect("alike");
            mean.add(&of_sum(*value, 1.0)).expect("alike");
        }
        assert_eq!(sum.finish(), of_sum(2.0, 4.0));
        assert_eq!(mean.finish(), of_sum(0.5, 1.0));
    }

    #[test]
    fn a_mean_does_not_overflow() {
        let mut mean = HistogramMean::of(&of_sum(5.0, f64::MAX));
        for _ in 0..3 {
            mean.add(&of_sum(1.0, f64::MAX)).expect("alike");
        }
        let mean = mean.finish();
        assert!((mean.count / f64::MAX - 1.0).abs() < 1e-12);
        assert!((mean.sum - 2.0).abs() < 1e-12);
    }

    proptest! {
        /// As plain addition, since small whole numbers lose nothing.
        #[test]
        fn as_added(all in prop::collection::vec(testing::exponential(), 1..6)) {
            let mut plain = all[0].clone();
            let mut sum = HistogramSum::of(&all[0]);
            let mut mean = HistogramMean::of(&all[0]);
            for one in &all[1..] {
                let happened = plain.add(one);
                prop_assert_eq!(sum.add(one), happened.clone());
                prop_assert_eq!(mean.add(one), happened);
            }
            prop_assert!(sum.finish().equals(&plain));
            plain.div(all.len() as f64);
            prop_assert!(mean.finish().equals(&plain));
        }
    }
}
