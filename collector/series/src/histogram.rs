//! Native histograms: a count, a sum and sparse buckets in one sample, as Prometheus has them.
//!
//! Buckets are exponential (schemas −4 to 8: a boundary is the one before times 2^(2^−schema), and 1 is always a
//! boundary) or custom (schema −53: their upper bounds are listed). Counts are floats and absolute, since PromQL divides
//! and subtracts them. Pure: nothing here reads samples, labels or a clock.
//!
//! ```text
//! {{schema:0 count:7 sum:20 z_bucket:1 z_bucket_w:0.001 offset:1 buckets:[2 0 4]}}
//!
//!  zero bucket [-0.001, 0.001]  1        positive_spans    [Span { offset: 1, length: 3 }]
//!  index 1     (1, 2]           2        positive_buckets  [2, 0, 4]
//!  index 2     (2, 4]           0
//!  index 3     (4, 8]           4        index 0 would be (0.5, 1]
//! ```
//! A span's offset is counted from the end of the span before, the first one's from index 0.

mod arithmetic;
mod bound;
mod bucket;
mod classic;
mod compact;
mod custom;
mod display;
mod encode;
mod error;
mod gather;
mod notation;
mod number;
mod parts;
mod quantile;
mod reset;
mod span;
mod sum;
mod tally;
#[cfg(test)]
mod testing;
mod trim;
mod validate;

pub use bucket::Bucket;
pub use classic::ClassicHistogram;
pub use encode::{RUN_MAX, decode_histograms, encode_histograms};
pub use error::HistogramError;
pub use gather::native_from_classic;
pub use number::{general, json_number};
pub use parts::Combined;
pub use quantile::{Fraction, NanNote, Quantile};
pub use sum::{HistogramMean, HistogramSum};

/// The schema whose buckets are listed in `custom_values`.
pub const CUSTOM_SCHEMA: i32 = -53;
/// The coarsest exponential schema: each boundary is 2^16 times the one before.
pub const SCHEMA_MIN: i32 = -4;
/// The finest exponential schema: each boundary is 2^(1/256) times the one before.
pub const SCHEMA_MAX: i32 = 8;
/// Most buckets that a histogram which comes from outside may have.
pub const BUCKETS_MAX: usize = 16_384;
/// Bucket indexes beyond this, either way, lie outside of what an `f64` can be at any schema.
pub const INDEX_MAX: i64 = 1 << 22;

/// A run of buckets that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Buckets between the end of the span before (or index 0) and this span's first bucket.
    pub offset: i32,
    /// Buckets in the span.
    pub length: u32,
}

/// What is known about a reset of the counter between the sample before and this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ResetHint {
    /// Compare the two.
    #[default]
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NotReset,
    /// Not a counter.
    Gauge,
}

/// A native histogram with float counts.
///
/// The derived `PartialEq` compares how it is written down; [`Histogram::equals`] compares what it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// What is known about a reset before this sample.
    pub reset_hint: ResetHint,
    /// −4..=8, or [`CUSTOM_SCHEMA`].
    pub schema: i32,
    /// Half the width of the zero bucket; 0 with custom buckets.
    pub zero_threshold: f64,
    /// Observations within `-zero_threshold..=zero_threshold`.
    pub zero_count: f64,
    /// All observations, NaN ones too.
    pub count: f64,
    /// Their sum. A staleness marker has the bits of Prometheus's stale NaN here.
    pub sum: f64,
    /// Where the buckets above zero are.
    pub positive_spans: Vec<Span>,
    /// Where the buckets below zero are.
    pub negative_spans: Vec<Span>,
    /// Counts of the buckets above zero, one for each bucket of the spans.
    pub positive_buckets: Vec<f64>,
    /// Counts of the buckets below zero, from zero outwards.
    pub negative_buckets: Vec<f64>,
    /// With custom buckets their upper bounds, rising, without the last one, which is +Inf.
    pub custom_values: Vec<f64>,
}

impl Histogram {
    /// Whether the buckets' bounds are listed instead of computed.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Mean of the observations: NaN when there are none.
    #[must_use]
    pub fn avg(&self) -> f64 {
        self.sum / self.count
    }

    /// Whether any number in it is infinite.
    #[must_use]
    pub fn has_overflow(&self) -> bool {
        [self.zero_count, self.count, self.sum]
            .iter()
            .chain(&self.positive_buckets)
            .chain(&self.negative_buckets)
            .any(|value| value.is_infinite())
    }

    /// Whether both say the same: schema, zero bucket, count, sum and every bucket, empty ones too, but not the
    /// [`ResetHint`]. A NaN sum equals one with the same bits. Compact both first to ignore empty buckets.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        let side = |h: &Self| -> Vec<(i64, f64)> {
            span::cells(&h.positive_spans, &h.positive_buckets).collect()
        };
        let below = |h: &Self| -> Vec<(i64, f64)> {
            span::cells(&h.negative_spans, &h.negative_buckets).collect()
        };
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.zero_count == other.zero_count
            && self.count == other.count
            && (self.sum == other.sum || self.sum.to_bits() == other.sum.to_bits())
            && (!self.is_custom() || custom::same(&self.custom_values, &other.custom_values))
            && side(self) == side(other)
            && below(self) == below(other)
    }
}
