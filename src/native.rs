//! Native histograms as remote read and remote write have them: all of them as float histograms.

use watchkeep_catalog::prompb;
use watchkeep_series::{Histogram, ResetHint, Span};

/// The message.
pub(crate) fn message(of: &Histogram, timestamp_ms: i64) -> prompb::Histogram {
    let spans = |spans: &[Span]| {
        let span = |s: &Span| prompb::BucketSpan { offset: s.offset, length: s.length };
        spans.iter().map(span).collect()
    };
    prompb::Histogram {
        count_float: Some(of.count),
        sum: of.sum,
        schema: of.schema,
        zero_threshold: of.zero_threshold,
        zero_count_float: Some(of.zero_count),
        negative_spans: spans(&of.negative_spans),
        negative_counts: of.negative_buckets.clone(),
        positive_spans: spans(&of.positive_spans),
        positive_counts: of.positive_buckets.clone(),
        reset_hint: match of.reset_hint {
            ResetHint::Unknown => 0,
            ResetHint::Reset => 1,
            ResetHint::NotReset => 2,
            ResetHint::Gauge => 3,
        },
        timestamp: timestamp_ms,
        custom_values: of.custom_values.clone(),
        ..prompb::Histogram::default()
    }
}
