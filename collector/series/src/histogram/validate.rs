//! Whether a histogram that comes from outside is one.

use super::{BUCKETS_MAX, Histogram, HistogramError, INDEX_MAX, SCHEMA_MAX, SCHEMA_MIN, Span};

impl Histogram {
    /// Checks schema, spans, bounds and counts. Whether the buckets add up to the count is not asked: with NaN
    /// observations and float counts they need not.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let buckets = self.positive_buckets.len() + self.negative_buckets.len();
        if buckets > BUCKETS_MAX || self.custom_values.len() > BUCKETS_MAX {
            return Err(HistogramError::BucketsMax(buckets.max(self.custom_values.len())));
        }
        if self.is_custom() {
            self.validate_custom()?;
        } else if !(SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            return Err(HistogramError::Schema(self.schema));
        } else if !self.custom_values.is_empty() {
            return Err(HistogramError::Misplaced { kind: "exponential", what: "custom bounds" });
        } else if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold(self.zero_threshold));
        }
        spans("positive", &self.positive_spans, &self.positive_buckets)?;
        spans("negative", &self.negative_spans, &self.negative_buckets)?;
        let counts = [("count", self.count), ("zero count", self.zero_count)];
        let positive = self.positive_buckets.iter().map(|count| ("positive bucket", *count));
        let negative = self.negative_buckets.iter().map(|count| ("negative bucket", *count));
        match counts.into_iter().chain(positive).chain(negative).find(|(_, value)| *value < 0.0) {
            Some((what, value)) => Err(HistogramError::Negative { what, value }),
            None => Ok(()),
        }
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        let misplaced = |what| Err(HistogramError::Misplaced { kind: "custom", what });
        if !self.negative_spans.is_empty() || !self.negative_buckets.is_empty() {
            return misplaced("negative buckets");
        }
        if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return misplaced("zero bucket");
        }
        let rises = |pair: &&[f64]| pair[0] < pair[1];
        if let Some(pair) = self.custom_values.windows(2).find(|pair| !rises(pair)) {
            return Err(HistogramError::CustomBounds(pair[1]));
        }
        if let Some(last) =
            self.custom_values.last().filter(|last| **last == f64::INFINITY || last.is_nan())
        {
            return Err(HistogramError::CustomBounds(*last));
        }
        let beyond: i64 =
            self.positive_spans.iter().map(|s| i64::from(s.offset) + i64::from(s.length)).sum();
        if self.positive_spans.first().is_some_and(|span| span.offset < 0)
            || beyond > self.custom_values.len() as i64 + 1
        {
            return misplaced("bucket outside of its bounds");
        }
        Ok(())
    }
}

fn spans(side: &'static str, spans: &[Span], buckets: &[f64]) -> Result<(), HistogramError> {
    let total: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if total != buckets.len() as u64 {
        return Err(HistogramError::SpanLength { side, spans: total, buckets: buckets.len() });
    }
    let mut end = 0_i64;
    for (number, span) in spans.iter().enumerate() {
        let start = end + i64::from(span.offset);
        end = start + i64::from(span.length);
        if (number > 0 && span.offset < 0) || start < -INDEX_MAX || end > INDEX_MAX {
            return Err(HistogramError::SpanOffset { side, number, offset: span.offset });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    proptest! {
        #[test]
        fn ours_are_valid(one in testing::exponential(), other in testing::custom()) {
            prop_assert_eq!(one.validate(), Ok(()));
            prop_assert_eq!(other.validate(), Ok(()));
        }
    }

    #[test]
    fn table() {
        let base = |buckets: usize| Histogram {
            positive_spans: vec![Span { offset: 0, length: buckets as u32 }],
            positive_buckets: vec![1.0; buckets],
            ..Histogram::default()
        };
        let custom = |bounds: &[f64], buckets| Histogram {
            schema: -53,
            custom_values: bounds.to_vec(),
            ..base(buckets)
        };
        let span = |offset, length| Span { offset, length };
        for (histogram, wrong) in [
            (Histogram { schema: 9, ..base(1) }, "schema 9 is unknown"),
            (Histogram { schema: -5, ..base(1) }, "schema -5 is unknown"),
            (Histogram { zero_threshold: f64::NAN, ..base(1) }, "zero threshold NaN"),
            (Histogram { zero_count: -1.0, ..base(1) }, "zero count is -1"),
            (Histogram { positive_buckets: vec![-1.0], ..base(1) }, "positive bucket is -1"),
            (Histogram { positive_buckets: vec![], ..base(1) }, "spans hold 1 buckets, but 0"),
            (
                Histogram { positive_spans: vec![span(0, 1), span(-1, 1)], ..base(2) },
                "positive span 1 has offset -1",
            ),
            (Histogram { positive_spans: vec![span(i32::MAX, 1)], ..base(1) }, "out of range"),
            (Histogram { custom_values: vec![1.0], ..base(1) }, "has no custom bounds"),
            (base(BUCKETS_MAX + 1), "has 16385 buckets"),
            (custom(&[1.0, 1.0], 1), "1 is out of place"),
            (custom(&[1.0, f64::NAN], 1), "NaN is out of place"),
            (custom(&[f64::NAN], 1), "NaN is out of place"),
            (custom(&[1.0, f64::INFINITY], 1), "inf is out of place"),
            (custom(&[1.0], 3), "outside of its bounds"),
            (Histogram { zero_count: 1.0, ..custom(&[1.0], 1) }, "has no zero bucket"),
            (Histogram { negative_spans: vec![span(0, 0)], ..custom(&[1.0], 1) }, "no negative"),
        ] {
            let error = histogram.validate().expect_err(wrong).to_string();
            assert!(error.contains(wrong), "{error} should contain {wrong}");
        }
        assert_eq!(custom(&[1.0], 2).validate(), Ok(()));
        assert_eq!(custom(&[], 1).validate(), Ok(()));
    }
}
