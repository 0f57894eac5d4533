//! A chunk that grows: each sample is what changed against the one before, in whole bytes.
//!
//! ```text
//! 1nnnnnnn             n+1 samples, each as long after the one before and of the same value as that one
//! 0tll lsss [t] value  t: the interval changed, by a zigzag varint; the value by sss+1 bytes of XOR after
//!                      lll zero bytes, or, where those would be more than eight bytes:
//!          111 111     not at all
//!          111 110     by a whole number, a zigzag varint: both values are whole
//! ```
//! Before the first sample are time 0 and value 0.0, and its interval counts as none. A check that always
//! succeeds takes two bytes for 128 samples, a counter two or three a sample, a random value nine.

use crate::{
    Sample,
    varint::{self, Malformed, Reader},
};

const RUN: u8 = 0x80;
const RUN_MAX: u8 = 0x7f;
const INTERVAL: u8 = 0x40;
const SAME: u8 = 0x3f;
const WHOLE: u8 = 0x3e;
/// Whole numbers up to here are exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// The bytes grow by this much: a chunk of a hundred thousand must not keep twice its size.
const GROW_BYTES: usize = 48;

/// The samples of a growing chunk, rising in time.
#[derive(Debug, Default)]
pub(crate) struct Open {
    bytes: Vec<u8>,
    count: u32,
    in_run: bool,
    first_ms: i64,
    last_ms: i64,
    interval: i64,
    last: u64,
}

impl Open {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Timestamp of the first sample, if there is one.
    pub(crate) fn first_ms(&self) -> Option<i64> {
        (self.count > 0).then_some(self.first_ms)
    }

    /// Bytes on the heap.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        let bits = sample.value.to_bits();
        let interval = sample.timestamp_ms.wrapping_sub(self.last_ms);
        let change = interval.wrapping_sub(self.interval);
        if change == 0 && bits == self.last && self.count > 0 {
            self.repeat();
        } else {
            self.put(change, bits);
        }
        if self.count == 0 {
            self.first_ms = sample.timestamp_ms;
            self.interval = 0;
        } else {
            self.interval = interval;
        }
        self.count += 1;
        (self.last_ms, self.last) = (sample.timestamp_ms, bits);
    }

    fn repeat(&mut self) {
        match self.bytes.last_mut() {
            Some(run) if self.in_run && *run & RUN_MAX < RUN_MAX => *run += 1,
            _ => {
                self.grow(1);
                self.bytes.push(RUN);
                self.in_run = true;
            }
        }
    }

    fn put(&mut self, change: i64, bits: u64) {
        self.grow(24);
        self.in_run = false;
        let at = self.bytes.len();
        self.bytes.push(0);
        let mut token = 0;
        if change != 0 {
            token = INTERVAL;
            varint::put_signed(&mut self.bytes, change);
        }
        let xor = bits ^ self.last;
        if xor == 0 {
            token |= SAME;
        } else if let (Some(from), Some(to)) = (whole(self.last), whole(bits)) {
            token |= WHOLE;
            varint::put_signed(&mut self.bytes, to - from);
        } else {
            // Eight bytes after none, at most: 7 and 7, 7 and 6 stay free for the two above.
            let leading = (xor.leading_zeros() / 8) as usize;
            let size = 8 - leading - (xor.trailing_zeros() / 8) as usize;
            token |= (leading << 3 | (size - 1)) as u8;
            self.bytes.extend_from_slice(&xor.to_be_bytes()[leading..leading + size]);
        }
        self.bytes[at] = token;
    }

    fn grow(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            self.bytes.reserve_exact(GROW_BYTES.max(more));
        }
    }

    /// The chunk that has these bytes.
    pub(crate) fn recovered(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut open = Self::default();
        let mut samples = Vec::new();
        read(bytes, &mut samples)?;
        samples.into_iter().for_each(|sample| open.push(sample));
        Ok(open)
    }
}

