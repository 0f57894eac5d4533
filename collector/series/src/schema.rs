//! Every row that is persisted, with its id. A row's shape never changes under its id and version: a test
//! pins the bytes.
//!
//! ```text
//! id  row     key                          value
//! 0   meta    0                            format, next series id (8 bytes, big endian)
//! 1   series  1 id                         version, n, n × (name, value), each with its length
//! 2   chunk   2 id last-timestamp          a chunk (see `chunk`); the key's time is that of its last sample
//! 3   log     3 number                     version, n, n × (series id, timestamp, 8 bytes of value)
//! ```
//! Ids, numbers and timestamps in keys are 8 bytes, big endian, timestamps with their sign bit flipped: keys
//! sort as they count. In the log a timestamp is the difference to the one before, since a batch is of one time.

use crate::{
    Labels, Sample,
    varint::{self, Malformed, Reader},
};

/// What [`meta`] says of a store this code can read.
pub(crate) const FORMAT: u8 = 1;
const VERSION: u8 = 1;

const META: u8 = 0;
const SERIES: u8 = 1;
const CHUNK: u8 = 2;
const LOG: u8 = 3;

/// Key of the one meta row.
pub(crate) const META_KEY: [u8; 1] = [META];
/// Prefix of all series rows.
pub(crate) const SERIES_PREFIX: [u8; 1] = [SERIES];
/// Prefix of all log rows.
pub(crate) const LOG_PREFIX: [u8; 1] = [LOG];

pub(crate) fn series_key(id: u64) -> [u8; 9] {
    key(SERIES, id)
}

pub(crate) fn log_key(number: u64) -> [u8; 9] {
    key(LOG, number)
}

/// Prefix of the chunks of one series.
pub(crate) fn chunk_prefix(id: u64) -> [u8; 9] {
    key(CHUNK, id)
}

pub(crate) fn chunk_key(id: u64, end_ms: i64) -> [u8; 17] {
    let mut key = [0; 17];
    key[..9].copy_from_slice(&chunk_prefix(id));
    key[9..].copy_from_slice(&(end_ms ^ i64::MIN).to_be_bytes());
    key
}

fn key(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number in a series or log key.
pub(crate) fn number(key: &[u8]) -> Result<u64, Malformed> {
    let bytes = key.get(1..9).and_then(|b| b.try_into().ok()).ok_or("a key is too short")?;
    Ok(u64::from_be_bytes(bytes))
}

/// The last timestamp in a chunk's key.
pub(crate) fn chunk_end_ms(key: &[u8]) -> Result<i64, Malformed> {
    let bytes = key.get(9..17).and_then(|b| b.try_into().ok()).ok_or("a key is too short")?;
    Ok(i64::from_be_bytes(bytes) ^ i64::MIN)
}

pub(crate) fn meta(next_id: u64) -> Vec<u8> {
    [&[FORMAT][..], &next_id.to_be_bytes()].concat()
}

/// The next series id, if the format is ours.
pub(crate) fn read_meta(value: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader(value);
    if reader.byte()? != FORMAT {
        return Err("the store has a format that this version does not know");
    }
    let id = reader.bytes(8)?.try_into().map_err(|_| "ends too early")?;
    reader.end()?;
    Ok(u64::from_be_bytes(id))
}

pub(crate) fn series(labels: &Labels) -> Vec<u8> {
    let mut out = vec![VERSION];
    varint::put(&mut out, labels.iter().len() as u64);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        varint::put(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    out
}

pub(crate) fn read_series(value: &[u8]) -> Result<Labels, Malformed> {
    let mut reader = versioned(value)?;
    let text = |reader: &mut Reader<'_>| {
        let size = reader.count(1)?;
        let bytes = reader.bytes(size)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a label is not UTF-8")
    };
    let count = reader.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((text(&mut reader)?, text(&mut reader)?));
    }
    reader.end()?;
    Ok(Labels::new(pairs))
}

