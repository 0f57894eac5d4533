//! How the samples of one series lie on disk: timestamps as deltas of deltas, values as what changed.
//!
//! A probe every 10 s whose answer is always 1 takes about a byte per sample, one whose duration differs
//! each time about eight:
//!
//! ```text
//! version count │ t0  t1-t0  then each delta minus the one before (zigzag varints)
//!               │ values: 1nnnnnnn        the last value n+1 times again
//!               │         0lll ssss b…    XOR with the last value: lll zero bytes, then ssss bytes, then zeros
//! ```
//! The value before the first is 0.0. (Facebook's Gorilla, VLDB 2015 §4.1, on whole bytes.)

use crate::{
    Sample,
    varint::{self, Malformed, Reader},
};

/// Samples of a full chunk.
pub(crate) const SAMPLES_MAX: usize = 120;
/// First byte of a chunk: the layout above.
const VERSION: u8 = 1;
const REPEAT: u8 = 0x80;
const REPEAT_MAX: usize = 0x80;

/// Writes samples of any timestamps and any bits.
pub(crate) fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() * 4 + 16);
    out.push(VERSION);
    varint::put(&mut out, samples.len() as u64);
    let (mut last, mut delta) = (0_i64, 0_i64);
    for (at, sample) in samples.iter().enumerate() {
        let now = sample.timestamp_ms.wrapping_sub(last);
        varint::put_signed(&mut out, if at < 2 { now } else { now.wrapping_sub(delta) });
        (last, delta) = (sample.timestamp_ms, now);
    }
    let mut last = 0_u64;
    for run in samples.chunk_by(|a, b| a.value.to_bits() == b.value.to_bits()) {
        let bits = run[0].value.to_bits();
        let mut repeats = run.len();
        if bits != last {
            put_changed(&mut out, bits ^ last);
            (last, repeats) = (bits, repeats - 1);
        }
        while repeats > 0 {
            let n = repeats.min(REPEAT_MAX);
            out.push(REPEAT | (n - 1) as u8);
            repeats -= n;
        }
    }
    out
}

/// `xor` is not 0.
fn put_changed(out: &mut Vec<u8>, xor: u64) {
    let leading = (xor.leading_zeros() / 8) as usize;
    let size = 8 - leading - (xor.trailing_zeros() / 8) as usize;
    out.push((leading << 4 | size) as u8);
    out.extend_from_slice(&xor.to_be_bytes()[leading..leading + size]);
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Sample>, Malformed> {
    let mut reader = Reader(bytes);
    if reader.byte()? != VERSION {
        return Err("a chunk has an unknown version");
    }
    let count = reader.count(1)?;
    let mut samples = Vec::with_capacity(count);
    let (mut last, mut delta) = (0_i64, 0_i64);
    for at in 0..count {
        let change = reader.signed()?;
        let now = if at < 2 { change } else { change.wrapping_add(delta) };
        (last, delta) = (last.wrapping_add(now), now);
        samples.push(Sample { timestamp_ms: last, value: 0.0 });
    }
    let mut bits = 0_u64;
    let mut at = 0;
    while at < count {
        let token = reader.byte()?;
        let repeats = if token & REPEAT != 0 {
            usize::from(token & !REPEAT) + 1
        } else {
            bits ^= changed(token, &mut reader)?;
            1
        };
        let run = samples.get_mut(at..at + repeats).ok_or("a run is longer than the chunk")?;
        run.iter_mut().for_each(|sample| sample.value = f64::from_bits(bits));
        at += repeats;
    }
    reader.end()?;
    Ok(samples)
}

fn changed(token: u8, reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let (leading, size) = (usize::from(token >> 4), usize::from(token & 0x0f));
    let mut xor = [0_u8; 8];
    xor.get_mut(leading..leading + size)
        .ok_or("a value is longer than 8 bytes")?
        .copy_from_slice(reader.bytes(size)?);
    Ok(u64::from_be_bytes(xor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(samples: &[Sample]) -> Vec<(i64, u64)> {
        samples.iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect()
    }

    proptest! {
        #[test]
        fn any_samples_come_back(
            raw in prop::collection::vec((any::<i64>(), prop_oneof![
                any::<u64>(),
                Just(1.0_f64.to_bits()),
                Just(0.0_f64.to_bits()),
            ]), 0..300)
        ) {
            let samples: Vec<_> = raw
                .iter()
                .map(|&(timestamp_ms, value)| Sample { timestamp_ms, value: f64::from_bits(value) })
                .collect();
            prop_assert_eq!(bits(&decode(&encode(&samples)).expect("decodes")), raw);
        }

        #[test]
        fn garbage_is_an_error_at_worst(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_cut_chunk_is_an_error(cut in 0_usize..20) {
            let samples: Vec<_> =
                (0..20).map(|n| Sample { timestamp_ms: n * 1000, value: n as f64 }).collect();
            let bytes = encode(&samples);
            prop_assert!(decode(&bytes[..bytes.len() - 1 - cut]).is_err());
        }
    }

    #[test]
    fn probes_are_small() {
        let every_10_s = |value: fn(i64) -> f64| {
            let samples: Vec<_> = (0..SAMPLES_MAX as i64)
                .map(|n| Sample {
                    timestamp_ms: 1_760_000_000_000 + n * 10_000 + n % 3,
                    value: value(n),
                })
                .collect();
            encode(&samples).len()
        };
        assert!(every_10_s(|_| 1.0) < 140, "{}", every_10_s(|_| 1.0));
        assert!(
            every_10_s(|n| 0.001 + n as f64 / 7e5) < 1200,
            "{}",
            every_10_s(|n| n as f64 / 7e5)
        );
    }
}
