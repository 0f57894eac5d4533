//! Every row that is persisted, with its id. A row's shape never changes under its id and version: a test
//! pins the bytes.
//!
//! ```text
//! id  row     key                          value
//! 0   meta    0                            format, next series id, next suffix, then bucket and bytes of each
//!                                          bucket of time
//! 1   series  1 id                         version, n, n × (name, value), each with its length
//! 2   chunk   2 bucket id end [suffix]     a sealed chunk; the end is that of its last sample, in its bucket;
//!                                          with a suffix it came late
//! 3   log     3 number                     version, then samples: id and kind, time; 8 bytes of value, or a native
//!                                          histogram (see `histogram::encode`) with its length
//! 4   head    4 group                      version, number of the first log row that is not in it, then series
//!                                          of the group: place in it, head (see `head`)
//! ```
//! Numbers in keys are big endian, signed ones with their sign bit flipped: keys sort as they count. Ids have 4
//! bytes. In the log an id is the difference to the one before, twice, and a time is the difference to the one
//! before, since a batch is of one time.
//!
//! Format 1 had ids of 8 bytes and chunks without buckets.

use std::collections::BTreeMap;

use crate::{
    HistogramSample, Sample, chunk, encode_histograms,
    postings::Id,
    varint::{self, Malformed, Reader},
};

/// What [`meta`] says of a store this code can read.
pub(crate) const FORMAT: u8 = 2;
const VERSION: u8 = 1;
const LOG_VERSION: u8 = 2;

const META: u8 = 0;
const SERIES: u8 = 1;
const CHUNK: u8 = 2;
const LOG: u8 = 3;
const HEAD: u8 = 4;

/// Kinds of samples in the log.
const FLOAT: i64 = 0;
const HISTOGRAM: i64 = 1;

/// Series whose heads share a row.
pub(crate) const GROUP_SIZE: u32 = 256;

/// Key of the one meta row.
pub(crate) const META_KEY: [u8; 1] = [META];
/// Prefix of all series rows.
pub(crate) const SERIES_PREFIX: [u8; 1] = [SERIES];
/// Prefix of all log rows.
pub(crate) const LOG_PREFIX: [u8; 1] = [LOG];
/// Prefix of all head rows.
pub(crate) const HEAD_PREFIX: [u8; 1] = [HEAD];

pub(crate) fn series_key(id: Id) -> [u8; 5] {
    short_key(SERIES, id)
}

pub(crate) fn head_key(group: u32) -> [u8; 5] {
    short_key(HEAD, group)
}

