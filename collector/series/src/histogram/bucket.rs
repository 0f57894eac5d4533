//! A histogram as a list of buckets with bounds.

use super::{Histogram, bound, span};

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Whether `lower` itself is in it.
    pub lower_inclusive: bool,
    /// Whether `upper` itself is in it.
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
    /// Its index among the positive or the negative buckets; 0 for the zero bucket.
    pub index: i64,
}

impl Bucket {
    /// Prometheus's code for which bounds are in it: 0 the upper, 1 the lower, 2 neither, 3 both.
    #[must_use]
    pub fn boundaries(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }
}

impl Histogram {
    /// The buckets above zero (with custom buckets: all), outwards.
    pub fn positive(&self) -> impl Iterator<Item = Bucket> {
        span::cells(&self.positive_spans, &self.positive_buckets).map(|(index, count)| {
            let lower = bound::upper(index - 1, self.schema, &self.custom_values);
            let upper = bound::upper(index, self.schema, &self.custom_values);
            let lower_inclusive = self.is_custom() && index == 0;
            Bucket { lower, upper, lower_inclusive, upper_inclusive: true, count, index }
        })
    }

    /// The buckets below zero, outwards.
    pub fn negative(&self) -> impl Iterator<Item = Bucket> {
        span::cells(&self.negative_spans, &self.negative_buckets).map(|(index, count)| Bucket {
            lower: -bound::upper(index, self.schema, &[]),
            upper: -bound::upper(index - 1, self.schema, &[]),
            lower_inclusive: true,
            upper_inclusive: false,
            count,
            index,
        })
    }

    /// The bucket around zero.
    #[must_use]
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// All buckets from the lowest to the highest, the zero bucket when it has observations, empty ones too. A bucket
    /// that begins inside the zero bucket is cut at its end.
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut buckets: Vec<_> = self.negative().collect();
        buckets.reverse();
        if self.zero_count > 0.0 {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive());
        if self.zero_threshold > 0.0 {
            for bucket in &mut buckets {
                if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
                    bucket.lower = self.zero_threshold;
                } else if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
                    bucket.upper = -self.zero_threshold;
                }
            }
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use crate::{Histogram, histogram::Span};

    #[test]
    fn from_the_lowest_to_the_highest() {
        let histogram = Histogram {
            zero_threshold: 0.6,
            zero_count: 3.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            negative_spans: vec![Span { offset: 1, length: 2 }],
            negative_buckets: vec![4.0, 5.0],
            ..Histogram::default()
        };
        let all = histogram.buckets();
        let text: Vec<_> =
            all.iter().map(|b| (b.lower, b.upper, b.count, b.boundaries())).collect();
        assert_eq!(
            text,
            [
                (-4.0, -2.0, 5.0, 1),
                (-2.0, -1.0, 4.0, 1),
                (-0.6, 0.6, 3.0, 3),
                (0.6, 1.0, 1.0, 0),
                (1.0, 2.0, 2.0, 0),
            ]
        );
    }
}
