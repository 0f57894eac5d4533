//! Samples of one series as bytes, for chunks and logs. The shape never changes under its version: a test pins it.
//!
//! ```text
//! version  n  n × sample
//! sample   flags     bit 0: a layout follows; bits 1 and 2: the reset hint
//!          time      difference to the sample before
//!          layout    schema, zero threshold, custom bounds, positive spans, negative spans; else as before
//!          values    count, sum, zero count, positive buckets, negative buckets
//! value    2 × zigzag(difference to the value before)   where both are whole numbers, as counters are: mostly a byte
//!          or 1 and the 8 bytes of the number
//! ```
//! Numbers are LEB128, signed ones in zigzag; lists have their length before them.

use super::{BUCKETS_MAX, Histogram, HistogramError, INDEX_MAX, ResetHint, Span, span};
use crate::varint::{self, Malformed, Reader};

const VERSION: u8 = 1;
const HAS_LAYOUT: u8 = 1;
/// Whole numbers up to this are exact in an `f64`.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// Most samples in one run.
pub const RUN_MAX: usize = 1_024;

/// Encodes samples (milliseconds, histogram) of one series. Spans without buckets are not kept.
#[must_use]
pub fn encode_histograms<'a, I>(samples: I) -> Vec<u8>
where
    I: IntoIterator<Item = (i64, &'a Histogram), IntoIter: ExactSizeIterator>,
{
    let samples = samples.into_iter();
    let mut out = vec![VERSION];
    varint::put(&mut out, samples.len() as u64);
    let mut last = (0_i64, Histogram::default());
    let mut first = true;
    for (timestamp_ms, histogram) in samples {
        let histogram = normal(histogram);
        let new_layout = first || !histogram.has_layout_of(&last.1);
        first = false;
        out.push((u8::from(new_layout) * HAS_LAYOUT) | (hint_bits(histogram.reset_hint) << 1));
        varint::put_signed(&mut out, timestamp_ms.wrapping_sub(last.0));
        if new_layout {
            put_layout(&mut out, &histogram);
            last.1 = emptied(&histogram);
        }
        for (value, before) in values(&histogram).zip(values(&last.1)) {
            put_value(&mut out, value, before);
        }
        last = (timestamp_ms, histogram);
    }
    out
}

/// Reads what [`encode_histograms`] wrote.
///
/// # Errors
/// When the bytes are anything else. Whatever they are, no more than a small multiple of their size is allocated.
pub fn decode_histograms(bytes: &[u8]) -> Result<Vec<(i64, Histogram)>, HistogramError> {
    decode(bytes).map_err(HistogramError::Encoding)
}

fn decode(bytes: &[u8]) -> Result<Vec<(i64, Histogram)>, Malformed> {
    let mut reader = Reader(bytes);
    if reader.byte()? != VERSION {
        return Err("it has an unknown version");
    }
    let count = reader.count(5)?;
    if count > RUN_MAX {
        return Err("a run has too many samples");
    }
    let mut samples: Vec<(i64, Histogram)> = Vec::with_capacity(count);
    for _ in 0..count {
        let flags = reader.byte()?;
        let last_ms = samples.last().map_or(0, |(timestamp_ms, _)| *timestamp_ms);
        let timestamp_ms = last_ms.wrapping_add(reader.signed()?);
        let mut histogram = if flags & HAS_LAYOUT == 0 {
            samples.last().ok_or("the first sample has no layout")?.1.clone()
        } else {
            read_layout(&mut reader)?
        };
        histogram.reset_hint = hint(flags >> 1)?;
        for value in values_mut(&mut histogram) {
            *value = read_value(&mut reader, *value)?;
        }
        samples.push((timestamp_ms, histogram));
    }
    reader.end()?;
    Ok(samples)
}

/// Without empty spans, and with as many counts as the spans say.
fn normal(histogram: &Histogram) -> Histogram {
    let mut normal = histogram.clone();
    for (spans, buckets) in [
        (&mut normal.positive_spans, &mut normal.positive_buckets),
        (&mut normal.negative_spans, &mut normal.negative_buckets),
    ] {
        (*spans, *buckets) = span::pack(span::cells(spans, buckets).collect::<Vec<_>>());
    }
    normal
}

fn emptied(histogram: &Histogram) -> Histogram {
    let mut empty = histogram.clone();
    values_mut(&mut empty).for_each(|value| *value = 0.0);
    empty
}

fn values(h: &Histogram) -> impl Iterator<Item = f64> {
    let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
    [h.count, h.sum, h.zero_count].into_iter().chain(buckets.copied())
}

fn values_mut(h: &mut Histogram) -> impl Iterator<Item = &mut f64> {
    let buckets = h.positive_buckets.iter_mut().chain(&mut h.negative_buckets);
    [&mut h.count, &mut h.sum, &mut h.zero_count].into_iter().chain(buckets)
}

fn put_value(out: &mut Vec<u8>, value: f64, before: f64) {
    let whole = |v: f64| v.abs() <= WHOLE_MAX && (v as i64 as f64).to_bits() == v.to_bits();
    if whole(value) && whole(before) {
        let difference = value as i64 - before as i64;
        varint::put(out, (((difference << 1) ^ (difference >> 63)) as u64) << 1);
    } else {
        out.push(1);
        out.extend_from_slice(&value.to_bits().to_be_bytes());
    }
}

fn read_value(reader: &mut Reader<'_>, before: f64) -> Result<f64, Malformed> {
    let raw = reader.unsigned()?;
    if raw == 1 {
        return read_bits(reader);
    }
    if raw & 1 == 1 || before.abs() > WHOLE_MAX || before.is_nan() {
        return Err("a value is of no known kind");
    }
    let zigzag = raw >> 1;
    let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    Ok((before as i64).saturating_add(difference) as f64)
}

fn read_bits(reader: &mut Reader<'_>) -> Result<f64, Malformed> {
    let bytes = reader.bytes(8)?.try_into().map_err(|_| "ends too early")?;
    Ok(f64::from_bits(u64::from_be_bytes(bytes)))
}

fn put_layout(out: &mut Vec<u8>, histogram: &Histogram) {
    varint::put_signed(out, histogram.schema.into());
    out.extend_from_slice(&histogram.zero_threshold.to_bits().to_be_bytes());
    varint::put(out, histogram.custom_values.len() as u64);
    for bound in &histogram.custom_values {
        out.extend_from_slice(&bound.to_bits().to_be_bytes());
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        varint::put(out, spans.len() as u64);
        for span in spans {
            varint::put_signed(out, span.offset.into());
            varint::put(out, span.length.into());
        }
    }
}

/// A histogram with this layout and all values 0.
fn read_layout(reader: &mut Reader<'_>) -> Result<Histogram, Malformed> {
    let schema = i32::try_from(reader.signed()?).map_err(|_| "a schema is too large")?;
    let mut histogram =
        Histogram { schema, zero_threshold: read_bits(reader)?, ..Histogram::default() };
    for _ in 0..reader.count(8)?.min(BUCKETS_MAX + 1) {
        histogram.custom_values.push(read_bits(reader)?);
    }
    histogram.positive_spans = read_spans(reader)?;
    histogram.negative_spans = read_spans(reader)?;
    let buckets = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
    let (positive, negative) =
        (buckets(&histogram.positive_spans), buckets(&histogram.negative_spans));
    if positive + negative > reader.0.len() {
        return Err("spans hold more buckets than there are bytes");
    }
    histogram.positive_buckets = vec![0.0; positive];
    histogram.negative_buckets = vec![0.0; negative];
    Ok(histogram)
}

fn read_spans(reader: &mut Reader<'_>) -> Result<Vec<Span>, Malformed> {
    let mut spans = Vec::new();
    let mut end = 0_i64;
    for _ in 0..reader.count(2)? {
        let offset = i32::try_from(reader.signed()?).map_err(|_| "a span's offset is too large")?;
        let length = u32::try_from(reader.unsigned()?).map_err(|_| "a span is too long")?;
        end += i64::from(offset) + i64::from(length);
        if length == 0 || end.abs() > INDEX_MAX {
            return Err("a span is empty or out of range");
        }
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn hint_bits(hint: ResetHint) -> u8 {
    match hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    }
}

fn hint(bits: u8) -> Result<ResetHint, Malformed> {
    Ok(match bits {
        0 => ResetHint::Unknown,
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => return Err("unknown flags"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    fn same(one: &Histogram, other: &Histogram) -> bool {
        one.reset_hint == other.reset_hint && one.equals(other)
    }

    proptest! {
        #[test]
        fn round_trip(
            all in prop::collection::vec((any::<i64>(), 0_u8..4, testing::exponential(), testing::custom()), 0..8),
            factor in prop::sample::select(vec![1.0, 0.3, -1.0, 1e300, f64::NAN]),
        ) {
            let mut samples = Vec::new();
            for (timestamp_ms, hint, exponential, custom) in all {
                let mut one = if hint == 0 { custom } else { exponential };
                one.reset_hint = super::hint(hint).expect("0 to 3");
                samples.push((timestamp_ms, one.clone()));
                one.mul(if factor.is_nan() { 2.0 } else { factor });
                if factor.is_nan() {
                    one.sum = f64::NAN;
                }
                samples.push((timestamp_ms.wrapping_add(1), one));
            }
            let bytes = encode_histograms(samples.iter().map(|(t, h)| (*t, h)));
            let back = decode_histograms(&bytes).expect("our own");
            prop_assert_eq!(back.len(), samples.len());
            for (one, other) in back.iter().zip(&samples) {
                prop_assert!(one.0 == other.0 && same(&one.1, &other.1), "{one:?}\n{other:?}");
            }
        }

        #[test]
        fn garbage_is_an_error_at_worst(bytes: Vec<u8>) {
            let _ = decode_histograms(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_an_error_at_worst(one in testing::exponential(), at: prop::sample::Index, bit in 0_u32..8) {
            let mut bytes = encode_histograms([(1, &one), (2, &one)]);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let _ = decode_histograms(&bytes);
        }
    }

    /// Bytes as they are on somebody's disk. When this fails, give the encoding a new version instead.
    #[test]
    fn golden() {
        let parse = |text| Histogram::parse(text).expect(text);
        let one = parse(
            "{{schema:1 count:7 sum:2.5 z_bucket:1 z_bucket_w:0.25 offset:-1 buckets:[2 0 4]}}",
        );
        let two = parse(
            "{{schema:1 count:9 sum:3 z_bucket:1 z_bucket_w:0.25 offset:-1 buckets:[2 0 6] counter_reset_hint:gauge}}",
        );
        let hex: String = encode_histograms([(1000, &one), (2000, &two)])
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "010201d00f023fd000000000000000010103001c0140040000000000000408001006d00f0801400800000000000000000008"
        );
    }

    /// A counter's next sample with the same buckets takes about a byte per bucket.
    #[test]
    fn counters_are_small() {
        let mut h = testing_counter(0.0);
        let one = encode_histograms([(1_700_000_000_000, &h)]).len();
        let mut samples = vec![(1_700_000_000_000, h.clone())];
        for step in 1..100 {
            h.add(&testing_counter(f64::from(step % 3))).expect("alike");
            samples.push((1_700_000_000_000 + step as i64 * 10_000, h.clone()));
        }
        let all = encode_histograms(samples.iter().map(|(t, h)| (*t, h))).len();
        assert!((all - one) / 99 < 30, "{} bytes for 20 buckets", (all - one) / 99);
    }

    fn testing_counter(by: f64) -> Histogram {
        Histogram {
            count: 20.0 * by,
            sum: 50.0 * by,
            positive_spans: vec![Span { offset: 3, length: 20 }],
            positive_buckets: vec![by; 20],
            ..Histogram::default()
        }
    }
}
