//! Prometheus's XOR chunk (`tsdb/docs/format/chunks.md`; Gorilla, VLDB 2015 §4.1): how remote read streams samples. Written only. Pure.
//!
//! ```text
//! count (2 bytes) │ first: varint time, 64 bits value │ second: uvarint delta, xor │ further: delta of delta, xor …
//! ```

use watchkeep_series::Sample;

/// Samples of one chunk.
pub(super) const SAMPLES_MAX: usize = 120;
/// More leading zeros than this cannot be said in five bits.
const LEADING_MAX: u32 = 31;

/// Bits, the first one highest.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// How many of the last byte are free.
    free: u32,
}

impl Bits {
    /// The lowest `count` bits of `value`.
    fn put(&mut self, value: u64, count: u32) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            let bit = u8::from((value >> at) & 1 == 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << self.free;
            }
        }
    }

    fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }
}

/// At most [`SAMPLES_MAX`] samples that rise in time.
pub(super) fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(samples.len() as u64, 16);
    let (mut time, mut delta) = (0_i64, 0_i64);
    let mut values = Values { last: 0, leading: None, trailing: 0 };
    for (at, sample) in samples.iter().enumerate() {
        let now = sample.timestamp_ms;
        let step = now.wrapping_sub(time);
        match at {
            0 => {
                // Zigzag.
                bits.uvarint((now.wrapping_shl(1) ^ (now >> 63)).cast_unsigned());
                bits.put(sample.value.to_bits(), 64);
                values.last = sample.value.to_bits();
            }
            1 => {
                bits.uvarint(step.cast_unsigned());
                values.put(&mut bits, sample.value);
            }
            _ => {
                twice(&mut bits, step.wrapping_sub(delta));
                values.put(&mut bits, sample.value);
            }
        }
        (time, delta) = (now, step);
    }
    bits.bytes
}

/// A delta of deltas, the small ones short.
fn twice(bits: &mut Bits, change: i64) {
    let fits = |width: u32| {
        let half = 1_i64 << (width - 1);
        (1 - half..=half).contains(&change)
    };
    let value = change.cast_unsigned();
    if change == 0 {
        bits.put(0b0, 1);
    } else if fits(14) {
        bits.put(0b10, 2);
        bits.put(value, 14);
    } else if fits(17) {
        bits.put(0b110, 3);
        bits.put(value, 17);
    } else if fits(20) {
        bits.put(0b1110, 4);
        bits.put(value, 20);
    } else {
        bits.put(0b1111, 4);
        bits.put(value, 64);
    }
}

/// The value before, and which of its bits differed last.
struct Values {
    last: u64,
    leading: Option<u32>,
    trailing: u32,
}

impl Values {
    fn put(&mut self, bits: &mut Bits, value: f64) {
        let differ = value.to_bits() ^ self.last;
        self.last = value.to_bits();
        if differ == 0 {
            return bits.put(0, 1);
        }
        bits.put(1, 1);
        let leading = differ.leading_zeros().min(LEADING_MAX);
        let trailing = differ.trailing_zeros();
        if let Some(known) =
            self.leading.filter(|known| leading >= *known && trailing >= self.trailing)
        {
            bits.put(0, 1);
            return bits.put(differ >> self.trailing, 64 - known - self.trailing);
        }
        (self.leading, self.trailing) = (Some(leading), trailing);
        let width = 64 - leading - trailing;
        bits.put(1, 1);
        bits.put(u64::from(leading), 5);
        // 64 is said as 0.
        bits.put(u64::from(width), 6);
        bits.put(differ >> trailing, width);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Reader<'a>(&'a [u8], usize);

    impl Reader<'_> {
        fn bits(&mut self, count: u32) -> u64 {
            (0..count).fold(0, |value, _| {
                let bit = self.0[self.1 / 8] >> (7 - self.1 % 8) & 1;
                self.1 += 1;
                value << 1 | u64::from(bit)
            })
        }

        fn uvarint(&mut self) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = self.bits(8);
                value |= (byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }

        fn signed(&mut self, width: u32) -> i64 {
            let value = self.bits(width).cast_signed();
            // The highest value is the positive one: -(2^(n-1)) is never written.
            if value > 1 << (width - 1) { value - (1 << width) } else { value }
        }
    }

    /// As Prometheus reads it.
    fn decode(bytes: &[u8]) -> Vec<(i64, u64)> {
        let mut reader = Reader(bytes, 0);
        let count = reader.bits(16);
        let (mut time, mut delta, mut value, mut leading, mut trailing) =
            (0_i64, 0_i64, 0_u64, 0, 0);
        (0..count)
            .map(|at| {
                if at == 0 {
                    let zigzag = reader.uvarint();
                    time = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
                    value = reader.bits(64);
                    return (time, value);
                }
                if at == 1 {
                    delta = reader.uvarint().cast_signed();
                } else {
                    let ones = (0..4).take_while(|_| reader.bits(1) == 1).count();
                    let change = match ones {
                        0 => 0,
                        1 => reader.signed(14),
                        2 => reader.signed(17),
                        3 => reader.signed(20),
                        _ => reader.bits(64).cast_signed(),
                    };
                    delta = delta.wrapping_add(change);
                }
                time = time.wrapping_add(delta);
                if reader.bits(1) == 1 {
                    if reader.bits(1) == 1 {
                        leading = reader.bits(5) as u32;
                        let width = match reader.bits(6) as u32 {
                            0 => 64,
                            width => width,
                        };
                        trailing = 64 - leading - width;
                    }
                    value ^= reader.bits(64 - leading - trailing) << trailing;
                }
                (time, value)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn round_trip(start in -1_000_000_000_000_i64..3_000_000_000_000,
                      steps in prop::collection::vec((1_i64..2_000_000_000, prop_oneof![any::<f64>(), Just(1.0), Just(0.5)]), 0..SAMPLES_MAX)) {
            let mut at = start;
            let samples: Vec<_> = steps.iter().map(|(step, value)| {
                at += step;
                Sample { timestamp_ms: at, value: *value }
            }).collect();
            let bits: Vec<_> = samples.iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect();
            prop_assert_eq!(decode(&encode(&samples)), bits);
        }
    }

    /// Bytes that Prometheus's own encoder makes of these: 1 and 2 at 1000 and 2000 ms.
    #[test]
    fn known_bytes() {
        let samples = [(1_000, 1.0), (2_000, 2.0)]
            .map(|(timestamp_ms, value)| Sample { timestamp_ms, value });
        let expected = [0x00, 0x02, 0xd0, 0x0f, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xe8, 0x07];
        let bytes = encode(&samples);
        assert_eq!(bytes[..14], expected);
    }
}
