//! Classic histograms (cumulative buckets, one series per `le`) as native ones with custom buckets.

use super::{CUSTOM_SCHEMA, Histogram, HistogramError, span};

/// One sample of a classic histogram, gathered from its `_bucket`, `_count` and `_sum` series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassicHistogram {
    /// Upper bounds (`le`) and cumulative counts, rising.
    buckets: Vec<(f64, f64)>,
    /// Of `_count`; without it that of the highest bucket holds.
    count: Option<f64>,
    /// Of `_sum`.
    sum: f64,
}

impl ClassicHistogram {
    /// The `_bucket` with this upper bound. Of two with the same bound (`1` and `1.0`) the first holds.
    ///
    /// # Errors
    /// When the bound is NaN, or the count falls below that of a lower bound or exceeds that of a higher one.
    pub fn set_bucket(&mut self, le: f64, count: f64) -> Result<(), HistogramError> {
        if le.is_nan() {
            return Err(HistogramError::CustomBounds(le));
        }
        let at = self.buckets.partition_point(|(bound, _)| *bound < le);
        let next = self.buckets.get(at);
        if next.is_some_and(|(bound, _)| *bound == le) {
            return Ok(());
        }
        let below = at.checked_sub(1).map_or(0.0, |last| self.buckets[last].1);
        if count < below || next.is_some_and(|(_, above)| *above < count) {
            return Err(HistogramError::NotCumulative { le, count });
        }
        self.buckets.insert(at, (le, count));
        Ok(())
    }

    /// The `_count`.
    pub fn set_count(&mut self, count: f64) {
        self.count = Some(count);
    }

    /// The `_sum`.
    pub fn set_sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// The native histogram: the same bounds, counts per bucket, empty ones dropped.
    ///
    /// # Errors
    /// When `_count` is less than the highest bucket.
    pub fn to_native(&self) -> Result<Histogram, HistogramError> {
        let highest = self.buckets.last().copied();
        let count = self.count.or(highest.map(|(_, count)| count)).unwrap_or(0.0);
        if let Some((le, reached)) = highest.filter(|(_, reached)| *reached > count) {
            return Err(HistogramError::NotCumulative { le, count: reached });
        }
        let bounds = self.buckets.iter().map(|(le, _)| *le).filter(|le| *le < f64::INFINITY);
        let custom_values: Vec<f64> = bounds.collect();
        let reached = self.buckets.iter().map(|(_, reached)| *reached);
        let mut below = 0.0;
        let counts = reached.take(custom_values.len()).chain([count]).map(|reached| {
            let own = reached - below;
            below = reached;
            own
        });
        let cells = (0..).zip(counts).filter(|(_, own)| *own != 0.0).collect::<Vec<_>>();
        let (positive_spans, positive_buckets) = span::pack(cells);
        Ok(Histogram {
            schema: CUSTOM_SCHEMA,
            count,
            sum: self.sum,
            positive_spans,
            positive_buckets,
            custom_values,
            ..Histogram::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classic(buckets: &[(f64, f64)]) -> Result<ClassicHistogram, HistogramError> {
        let mut classic = ClassicHistogram::default();
        for (le, count) in buckets {
            classic.set_bucket(*le, *count)?;
        }
        Ok(classic)
    }

    #[test]
    fn table() -> Result<(), HistogramError> {
        let inf = f64::INFINITY;
        for (buckets, native) in [
            (&[][..], "{{schema:-53 custom_values:[]}}"),
            (&[(inf, 3.0)], "{{schema:-53 count:3 custom_values:[] buckets:[3]}}"),
            (
                &[(inf, 7.0), (1.0, 2.0), (0.5, 2.0), (1.0, 5.0)],
                "{{schema:-53 count:7 custom_values:[0.5 1] buckets:[2 0 5]}}",
            ),
            (
                &[(-1.0, 1.0), (2.0, 4.0)],
                "{{schema:-53 count:4 custom_values:[-1 2] buckets:[1 3]}}",
            ),
        ] {
            let made = classic(buckets)?.to_native()?;
            assert_eq!(made.notation(), native);
            assert_eq!(made.validate(), Ok(()));
        }
        let mut counted = classic(&[(1.0, 2.0)])?;
        counted.set_count(6.0);
        counted.set_sum(2.5);
        let native = "{{schema:-53 count:6 sum:2.5 custom_values:[1] buckets:[2 4]}}";
        assert_eq!(counted.to_native()?.notation(), native);
        counted.set_count(1.0);
        assert!(counted.to_native().is_err());
        Ok(())
    }

    #[test]
    fn counts_that_fall() {
        assert!(classic(&[(1.0, 2.0), (2.0, 1.0)]).is_err());
        assert!(classic(&[(2.0, 1.0), (1.0, 2.0)]).is_err());
        assert!(classic(&[(f64::NAN, 1.0)]).is_err());
    }
}
