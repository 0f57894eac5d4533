//! What can be wrong with a histogram, or with two that shall become one.

use thiserror::Error;

/// Why a histogram is refused or an operation on two fails.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum HistogramError {
    /// One has exponential buckets and the other custom ones.
    #[error("histograms with exponential and with custom buckets cannot be combined")]
    MixedSchemas,
    /// Neither −4..=8 nor −53.
    #[error("histogram schema {0} is unknown: −4 to 8 are exponential, −53 is custom buckets")]
    Schema(i32),
    /// Resolution can only go down.
    #[error("a histogram of schema {from} cannot be refined to schema {to}")]
    Resolution {
        /// Its schema.
        from: i32,
        /// The finer one.
        to: i32,
    },
    /// The zero bucket's width is negative or no number.
    #[error("histogram zero threshold {0} is not a number ≥ 0")]
    ZeroThreshold(f64),
    /// Spans and buckets disagree.
    #[error("histogram {side} spans hold {spans} buckets, but {buckets} counts are given")]
    SpanLength {
        /// Which buckets.
        side: &'static str,
        /// What the spans say.
        spans: u64,
        /// How many counts there are.
        buckets: usize,
    },
    /// A span begins before the end of the one before, or beyond all numbers.
    #[error("histogram {side} span {number} has offset {offset}, which is out of range")]
    SpanOffset {
        /// Which buckets.
        side: &'static str,
        /// Which span, from 0.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// A negative count.
    #[error("histogram {what} is {value}: counts are not negative")]
    Negative {
        /// Which count.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// Too many buckets.
    #[error("histogram has {0} buckets, more than {max}: send a coarser schema", max = super::BUCKETS_MAX)]
    BucketsMax(usize),
    /// Custom bounds that do not rise, are NaN, or end with +Inf, which is implied.
    #[error("histogram custom bounds must rise and be finite or −Inf: {0} is out of place")]
    CustomBounds(f64),
    /// Something that custom buckets do not have, or that exponential ones do not.
    #[error("a histogram with {kind} buckets has no {what}")]
    Misplaced {
        /// Which kind of buckets.
        kind: &'static str,
        /// What it must not have.
        what: &'static str,
    },
    /// Cumulative counts of a classic histogram that fall.
    #[error("classic histogram bucket le={le} has count {count}, less than a bucket below it")]
    NotCumulative {
        /// The bucket's upper bound.
        le: f64,
        /// Its count.
        count: f64,
    },
    /// A notation that cannot be read.
    #[error("histogram notation: {0}")]
    Notation(String),
    /// Bytes that do not decode.
    #[error("encoded histogram: {0}; the data is damaged or of a newer version")]
    Encoding(&'static str),
}
