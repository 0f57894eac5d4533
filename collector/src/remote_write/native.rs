//! Native histograms as remote write has them, to those of the store: counts of buckets are absolute there, not the
//! difference to the bucket before.

use std::sync::Arc;

use prost::Message;
use watchkeep_catalog::prompb;
use watchkeep_series::{Histogram, HistogramSample, ResetHint, Sample, Span, is_stale};

/// What a message is.
pub(super) enum Native {
    /// A histogram.
    Histogram(HistogramSample),
    /// The end of the series: a histogram whose sum is the staleness marker.
    Stale(Sample),
}

/// Reads a `prometheus.Histogram`.
///
/// # Errors
/// In words, when it is none.
pub(super) fn read(bytes: &[u8]) -> Result<Native, String> {
    let read = prompb::Histogram::decode(bytes).map_err(|e| e.to_string())?;
    if is_stale(read.sum) {
        let sample = Sample { timestamp_ms: read.timestamp, value: read.sum };
        return Ok(Native::Stale(sample));
    }
    histogram(read).map(Native::Histogram)
}

/// The histogram of a message that is no staleness marker.
///
/// # Errors
/// In words, when it is none.
pub(crate) fn histogram(read: prompb::Histogram) -> Result<HistogramSample, String> {
    let reset_hint = match read.reset_hint {
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    };
    let histogram = Histogram {
        reset_hint,
        schema: read.schema,
        zero_threshold: read.zero_threshold,
        zero_count: number(read.zero_count_int, read.zero_count_float),
        count: number(read.count_int, read.count_float),
        sum: read.sum,
        positive_spans: spans(&read.positive_spans),
        negative_spans: spans(&read.negative_spans),
        positive_buckets: buckets(&read.positive_deltas, read.positive_counts),
        negative_buckets: buckets(&read.negative_deltas, read.negative_counts),
        custom_values: read.custom_values,
    };
    histogram.validate().map_err(|e| e.to_string())?;
    Ok(HistogramSample { timestamp_ms: read.timestamp, value: Arc::new(histogram) })
}

fn number(whole: Option<u64>, float: Option<f64>) -> f64 {
    float.or(whole.map(|whole| whole as f64)).unwrap_or(0.0)
}

fn spans(spans: &[prompb::BucketSpan]) -> Vec<Span> {
    spans.iter().map(|span| Span { offset: span.offset, length: span.length }).collect()
}

/// Those of a float histogram are absolute already.
fn buckets(deltas: &[i64], counts: Vec<f64>) -> Vec<f64> {
    if deltas.is_empty() {
        return counts;
    }
    let mut count = 0_i64;
    let absolute = deltas.iter().map(|delta| {
        count = count.wrapping_add(*delta);
        count as f64
    });
    absolute.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_float_ones() {
        let span = prompb::BucketSpan { offset: -1, length: 3 };
        let whole = prompb::Histogram {
            count_int: Some(9),
            zero_count_int: Some(1),
            sum: 18.5,
            positive_spans: vec![span],
            positive_deltas: vec![2, 1, -1],
            reset_hint: 2,
            timestamp: 7,
            ..prompb::Histogram::default()
        };
        let float = prompb::Histogram {
            count_int: None,
            count_float: Some(9.0),
            zero_count_int: None,
            zero_count_float: Some(1.0),
            positive_deltas: vec![],
            positive_counts: vec![2.0, 3.0, 2.0],
            ..whole.clone()
        };
        // 1 + 2 + 3 + 2 are 8: the ninth observation was not a number.
        for message in [whole.clone(), float] {
            let Ok(Native::Histogram(sample)) = read(&message.encode_to_vec()) else {
                panic!("{message:?} is a histogram")
            };
            assert_eq!(sample.value.positive_buckets, [2.0, 3.0, 2.0]);
            assert_eq!((sample.timestamp_ms, sample.value.count), (7, 9.0));
            assert_eq!(sample.value.reset_hint, ResetHint::NotReset);
        }
        let stale = prompb::Histogram { sum: watchkeep_series::stale_nan(), ..whole.clone() };
        assert!(matches!(read(&stale.encode_to_vec()), Ok(Native::Stale(_))));
        let wrong = prompb::Histogram { positive_deltas: vec![1], ..whole };
        assert!(read(&wrong.encode_to_vec()).is_err());
    }
}
