//! What is left of a histogram below or above a value (PromQL's `</` and `>/`).
//!
//! A bucket across the value is divided as quantiles divide it; a bucket without an end is not divided. The sum cannot
//! be known: it is estimated anew, from the middle of each bucket, as soon as anything is cut off.

use super::{Bucket, Histogram, quantile::share_below};

/// Which part stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

/// The part of a bucket that stays: how much is in it, and where it lies on average.
struct Kept {
    count: f64,
    middle: f64,
}

impl Histogram {
    /// The observations up to `value` (`histogram </ value`); not compacted.
    #[must_use]
    pub fn trim_above(&self, value: f64) -> Self {
        self.trim(value, Keep::Below)
    }

    /// The observations from `value` on (`histogram >/ value`); not compacted.
    #[must_use]
    pub fn trim_below(&self, value: f64) -> Self {
        self.trim(value, Keep::Above)
    }

    fn trim(&self, value: f64, keep: Keep) -> Self {
        let mut trimmed = self.clone();
        let (mut count, mut sum, mut cut) = (0.0, 0.0, false);
        let mut keep_of = |bucket: Bucket| -> f64 {
            if bucket.count == 0.0 {
                return 0.0;
            }
            let kept = self.part(bucket, value, keep);
            count += kept.count;
            if kept.count != 0.0 {
                sum += kept.count * kept.middle;
            }
            cut |= kept.count != bucket.count;
            kept.count
        };
        let positive: Vec<_> = self.positive().map(&mut keep_of).collect();
        let negative: Vec<_> = self.negative().map(&mut keep_of).collect();
        let zero = keep_of(self.zero_bucket());
        if cut {
            (trimmed.positive_buckets, trimmed.negative_buckets) = (positive, negative);
            (trimmed.zero_count, trimmed.count, trimmed.sum) = (zero, count, sum);
        }
        trimmed
    }

    fn part(&self, mut bucket: Bucket, value: f64, keep: Keep) -> Kept {
        let around_zero = if !self.is_custom() {
            self.narrow_zero(&mut bucket)
        } else {
            // Like a classic histogram's: its first bucket begins at 0 if it ends above.
            if bucket.lower == f64::NEG_INFINITY
                && bucket.upper > 0.0
                && bucket.upper.is_finite()
                && value >= 0.0
            {
                bucket.lower = 0.0;
            }
            false
        };
        let Bucket { lower, upper, count, .. } = bucket;
        let linear = self.is_custom() || around_zero;
        let all = |middle| Kept { count, middle };
        let nothing = Kept { count: 0.0, middle: 0.0 };
        // The one end that a bucket without the other has stands for all that is in it.
        if lower == f64::NEG_INFINITY || upper == f64::INFINITY {
            return match keep {
                Keep::Below if value == f64::INFINITY => all(lower),
                Keep::Above if value == f64::NEG_INFINITY => all(upper),
                Keep::Below if upper <= 0.0 && value > f64::NEG_INFINITY => all(upper.min(value)),
                Keep::Above if upper == f64::INFINITY && lower.is_finite() && value < upper => {
                    all(lower.max(value))
                }
                _ => nothing,
            };
        }
        let whole = match keep {
            Keep::Below => upper <= value,
            Keep::Above => lower >= value,
        };
        if whole {
            return all(middle(lower, upper, linear));
        }
        let within = lower < value && value < upper;
        match keep {
            Keep::Below if within => Kept {
                count: count * share_below(value, &bucket, linear),
                middle: middle(lower, value, linear),
            },
            Keep::Above if within => Kept {
                count: count * (1.0 - share_below(value, &bucket, linear)),
                middle: middle(value, upper, linear),
            },
            _ => nothing,
        }
    }
}

fn middle(lower: f64, upper: f64, linear: bool) -> f64 {
    if linear { f64::midpoint(lower, upper) } else { (lower * upper).sqrt().copysign(upper) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    #[test]
    fn table() {
        let both =
            "{{count:34 sum:9 z_bucket:1 z_bucket_w:0.5 offset:1 buckets:[4 8] n_buckets:[1 2]}}";
        let positive = "{{count:3 sum:9 z_bucket:2 z_bucket_w:0.5 offset:1 buckets:[1]}}";
        let custom = "{{schema:-53 count:15 sum:172.5 custom_values:[5 10] buckets:[2 6 4]}}";
        let below = "{{schema:-53 count:3 sum:1 custom_values:[-5] buckets:[1 2]}}";
        for (text, keep, value, left) in [
            (both, Keep::Above, f64::NEG_INFINITY, both),
            (both, Keep::Below, 4.0, both),
            (both, Keep::Below, f64::NEG_INFINITY, "{{z_bucket_w:0.5}}"),
            (positive, Keep::Above, 0.0, positive),
            (positive, Keep::Below, 0.25, "{{count:1 sum:0.125 z_bucket:1 z_bucket_w:0.5}}"),
            (custom, Keep::Above, 0.0, custom),
            (
                custom,
                Keep::Below,
                7.5,
                "{{schema:-53 count:5 sum:23.75 custom_values:[5 10] buckets:[2 3]}}",
            ),
            (
                custom,
                Keep::Below,
                20.0,
                "{{schema:-53 count:8 sum:50 custom_values:[5 10] buckets:[2 6]}}",
            ),
            (
                custom,
                Keep::Above,
                20.0,
                "{{schema:-53 count:4 sum:80 custom_values:[5 10] offset:2 buckets:[4]}}",
            ),
            (custom, Keep::Above, f64::INFINITY, "{{schema:-53 custom_values:[5 10]}}"),
            (
                below,
                Keep::Below,
                -7.0,
                "{{schema:-53 count:1 sum:-7 custom_values:[-5] buckets:[1]}}",
            ),
            (
                below,
                Keep::Above,
                -3.0,
                "{{schema:-53 count:2 sum:-6 custom_values:[-5] offset:1 buckets:[2]}}",
            ),
        ] {
            let trimmed = Histogram::parse(text).expect(text).trim(value, keep).compact(0);
            assert_eq!(trimmed.notation(), left, "{text} {keep:?} {value}");
        }
    }

    proptest! {
        /// The two parts are the whole, and the lower one is as large as `fraction` says.
        #[test]
        fn both_parts(histogram in testing::exponential(), value in -40.0..40.0_f64) {
            prop_assume!(histogram.count > 0.0);
            let (below, above) = (histogram.trim_above(value), histogram.trim_below(value));
            prop_assert!((below.count + above.count - histogram.count).abs() < 1e-9);
            let share = histogram.fraction(f64::NEG_INFINITY, value).value;
            prop_assert!((below.count - share * histogram.count).abs() < 1e-9);
            prop_assert_eq!(below.validate(), Ok(()));
        }
    }
}
