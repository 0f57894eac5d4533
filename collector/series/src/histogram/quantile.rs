//! What a histogram says about its observations: quantiles, fractions, variance.
//!
//! Within a bucket observations are taken to lie evenly on a logarithmic scale, which suits exponential buckets; in
//! custom buckets and in the zero bucket, evenly. A zero bucket beside buckets of one sign only is taken to hold that
//! sign only. (Prometheus 3's rules.)

use super::{
    Bucket, Histogram,
    tally::{Compensated, Tally},
};

/// What NaN observations did to a quantile; PromQL reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanNote {
    /// The quantile lies among them, so it is NaN.
    Result,
    /// They rank above all numbers, so the quantile is higher than that of the numbers.
    Skew,
}

/// A quantile, and what to say about it.
#[derive(Debug, Clone, Copy)]
pub struct Quantile {
    /// The value below which the asked share of the observations lies.
    pub value: f64,
    /// Set when the histogram has NaN observations.
    pub note: Option<NanNote>,
}

/// A share of the observations, and what to say about it.
#[derive(Debug, Clone, Copy)]
pub struct Fraction {
    /// Within 0..=1.
    pub value: f64,
    /// Whether there are NaN observations, which are in no range.
    pub has_nan: bool,
}

impl Histogram {
    /// The value below which `q` (0..=1) of the observations lie. −Inf below 0, +Inf above 1, NaN without observations.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Quantile {
        let sure = |value| Quantile { value, note: None };
        if q < 0.0 {
            return sure(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return sure(f64::INFINITY);
        }
        if self.count == 0.0 || q.is_nan() {
            return sure(f64::NAN);
        }
        // NaN observations are in the count and in no bucket: they rank above all, so the rank is counted from below.
        let upwards = self.sum.is_nan() || q < 0.5;
        let rank = if upwards { q } else { 1.0 - q } * self.count;
        let buckets = self.buckets();
        let Some((mut bucket, reached)) = at_rank(&buckets, rank, upwards) else {
            return self.beyond_all_buckets(0.0);
        };
        let reached = reached.min(self.count);
        if !self.is_custom() {
            self.narrow_zero(&mut bucket);
        } else if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return sure(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return sure(bucket.lower);
        }
        if reached < rank {
            return self.beyond_all_buckets(bucket.upper);
        }
        let inside = if upwards { rank - (reached - bucket.count) } else { reached - rank };
        let has_nan = self.sum.is_nan() && in_buckets(&buckets) < self.count;
        let value = self.interpolated(&bucket, inside / bucket.count);
        Quantile { value, note: has_nan.then_some(NanNote::Skew) }
    }

    fn beyond_all_buckets(&self, upper: f64) -> Quantile {
        if self.sum.is_nan() {
            Quantile { value: f64::NAN, note: Some(NanNote::Result) }
        } else {
            Quantile { value: upper, note: None }
        }
    }

    /// The share of the observations within `lower..upper`; NaN without observations or with a NaN bound.
    #[must_use]
    pub fn fraction(&self, lower: f64, upper: f64) -> Fraction {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return Fraction { value: f64::NAN, has_nan: false };
        }
        if lower >= upper {
            return Fraction { value: 0.0, has_nan: false };
        }
        let buckets = self.buckets();
        let mut count = self.count;
        if self.sum.is_nan() {
            count = in_buckets(&buckets);
        }
        let [below, within] = [lower, upper].map(|value| self.rank_of(value, &buckets).min(count));
        let has_nan = self.sum.is_nan() && count < self.count;
        Fraction { value: (within - below) / self.count, has_nan }
    }

    /// How many observations lie below `value`.
    fn rank_of(&self, value: f64, buckets: &[Bucket]) -> f64 {
        let mut rank = 0.0;
        for bucket in buckets {
            let mut bucket = *bucket;
            let around_zero = self.narrow_zero(&mut bucket);
            if bucket.lower >= value {
                return rank;
            }
            if bucket.upper > value {
                let linear = self.is_custom() || around_zero;
                return match bucket.lower {
                    f64::NEG_INFINITY => bucket.count,
                    _ => rank + bucket.count * share_below(value, &bucket, linear),
                };
            }
            rank += bucket.count;
        }
        f64::INFINITY
    }

    /// Population variance, with every observation at the middle of its bucket: the geometric one in exponential
    /// buckets, 0 in the zero bucket.
    #[must_use]
    pub fn stdvar(&self) -> f64 {
        let mean = self.avg();
        let mut sum = Compensated::of(0.0);
        for bucket in self.buckets().iter().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.is_custom() {
                f64::midpoint(bucket.upper, bucket.lower)
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
            };
            let off = middle - mean;
            sum = sum.plus(bucket.count * off * off);
        }
        sum.value() / self.count
    }

    /// Population standard deviation: see [`Self::stdvar`].
    #[must_use]
    pub fn stddev(&self) -> f64 {
        self.stdvar().sqrt()
    }

    /// Takes a zero bucket to be of one sign where all others are; whether it is one.
    pub(super) fn narrow_zero(&self, bucket: &mut Bucket) -> bool {
        if bucket.lower > 0.0 || bucket.upper < 0.0 {
            return false;
        }
        match (self.negative_buckets.is_empty(), self.positive_buckets.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
        true
    }

    fn interpolated(&self, bucket: &Bucket, share: f64) -> f64 {
        let Bucket { lower, upper, .. } = *bucket;
        if self.is_custom() || (lower <= 0.0 && upper >= 0.0) {
            return lower + (upper - lower) * share;
        }
        let (low, high) = (lower.abs().log2(), upper.abs().log2());
        if lower > 0.0 {
            (low + (high - low) * share).exp2()
        } else {
            -(high + (low - high) * (1.0 - share)).exp2()
        }
    }
}