pub(crate) fn log(samples: &[(u64, Sample)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() * 12 + 8);
    out.push(VERSION);
    varint::put(&mut out, samples.len() as u64);
    let mut last = 0_i64;
    for (id, sample) in samples {
        varint::put(&mut out, *id);
        varint::put_signed(&mut out, sample.timestamp_ms.wrapping_sub(last));
        out.extend_from_slice(&sample.value.to_bits().to_be_bytes());
        last = sample.timestamp_ms;
    }
    out
}

pub(crate) fn read_log(value: &[u8]) -> Result<Vec<(u64, Sample)>, Malformed> {
    let mut reader = versioned(value)?;
    let count = reader.count(10)?;
    let mut samples = Vec::with_capacity(count);
    let mut last = 0_i64;
    for _ in 0..count {
        let id = reader.unsigned()?;
        last = last.wrapping_add(reader.signed()?);
        let bits = reader.bytes(8)?.try_into().map_err(|_| "ends too early")?;
        let value = f64::from_bits(u64::from_be_bytes(bits));
        samples.push((id, Sample { timestamp_ms: last, value }));
    }
    reader.end()?;
    Ok(samples)
}

fn versioned(value: &[u8]) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader(value);
    if reader.byte()? == VERSION { Ok(reader) } else { Err("a row has an unknown version") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk;

    /// Bytes as they are on somebody's disk. When this fails, give the row a new id or version instead.
    #[test]
    fn golden() {
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let labels = Labels::new([("__name__", "up"), ("service", "web")]);
        let chunk = [sample(1000, 1.0), sample(2000, 1.0), sample(3001, 0.25)];
        let rows: [(&str, &[u8], &[u8]); 4] = [
            ("meta", &META_KEY, &meta(7)),
            ("series", &series_key(7), &series(&labels)),
            ("chunk", &chunk_key(7, 3001), &chunk::encode(&chunk)),
            ("log", &log_key(9), &log(&[(7, sample(3001, 0.25)), (300, sample(3000, 1.0))])),
        ];
        let text: Vec<_> =
            rows.iter().map(|(row, k, v)| format!("{row} {} {}", hex(k), hex(v))).collect();
        assert_eq!(
            text,
            [
                "meta 00 010000000000000007",
                "series 010000000000000007 \
                 0102085f5f6e616d655f5f027570077365727669636503776562",
                "chunk 0200000000000000078000000000000bb9 0103d00fd00f02023ff0801120",
                "log 030000000000000009 010207f22e3fd0000000000000ac02013ff0000000000000",
            ]
        );
    }

    #[test]
    fn keys_sort_as_they_count() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(times.map(|t| chunk_key(1, t)).is_sorted());
        assert_eq!(times.map(|t| chunk_end_ms(&chunk_key(1, t))), times.map(Ok));
        assert!(chunk_key(1, i64::MAX) < chunk_key(2, i64::MIN));
        assert_eq!(number(&log_key(77)), Ok(77));
    }

    proptest! {
        #[test]
        fn series_round_trip(pairs in prop::collection::btree_map(".{0,9}", ".{1,9}", 0..5)) {
            let labels = Labels::new(&pairs);
            prop_assert_eq!(read_series(&series(&labels)), Ok(labels));
        }

        #[test]
        fn log_round_trip(raw: Vec<(u64, i64, u64)>) {
            let samples: Vec<_> = raw
                .iter()
                .map(|&(id, timestamp_ms, v)| (id, Sample { timestamp_ms, value: f64::from_bits(v) }))
                .collect();
            let back: Vec<_> = read_log(&log(&samples))
                .expect("decodes")
                .into_iter()
                .map(|(id, s)| (id, s.timestamp_ms, s.value.to_bits()))
                .collect();
            prop_assert_eq!(back, raw);
        }

        #[test]
        fn garbage_is_an_error_at_worst(bytes: Vec<u8>) {
            let _ = (read_meta(&bytes), read_series(&bytes), read_log(&bytes), number(&bytes));
        }
    }
}
