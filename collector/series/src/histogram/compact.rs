//! The same histogram with fewer words: empty buckets dropped, spans joined; or with fewer, wider buckets.

use super::{Histogram, HistogramError, parts::reduced, span};

impl Histogram {
    /// Drops empty buckets, but keeps up to `gap_max` of them in a row between two populated ones: a few zeroes may be
    /// shorter than another span. 0 drops all.
    #[must_use]
    pub fn compact(mut self, gap_max: usize) -> Self {
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            if is_compact(spans, buckets) && (gap_max == 0 || spans.len() < 2) {
                continue;
            }
            let mut kept: Vec<(i64, f64)> = Vec::with_capacity(buckets.len());
            for (index, count) in span::cells(spans, buckets).filter(|(_, count)| *count != 0.0) {
                if let Some((last, _)) = kept.last().copied()
                    && ((index - last - 1) as u64) <= gap_max as u64
                {
                    kept.extend((last + 1..index).map(|gap| (gap, 0.0)));
                }
                kept.push((index, count));
            }
            (*spans, *buckets) = span::pack(kept);
        }
        self
    }

    /// The same observations in the wider buckets of a coarser exponential schema.
    ///
    /// # Errors
    /// When `schema` is finer, or either has custom buckets.
    pub fn reduce_resolution(&mut self, schema: i32) -> Result<(), HistogramError> {
        if self.is_custom() || schema == super::CUSTOM_SCHEMA {
            return Err(HistogramError::MixedSchemas);
        }
        let by = self.schema.saturating_sub(schema);
        if by < 0 {
            return Err(HistogramError::Resolution { from: self.schema, to: schema });
        }
        if by == 0 {
            return Ok(());
        }
        for (spans, buckets) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            let cells = reduced(span::cells(spans, buckets).collect(), by);
            (*spans, *buckets) = span::pack(cells);
        }
        self.schema = schema;
        Ok(())
    }
}

fn is_compact(spans: &[super::Span], buckets: &[f64]) -> bool {
    buckets.iter().all(|count| *count != 0.0)
        && spans.iter().all(|span| span.length > 0)
        && spans.iter().skip(1).all(|span| span.offset > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;

    proptest! {
        #[test]
        fn nothing_is_lost(histogram in testing::exponential(), gap_max in 0_usize..4) {
            let compact = histogram.clone().compact(gap_max);
            let populated = |h: &super::Histogram| -> Vec<_> {
                h.buckets().into_iter().filter(|b| b.count != 0.0).collect()
            };
            prop_assert_eq!(populated(&compact), populated(&histogram));
            let zeroes = compact.positive_buckets.split(|c| *c != 0.0).map(<[f64]>::len).max();
            prop_assert!(zeroes.unwrap_or(0) <= gap_max);
            prop_assert!(compact.positive_spans.iter().skip(1).all(|s| s.offset as usize > gap_max));
            prop_assert_eq!(compact.clone().compact(gap_max), compact);
        }

        /// A bucket of a coarser schema holds exactly the buckets that lie within its bounds.
        #[test]
        fn coarser(histogram in testing::exponential(), by in 1_i32..5) {
            let mut wide = histogram.clone();
            wide.reduce_resolution(histogram.schema - by).expect("coarser");
            for bucket in wide.positive() {
                let inside: f64 = histogram
                    .positive()
                    .filter(|b| b.lower >= bucket.lower && b.upper <= bucket.upper)
                    .map(|b| b.count)
                    .sum();
                prop_assert!((inside - bucket.count).abs() < 1e-9, "{bucket:?} holds {inside}");
            }
            prop_assert!(wide.reduce_resolution(histogram.schema).is_err());
        }
    }
}
