//! Recorded series as the body of a remote write 1.0 request: a protocol buffer in one snappy block.

use std::collections::BTreeMap;

use prost::Message;
use watchkeep_catalog::prompb::{Label, Sample, TimeSeries, WriteRequest};

use crate::source::Recorded;

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
        histograms: Vec::new(),
    });
    let plain = WriteRequest { timeseries: timeseries.collect() }.encode_to_vec();
    // Fails only beyond 4 GiB.
    snap::raw::Encoder::new().compress_vec(&plain).unwrap_or_default()
}