fn short_key(kind: u8, number: u32) -> [u8; 5] {
    let mut key = [kind; 5];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn log_key(number: u64) -> [u8; 9] {
    let mut key = [LOG; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Prefix of all chunks of a bucket.
pub(crate) fn bucket_prefix(bucket: i32) -> [u8; 5] {
    short_key(CHUNK, bucket as u32 ^ 1 << 31)
}

/// The key of a chunk by its last timestamp; the first possible one without, the last one with a suffix of
/// [`u64::MAX`].
pub(crate) fn chunk_key(id: Id, end_ms: i64, suffix: Option<u64>) -> Vec<u8> {
    let bucket = chunk::bucket(end_ms);
    let offset = end_ms.saturating_sub(chunk::bucket_start_ms(bucket));
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    let mut key = Vec::with_capacity(21);
    key.extend_from_slice(&bucket_prefix(bucket));
    key.extend_from_slice(&id.to_be_bytes());
    key.extend_from_slice(&offset.to_be_bytes());
    if let Some(suffix) = suffix {
        key.extend_from_slice(&suffix.to_be_bytes());
    }
    key
}

/// The number in a series, head or log key.
pub(crate) fn number(key: &[u8]) -> Result<u64, Malformed> {
    let digits = key.get(1..).filter(|digits| digits.len() == 4 || digits.len() == 8);
    let digits = digits.ok_or("a key has a length that this version does not know")?;
    Ok(digits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// What [`meta`] holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) next_id: u64,
    pub(crate) next_suffix: u64,
    /// Bytes of chunks by bucket.
    pub(crate) buckets: BTreeMap<i32, u64>,
}

pub(crate) fn meta(meta: &Meta) -> Vec<u8> {
    let mut out = vec![FORMAT];
    varint::put(&mut out, meta.next_id);
    varint::put(&mut out, meta.next_suffix);
    for (bucket, bytes) in &meta.buckets {
        varint::put_signed(&mut out, i64::from(*bucket));
        varint::put(&mut out, *bytes);
    }
    out
}

/// The meta row, if the format is ours.
pub(crate) fn read_meta(value: &[u8]) -> Result<Meta, Malformed> {
    let mut reader = Reader(value);
    if reader.byte()? != FORMAT {
        return Err("the store has a format that this version does not know");
    }
    let mut meta = Meta {
        next_id: reader.unsigned()?,
        next_suffix: reader.unsigned()?,
        buckets: BTreeMap::new(),
    };
    while !reader.0.is_empty() {
        let bucket = i32::try_from(reader.signed()?).map_err(|_| "a bucket is too far away")?;
        meta.buckets.insert(bucket, reader.unsigned()?);
    }
    Ok(meta)
}

pub(crate) fn series<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Vec<u8> {
    let mut out = vec![VERSION];
    varint::put(&mut out, pairs.clone().count() as u64);
    for text in pairs.flat_map(|(name, value)| [name, value]) {
        varint::put(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// The labels in a series row.
pub(crate) fn read_series<'a>(
    value: &'a [u8],
    pairs: &mut Vec<(&'a str, &'a str)>,
) -> Result<(), Malformed> {
    fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
        let size = reader.count(1)?;
        str::from_utf8(reader.bytes(size)?).map_err(|_| "a label is not UTF-8")
    }
    let mut reader = versioned(value, VERSION)?;
    for _ in 0..reader.count(2)? {
        pairs.push((text(&mut reader)?, text(&mut reader)?));
    }
    reader.end()
}

/// A log row that is being filled.
#[derive(Debug)]
pub(crate) struct LogRow {
    pub(crate) bytes: Vec<u8>,
    pub(crate) samples: usize,
    last_id: Id,
    last_ms: i64,
}

impl Default for LogRow {
    fn default() -> Self {
        Self { bytes: vec![LOG_VERSION], samples: 0, last_id: 0, last_ms: 0 }
    }
}

impl LogRow {
    pub(crate) fn push(&mut self, id: Id, sample: Sample) {
        self.begin(id, sample.timestamp_ms, FLOAT);
        self.bytes.extend_from_slice(&sample.value.to_bits().to_be_bytes());
    }

    pub(crate) fn push_histogram(&mut self, id: Id, sample: &HistogramSample) {
        self.begin(id, sample.timestamp_ms, HISTOGRAM);
        let bytes = encode_histograms([(sample.timestamp_ms, &*sample.value)]);
        varint::put(&mut self.bytes, bytes.len() as u64);
        self.bytes.extend_from_slice(&bytes);
    }

    fn begin(&mut self, id: Id, timestamp_ms: i64, kind: i64) {
        let change = i64::from(id) - i64::from(self.last_id);
        varint::put_signed(&mut self.bytes, change * 2 + kind);
        varint::put_signed(&mut self.bytes, timestamp_ms.wrapping_sub(self.last_ms));
        (self.last_id, self.last_ms) = (id, timestamp_ms);
        self.samples += 1;
    }
}

/// A sample in a log row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Logged {
    Float(Sample),
    Histogram(HistogramSample),
}

/// Calls `each` for every sample of a log row.
pub(crate) fn read_log(value: &[u8], mut each: impl FnMut(Id, Logged)) -> Result<(), Malformed> {
    let mut reader = versioned(value, LOG_VERSION)?;
    let (mut last_id, mut last_ms) = (0_i64, 0_i64);
    while !reader.0.is_empty() {
        let change = reader.signed()?;
        last_id = last_id.wrapping_add(change >> 1);
        last_ms = last_ms.wrapping_add(reader.signed()?);
        let id = Id::try_from(last_id).map_err(|_| "a series id is too large")?;
        if change & 1 == FLOAT {
            let bits = reader.bytes(8)?.try_into().map_err(|_| "ends too early")?;
            let value = f64::from_bits(u64::from_be_bytes(bits));
            each(id, Logged::Float(Sample { timestamp_ms: last_ms, value }));
        } else {
            let size = reader.count(1)?;
            let mut samples = Vec::new();
            chunk::read_histograms(reader.bytes(size)?, &mut samples)?;
            samples.into_iter().for_each(|sample| each(id, Logged::Histogram(sample)));
        }
    }
    Ok(())
}

/// The beginning of a head row; each head follows its place in the group.
pub(crate) fn heads(first_row: u64) -> Vec<u8> {
    let mut out = vec![VERSION];
    varint::put(&mut out, first_row);
    out
}

/// The log row from which on samples are not in these heads; the reader is left at the first head.
pub(crate) fn read_heads(value: &[u8]) -> Result<(u64, Reader<'_>), Malformed> {
    let mut reader = versioned(value, VERSION)?;
    Ok((reader.unsigned()?, reader))
}

fn versioned(value: &[u8], version: u8) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader(value);
    if reader.byte()? == version { Ok(reader) } else { Err("a row has an unknown version") }
}

#[cfg(test)]
mod tests;
