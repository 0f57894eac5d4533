//! How the samples of one series are kept: `open` grows sample by sample, `sealed` is what becomes of it,
//! smaller, once it is full. Native histograms are in chunks of their own, `3` and what `histogram::encode` makes.

use std::sync::Arc;

use crate::{HistogramSample, Sample, decode_histograms, encode_histograms, varint::Malformed};

pub(crate) mod open;
pub(crate) mod sealed;

/// Samples of a full chunk.
pub(crate) const SAMPLES_MAX: usize = 120;

/// Native histograms of a full chunk: they are kept as they are until it is sealed.
pub(crate) const HISTOGRAMS_MAX: usize = 30;

const HISTOGRAMS: u8 = 3;

/// Samples as they are read: floats and native histograms, both sorted by time.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) floats: Vec<Sample>,
    pub(crate) histograms: Vec<HistogramSample>,
}

impl Read {
    /// Appends the samples of a sealed chunk.
    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match bytes.split_first() {
            Some((&HISTOGRAMS, rest)) => read_histograms(rest, &mut self.histograms),
            _ => sealed::read(bytes, &mut self.floats),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Leaves what is in the range.
    pub(crate) fn cut(&mut self, from_ms: i64, to_ms: i64) {
        cut(&mut self.floats, from_ms, to_ms, |s| s.timestamp_ms);
        cut(&mut self.histograms, from_ms, to_ms, |s| s.timestamp_ms);
    }
}

fn cut<T>(samples: &mut Vec<T>, from_ms: i64, to_ms: i64, time: impl Fn(&T) -> i64) {
    if samples.last().is_some_and(|last| time(last) > to_ms) {
        samples.truncate(samples.partition_point(|s| time(s) <= to_ms));
    }
    if samples.first().is_some_and(|first| time(first) < from_ms) {
        samples.drain(..samples.partition_point(|s| time(s) < from_ms));
    }
}

/// A sealed chunk of native histograms.
pub(crate) fn seal_histograms(samples: &[HistogramSample]) -> Vec<u8> {
    let pairs: Vec<_> = samples.iter().map(|s| (s.timestamp_ms, &*s.value)).collect();
    [&[HISTOGRAMS][..], &encode_histograms(pairs)].concat()
}

/// Appends what `histogram::encode` wrote.
pub(crate) fn read_histograms(
    bytes: &[u8],
    samples: &mut Vec<HistogramSample>,
) -> Result<(), Malformed> {
    let read = decode_histograms(bytes).map_err(|_| "a native histogram cannot be read")?;
    let sample = |(timestamp_ms, value)| HistogramSample { timestamp_ms, value: Arc::new(value) };
    samples.extend(read.into_iter().map(sample));
    Ok(())
}

/// The length of a bucket of time: chunks do not reach across its end.
const BUCKET_MS: i64 = 2 * 3_600_000;

/// The bucket that a time lies in. Times beyond 490,000 years lie in the first and in the last.
pub(crate) fn bucket(timestamp_ms: i64) -> i32 {
    let bucket = timestamp_ms.div_euclid(BUCKET_MS);
    bucket.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// When a bucket begins.
pub(crate) fn bucket_start_ms(bucket: i32) -> i64 {
    i64::from(bucket) * BUCKET_MS
}

/// When a bucket ends: the first time that is not in it.
pub(crate) fn bucket_end_ms(bucket: i32) -> i64 {
    bucket_start_ms(bucket) + BUCKET_MS
}
