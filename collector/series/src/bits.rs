//! Numbers of a fixed width in bits, one after the other, the lowest bit first.

use crate::varint::{Malformed, Reader};

/// Bits that a number needs.
pub(crate) fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Bytes that `count` numbers of `width` bits take.
pub(crate) fn size(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends numbers, none of which needs more than `width` bits.
pub(crate) fn pack(out: &mut Vec<u8>, width: u32, values: impl Iterator<Item = u64>) {
    let (mut word, mut used) = (0_u128, 0);
    for value in values {
        word |= u128::from(value) << used;
        used += width;
        while used >= 8 {
            out.push(word as u8);
            word >>= 8;
            used -= 8;
        }
    }
    if used > 0 {
        out.push(word as u8);
    }
}

/// Reads what [`pack`] wrote.
pub(crate) struct Unpack<'a> {
    bytes: &'a [u8],
    width: u32,
    mask: u64,
    at: usize,
}

impl<'a> Unpack<'a> {
    /// `count` numbers from the front of `reader`.
    pub(crate) fn new(
        reader: &mut Reader<'a>,
        count: usize,
        width: u32,
    ) -> Result<Self, Malformed> {
        if width > u64::BITS {
            return Err("a number is wider than 64 bits");
        }
        let bytes = reader.bytes(size(count, width))?;
        let mask = if width == 0 { 0 } else { u64::MAX >> (u64::BITS - width) };
        Ok(Self { bytes, width, mask, at: 0 })
    }

    /// The next number; zeros beyond the last.
    pub(crate) fn next(&mut self) -> u64 {
        let (byte, shift) = (self.at / 8, self.at % 8);
        self.at += self.width as usize;
        let rest = self.bytes.get(byte..).unwrap_or_default();
        match rest.first_chunk::<8>() {
            Some(first) if shift as u32 + self.width <= u64::BITS => {
                u64::from_le_bytes(*first) >> shift & self.mask
            }
            _ => {
                let mut word = [0; 16];
                let size = rest.len().min(9);
                word[..size].copy_from_slice(&rest[..size]);
                (u128::from_le_bytes(word) >> shift) as u64 & self.mask
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(values: Vec<u64>, cut in 0_u32..64) {
            let values: Vec<_> = values.iter().map(|v| v >> cut).collect();
            let width = values.iter().map(|v| width(*v)).max().unwrap_or(0);
            let mut out = Vec::new();
            pack(&mut out, width, values.iter().copied());
            prop_assert_eq!(out.len(), size(values.len(), width));
            let mut reader = Reader(&out);
            let mut unpack = Unpack::new(&mut reader, values.len(), width).expect("long enough");
            for value in values {
                prop_assert_eq!(unpack.next(), value);
            }
            prop_assert!(reader.end().is_ok());
        }
    }
}
