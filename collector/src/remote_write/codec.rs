//! Samples to and from the body of a remote write request: a protocol buffer in one snappy block.

use std::{collections::HashMap, sync::Arc};

use prost::Message;
use thiserror::Error;
use watchkeep_catalog::prompb::{self, Label, TimeSeries, WriteRequest};
use watchkeep_series::{Labels, METRIC_NAME, Sample};

use super::wire::{Batch, Malformed};

/// Largest body once it is decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Why a body is refused.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// It is not a snappy block.
    #[error("the body is not a snappy block: {0}; compress it with snappy's block format")]
    Snappy(#[from] snap::Error),
    /// It is too large.
    #[error("the body has {0} bytes decompressed: send at most {DECOMPRESSED_BYTES_MAX}")]
    TooLarge(usize),
    /// It is not the message.
    #[error("the body is not a prometheus.WriteRequest (remote write 1.0): {0}")]
    Protobuf(#[from] Malformed),
    /// A native histogram in it is not one.
    #[error("a native histogram of {series}: {message}")]
    Histogram {
        /// Its series.
        series: Labels,
        /// What is wrong with it.
        message: String,
    },
    /// A series has no name.
    #[error("a series has no {METRIC_NAME}: {0}")]
    NoName(Labels),
    /// A label occurs twice.
    #[error("a series has label {0:?} twice")]
    DuplicateLabel(String),
}

/// What a series has at a time, on its way to a receiver.
#[derive(Debug, Clone)]
pub(super) enum Outgoing {
    Float(Sample),
    Histogram(Arc<prompb::Histogram>),
}

impl Outgoing {
    /// About how many bytes it has in a request.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Float(_) => 20,
            Self::Histogram(histogram) => histogram.encoded_len(),
        }
    }
}

/// The body for samples; those of one series together.
#[must_use]
pub fn encode(samples: &[(Labels, Sample)]) -> Vec<u8> {
    encode_all(samples.iter().map(|(labels, sample)| (labels, Outgoing::Float(*sample))))
}

/// The body for samples and native histograms; those of one series together, as long as they are of one kind.
pub(super) fn encode_all<'a>(points: impl Iterator<Item = (&'a Labels, Outgoing)>) -> Vec<u8> {
    let mut at: HashMap<&Labels, usize> = HashMap::new();
    let mut timeseries: Vec<TimeSeries> = Vec::new();
    for (labels, point) in points {
        let begin = |timeseries: &mut Vec<TimeSeries>| {
            let label =
                |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
            let labels = labels.iter().map(label).collect();
            timeseries.push(TimeSeries { labels, samples: Vec::new(), histograms: Vec::new() });
            timeseries.len() - 1
        };
        let at = at.entry(labels).or_insert_with(|| begin(&mut timeseries));
        // A receiver takes the floats of an entry first: where the kind changes, another entry keeps the order.
        let is_other = match point {
            Outgoing::Float(_) => !timeseries[*at].histograms.is_empty(),
            Outgoing::Histogram(_) => !timeseries[*at].samples.is_empty(),
        };
        if is_other {
            *at = begin(&mut timeseries);
        }
        match point {
            Outgoing::Float(Sample { timestamp_ms: timestamp, value }) => {
                timeseries[*at].samples.push(prompb::Sample { value, timestamp });
            }
            Outgoing::Histogram(histogram) => {
                timeseries[*at].histograms.push(Arc::unwrap_or_clone(histogram));
            }
        }
    }
    let plain = WriteRequest { timeseries }.encode_to_vec();
    // Fails only beyond 4 GiB; a batch has a few hundred kilobytes.
    snap::raw::Encoder::new().compress_vec(&plain).unwrap_or_default()
}

/// The samples in a body, as they come.
///
/// # Errors
/// When the body is not snappy, not the message, too large, or a series is not named properly.
pub fn decode(body: &[u8]) -> Result<Vec<(Labels, Sample)>, DecodeError> {
    let plain = decompress(body)?;
    let batch = Batch::read(&plain)?;
    let mut samples = Vec::new();
    for series in batch.iter() {
        let labels = Labels::new(series.labels.iter().copied());
        samples.extend(series.samples.iter().map(|sample| (labels.clone(), *sample)));
    }
    Ok(samples)
}

