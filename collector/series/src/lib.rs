//! The embedded series store: labelled samples in memory and in fjall, for one node and about a day.
//!
//! A pure library: no async, no network, no clock. Time comes in as a parameter, and whoever owns the
//! store calls [`SeriesStore::flush`] once a second and [`SeriesStore::expire`] once a minute, on a thread
//! of their own: a write may stall for some hundred milliseconds while fjall rotates its journal.
//!
//! ```text
//! append ─▶ head of the series: open chunk, compressed ──full, or two hours over──▶ sealed chunk ─┐
//!       │                        └──────────in turn──────────▶ head row ──┐                       │
//!       └─▶ samples since the last flush ──once a second────▶ log row ────┴───────────────────────┴─▶ fjall
//!
//! open   = series rows, head rows, the log rows that are in no head row (at most about 32 MiB)
//! select = chunks on disk, then the last sealed chunk and the open one, decoded into the reader's buffers
//! ```
//!
//! A crash loses what was appended since the last flush, at most about a second, and nothing else.

mod bits;
mod chunk;
mod disk;
mod error;
mod head;
mod histogram;
mod index;
mod labels;
mod late;
mod matcher;
mod memory;
mod postings;
pub mod promql;
mod query;
mod schema;
mod store;
mod symbols;
mod varint;

pub use error::SeriesError;
pub use histogram::{
    BUCKETS_MAX, Bucket, CUSTOM_SCHEMA, ClassicHistogram, Combined, Fraction, Histogram,
    HistogramError, HistogramMean, HistogramSum, INDEX_MAX, NanNote, Quantile, RUN_MAX, ResetHint,
    SCHEMA_MAX, SCHEMA_MIN, Span, decode_histograms, encode_histograms, general, json_number,
    native_from_classic,
};
pub use labels::{Labels, METRIC_NAME};
pub use matcher::{Matcher, Pattern};
pub use memory::{Appended, Cardinality, Count};
pub use query::{
    HistogramSample, Points, Queryable, STALE_NAN_BITS, StartTime, is_stale, stale_nan,
};
pub use store::{Expired, Incoming, Options, Sample, Series, SeriesStore, Stats};
