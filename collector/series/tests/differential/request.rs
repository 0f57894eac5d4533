//! Samples as a remote-write request, native histograms with whole counts among them. Written by hand: what is tested must
//! not be what tests.

use watchkeep_series::{Histogram, Points};

/// A remote-write request as protobuf: a list of series, each with labels and samples.
pub(crate) fn write_request(series: &[Points]) -> Vec<u8> {
    let mut request = Vec::new();
    for points in series {
        let mut one = Vec::new();
        for (name, value) in points.labels.iter() {
            let mut label = Vec::new();
            message(&mut label, 1, name.as_bytes());
            message(&mut label, 2, value.as_bytes());
            message(&mut one, 1, &label);
        }
        for sample in &points.floats {
            let mut encoded = vec![(1 << 3) | 1];
            encoded.extend_from_slice(&sample.value.to_bits().to_le_bytes());
            encoded.push(2 << 3);
            varint(&mut encoded, sample.timestamp_ms as u64);
            message(&mut one, 2, &encoded);
        }
        for sample in &points.histograms {
            message(&mut one, 4, &histogram(&sample.value, sample.timestamp_ms));
        }
        message(&mut request, 1, &one);
    }
    request
}

/// A histogram with whole counts: 2.42 does not take others by remote write.
fn histogram(histogram: &Histogram, timestamp_ms: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let number = |out: &mut Vec<u8>, field: u8, value: u64| {
        out.push(field << 3);
        varint(out, value);
    };
    let double = |out: &mut Vec<u8>, field: u8, value: f64| {
        out.push((field << 3) | 1);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    };
    number(&mut out, 1, histogram.count as u64);
    double(&mut out, 3, histogram.sum);
    number(&mut out, 4, zigzag(histogram.schema.into()));
    double(&mut out, 5, histogram.zero_threshold);
    number(&mut out, 6, histogram.zero_count as u64);
    for (field, spans, buckets) in [
        (8, &histogram.negative_spans, &histogram.negative_buckets),
        (11, &histogram.positive_spans, &histogram.positive_buckets),
    ] {
        for span in spans {
            let mut one = Vec::new();
            number(&mut one, 1, zigzag(span.offset.into()));
            number(&mut one, 2, span.length.into());
            message(&mut out, field, &one);
        }
        let mut deltas = Vec::new();
        let mut last = 0;
        for count in buckets {
            varint(&mut deltas, zigzag(*count as i64 - last));
            last = *count as i64;
        }
        message(&mut out, field + 1, &deltas);
    }
    number(&mut out, 15, timestamp_ms as u64);
    out
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn message(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push((field << 3) | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