/// The message in a body.
pub(super) fn decompress(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let size = snap::raw::decompress_len(body)?;
    if size > DECOMPRESSED_BYTES_MAX {
        return Err(DecodeError::TooLarge(size));
    }
    Ok(snap::raw::Decoder::new().decompress_vec(body)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn up(instance: &str) -> Labels {
        Labels::new([(METRIC_NAME, "up"), ("instance", instance)])
    }

    proptest! {
        #[test]
        fn round_trip(raw in prop::collection::vec(("[a-c]", any::<i64>(), any::<f64>()), 0..50)) {
            let mut samples: Vec<_> = raw
                .iter()
                .map(|(i, timestamp_ms, value)| (up(i), Sample { timestamp_ms: *timestamp_ms, value: *value }))
                .collect();
            let back = decode(&encode(&samples)).expect("decodes");
            // Series by series, in the order of their first samples.
            let order: Vec<_> = samples.iter().map(|(labels, _)| labels.clone()).collect();
            samples.sort_by_key(|(labels, _)| order.iter().position(|l| l == labels));
            prop_assert_eq!(back, samples);
        }

        #[test]
        fn garbage_is_an_error_at_worst(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let mut snappy = snap::raw::Encoder::new();
            let _ = decode(&snappy.compress_vec(&bytes).expect("compresses"));
        }
    }

    /// Recorded series may change their kind; a receiver takes each entry's floats before its histograms.
    #[test]
    fn histograms_travel_in_the_order_of_their_times() {
        let histogram = |timestamp: i64| {
            let (count_float, zero_count_float) = (Some(2.0), Some(2.0));
            let sum = 3.0;
            Outgoing::Histogram(Arc::new(prompb::Histogram {
                count_float,
                zero_count_float,
                sum,
                timestamp,
                ..prompb::Histogram::default()
            }))
        };
        let float = |timestamp_ms| Outgoing::Float(Sample { timestamp_ms, value: 1.0 });
        let (one, other) = (up("a"), up("b"));
        let points = [
            (&one, histogram(1)),
            (&other, float(1)),
            (&one, histogram(2)),
            (&one, float(3)),
            (&one, histogram(4)),
        ];
        let plain = decompress(&encode_all(points.into_iter())).expect("snappy");
        let batch = Batch::read(&plain).expect("the message");
        let read: Vec<_> = batch
            .iter()
            .map(|series| {
                let name = series.labels.iter().find(|(name, _)| *name == "instance");
                (
                    name.expect("a label").1,
                    series.times().collect::<Vec<_>>(),
                    series.histograms.len(),
                )
            })
            .collect();
        let expected =
            [("a", vec![1, 2], 2), ("b", vec![1], 0), ("a", vec![3], 0), ("a", vec![4], 1)];
        assert_eq!(read, expected);
        assert_eq!(batch.iter().next().expect("one").histograms[0].value.count, 2.0);
    }

    #[test]
    fn what_is_refused() {
        let body = |labels: &[(&str, &str)]| {
            let label = |(name, value): &(&str, &str)| Label {
                name: (*name).into(),
                value: (*value).into(),
            };
            let series = TimeSeries {
                labels: labels.iter().map(label).collect(),
                samples: vec![],
                histograms: vec![],
            };
            let request = WriteRequest { timeseries: vec![series] };
            snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("compresses")
        };
        for (body, words) in [
            (body(&[("a", "b")]), "a series has no __name__: {a=\"b\"}"),
            (body(&[("__name__", "up"), ("a", ""), ("a", "b")]), "a series has label \"a\" twice"),
            (vec![0xff; 9], "the body is not a snappy block"),
            (vec![0xff, 0xff, 0xff, 0x7f], "bytes decompressed: send at most 67108864"),
        ] {
            let error = decode(&body).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
