//! What a query language reads: series with floats and native histograms, from the store or from memory.
//!
//! Only shapes and the one trait; no evaluation here.

use std::sync::Arc;

use crate::{Histogram, Labels, Matcher, Sample, SeriesError};

/// The bits of the NaN that says "this series has ended" (Prometheus's staleness marker). Every other NaN is
/// a value.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a value.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a value is the staleness marker.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// A native histogram at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// The histogram.
    pub value: Arc<Histogram>,
}

/// Since when a cumulative sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTime {
    /// The sample's timestamp.
    pub timestamp_ms: i64,
    /// When its counter began.
    pub start_ms: i64,
}

/// One series as read: floats and histograms, each rising in time, no time in both. Staleness markers are
/// floats with the bits of [`STALE_NAN_BITS`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    /// The series' labels.
    pub labels: Labels,
    /// Its floats.
    pub floats: Vec<Sample>,
    /// Its native histograms.
    pub histograms: Vec<HistogramSample>,
    /// Start times of those samples of which one is known, rising in time. The store keeps none.
    pub starts: Vec<StartTime>,
}

/// What PromQL reads from: the store, a test's memory.
pub trait Queryable: Send + Sync {
    /// Calls `each` for every series that all matchers mean and that has samples in `from_ms..=to_ms`, sorted
    /// by labels, with those samples. `each` may take the buffers. Stops at the first error of `each`.
    ///
    /// # Errors
    /// [`SeriesError::SamplesMax`] when more than `samples_max` samples would be read in total, whatever `each`
    /// returns, and what the storage says.
    fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
        samples_max: usize,
        each: &mut dyn FnMut(&Labels, &mut Points) -> Result<(), SeriesError>,
    ) -> Result<(), SeriesError>;
}