/// The whole number that a value is, if it is exactly one.
fn whole(bits: u64) -> Option<i64> {
    let value = f64::from_bits(bits);
    let whole = value as i64;
    (value.abs() < WHOLE_MAX && (whole as f64).to_bits() == bits).then_some(whole)
}

/// Appends the samples of a growing chunk.
pub(crate) fn read(bytes: &[u8], samples: &mut Vec<Sample>) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    let (mut at_ms, mut interval, mut bits) = (0_i64, 0_i64, 0_u64);
    let mut is_first = true;
    while let Ok(token) = reader.byte() {
        if token & RUN != 0 {
            let value = f64::from_bits(bits);
            samples.extend((0..=token & RUN_MAX).map(|_| {
                at_ms = at_ms.wrapping_add(interval);
                Sample { timestamp_ms: at_ms, value }
            }));
            continue;
        }
        if token & INTERVAL != 0 {
            interval = interval.wrapping_add(reader.signed()?);
        }
        at_ms = at_ms.wrapping_add(interval);
        if is_first {
            (interval, is_first) = (0, false);
        }
        match token & SAME {
            SAME => {}
            WHOLE => {
                let from = whole(bits).ok_or("a whole number follows another")?;
                let to = from.wrapping_add(reader.signed()?);
                bits = (to as f64).to_bits();
            }
            xor => {
                let (leading, size) = (usize::from(xor >> 3), usize::from(xor & 7) + 1);
                let mut word = [0_u8; 8];
                word.get_mut(leading..leading + size)
                    .ok_or("a value is longer than 8 bytes")?
                    .copy_from_slice(reader.bytes(size)?);
                bits ^= u64::from_be_bytes(word);
            }
        }
        samples.push(Sample { timestamp_ms: at_ms, value: f64::from_bits(bits) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::SAMPLES_MAX;

    fn bits(samples: &[Sample]) -> Vec<(i64, u64)> {
        samples.iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect()
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            any::<f64>().prop_map(f64::to_bits),
            (-9..9_i32).prop_map(|n| f64::from(n).to_bits()),
            any::<i64>().prop_map(|n| (n as f64).to_bits()),
            Just((-0.0_f64).to_bits()),
            Just(0x7ff0_0000_0000_0002),
        ]
    }

    proptest! {
        #[test]
        fn any_samples_come_back(raw in prop::collection::vec((prop_oneof![any::<i64>(), 0..9_i64], value()), 0..300), step: bool) {
            let mut open = Open::default();
            let mut all = Vec::new();
            for (n, (time, value)) in raw.iter().enumerate() {
                let timestamp_ms = if step { n as i64 * 10 } else { *time };
                all.push((timestamp_ms, *value));
                open.push(Sample { timestamp_ms, value: f64::from_bits(*value) });
            }
            let mut back = Vec::new();
            read(open.bytes(), &mut back).expect("reads");
            prop_assert_eq!(bits(&back), all);
            let mut again = Open::recovered(open.bytes()).expect("recovers");
            for chunk in [&mut open, &mut again] {
                chunk.push(Sample { timestamp_ms: 7, value: 7.0 });
                chunk.push(Sample { timestamp_ms: 7, value: 7.0 });
            }
            prop_assert_eq!(open.bytes(), again.bytes());
        }

        #[test]
        fn garbage_is_an_error_at_worst(bytes: Vec<u8>) {
            let _ = read(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn what_it_takes() {
        let bytes = |value: fn(i64) -> f64| {
            let mut open = Open::default();
            for n in 0..SAMPLES_MAX as i64 {
                let timestamp_ms = 1_760_000_000_000 + n * 10_000;
                open.push(Sample { timestamp_ms, value: value(n) });
            }
            open.bytes().len()
        };
        assert!(bytes(|_| 1.0) < 16, "{}", bytes(|_| 1.0));
        assert!(bytes(|n| (n * n) as f64) < 3 * 120, "{}", bytes(|n| (n * n) as f64));
        assert!(bytes(|n| (n as f64).sin()) < 9 * 120, "{}", bytes(|n| (n as f64).sin()));
    }
}
