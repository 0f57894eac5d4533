//! Recorded series as the body of a remote write 1.0 request: a protocol buffer in one snappy block.

use std::collections::BTreeMap;

use prost::Message;

use crate::source::Recorded;

#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// The body; samples of one series together, in the order they come.
pub(super) fn encode(samples: &[Recorded]) -> Vec<u8> {
    let mut series: BTreeMap<&BTreeMap<String, String>, Vec<Sample>> = BTreeMap::new();
    for (labels, timestamp, value) in samples {
        let sample = Sample { value: *value, timestamp: *timestamp };
        series.entry(labels).or_default().push(sample);
    }
    let label =
        |(name, value): (&String, &String)| Label { name: name.clone(), value: value.clone() };
    let timeseries = series.into_iter().map(|(labels, samples)| TimeSeries {
        // What has no value is not there.
        labels: labels.iter().filter(|(_, value)| !value.is_empty()).map(label).collect(),
        samples,
    });
    let plain = WriteRequest { timeseries: timeseries.collect() }.encode_to_vec();
    // Fails only beyond 4 GiB.
    snap::raw::Encoder::new().compress_vec(&plain).unwrap_or_default()
}