/// The bucket in which `rank` observations are reached, coming from the lowest or from the highest, and how many
/// there are up to and with it; the last one when there are fewer.
fn at_rank(buckets: &[Bucket], rank: f64, upwards: bool) -> Option<(Bucket, f64)> {
    let mut reached = 0.0;
    let mut at = None;
    for step in 0..buckets.len() {
        let bucket = buckets[if upwards { step } else { buckets.len() - 1 - step }];
        at = Some(bucket);
        if bucket.count == 0.0 {
            continue;
        }
        reached += bucket.count;
        if reached >= rank {
            break;
        }
    }
    at.map(|bucket| (bucket, reached))
}

fn in_buckets(buckets: &[Bucket]) -> f64 {
    buckets.iter().map(|bucket| bucket.count).sum()
}

/// The share of a bucket that lies below `value`, which is in it.
pub(super) fn share_below(value: f64, bucket: &Bucket, linear: bool) -> f64 {
    let Bucket { lower, upper, .. } = *bucket;
    if linear {
        return (value - lower) / (upper - lower);
    }
    let [lower, upper, at] = [lower, upper, value].map(|bound| bound.abs().log2());
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    fn parse(text: &str) -> Histogram {
        Histogram::parse(text).expect(text)
    }

    #[test]
    fn quantiles() {
        let zero = "{{count:12 sum:100 z_bucket:2 z_bucket_w:0.001 buckets:[2 3 0 1 4]}}";
        let custom = "{{schema:-53 sum:5 count:4 custom_values:[5 10] buckets:[1 2 1]}}";
        let below = "{{schema:-53 sum:5 count:2 custom_values:[-5 10] buckets:[2]}}";
        let half = "{{count:4 sum:6 buckets:[0 4]}}";
        for (text, q, value) in [
            (zero, -0.1, f64::NEG_INFINITY),
            (zero, 1.1, f64::INFINITY),
            (zero, 0.0, 0.0),
            (zero, 0.1, 0.0006),
            (zero, 1.0, 16.0),
            (custom, 0.5, 7.5),
            (custom, 1.0, 10.0),
            (custom, 0.125, 2.5),
            (below, 0.5, -5.0),
            (half, 0.5, 2_f64.sqrt()),
        ] {
            let found = parse(text).quantile(q).value;
            assert!(found == value || (found - value).abs() < 1e-12, "{text} {q}: {found}");
        }
        assert!(parse("{{}}").quantile(0.5).value.is_nan());
        assert!(parse(zero).quantile(f64::NAN).value.is_nan());
    }

    #[test]
    fn nan_observations() {
        let some = parse("{{count:15 sum:NaN buckets:[12]}}");
        assert_eq!(some.quantile(0.8).value, 1.0);
        assert_eq!(some.quantile(0.8).note, Some(NanNote::Skew));
        assert_eq!(some.quantile(0.81).note, Some(NanNote::Result));
        assert!(some.quantile(0.81).value.is_nan());
        let all = some.fraction(f64::NEG_INFINITY, f64::INFINITY);
        assert!(all.value == 0.8 && all.has_nan);
        let infinite = parse("{{count:12 sum:NaN buckets:[12]}}");
        assert_eq!(infinite.quantile(0.5).note, None);
        assert!(!infinite.fraction(0.0, 1.0).has_nan);
    }

    #[test]
    fn deviation() {
        let low = parse("{{schema:2 count:4 sum:10 buckets:[1 0 0 0 1 0 0 1 1]}}");
        assert!((low.stddev() - 1.078_799_318_004_381).abs() < 1e-12);
        let negative = parse("{{count:10 sum:-100 n_buckets:[0 0 0 0 10]}}");
        assert!((negative.stdvar() - 1.725_830_020_304_794).abs() < 1e-9);
        assert!(parse("{{count:7 sum:NaN z_bucket:7}}").stdvar().is_nan());
        assert!(parse("{{}}").stddev().is_nan());
    }

    proptest! {
        /// A quantile rises with what is asked for, lies within the buckets, and the fraction below it is what was
        /// asked for, except on the flat parts between populated buckets.
        #[test]
        fn quantile_and_fraction_are_inverse(histogram in testing::exponential(), raw: (u8, u8)) {
            prop_assume!(histogram.count > 0.0);
            let ask = |raw: u8| f64::from(raw) / 255.0;
            let (low, high) = (ask(raw.0.min(raw.1)), ask(raw.0.max(raw.1)));
            let value = histogram.quantile(high).value;
            prop_assert!(histogram.quantile(low).value <= value * (1.0 + 1e-12f64.copysign(value)));
            let around = |by: f64| {
                let near = value + by * value.abs().max(1e-200);
                histogram.fraction(f64::NEG_INFINITY, near).value
            };
            prop_assert!(around(-1e-9) <= high + 1e-6 && high <= around(1e-9) + 1e-6, "{value} {high}");
        }

        #[test]
        fn fractions_add_up(histogram in testing::custom(), bounds: (i8, i8)) {
            prop_assume!(histogram.count > 0.0);
            let (low, high) = (f64::from(bounds.0.min(bounds.1)) / 16.0, f64::from(bounds.0.max(bounds.1)) / 16.0);
            let part = |from, to| histogram.fraction(from, to).value;
            let whole = part(low, f64::INFINITY);
            if high > low {
                prop_assert!((part(low, high) + part(high, f64::INFINITY) - whole).abs() < 1e-9);
            }
            prop_assert!((0.0..=1.0 + 1e-12).contains(&whole));
        }
    }
}
