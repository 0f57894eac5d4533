//! Variable-length integers (LEB128, zigzag for signed ones) and a reader that never panics.

/// What is wrong with bytes that do not decode.
pub(crate) type Malformed = &'static str;

/// Appends `value`, seven bits a byte, the lowest first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed value: small ones of either sign are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads from the front of a slice.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or("ends too early")?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or("ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err("a number is too large");
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        let raw = self.unsigned()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A count of things that take at least `size` bytes each: never more than the bytes that are left.
    pub(crate) fn count(&mut self, size: usize) -> Result<usize, Malformed> {
        let count = self.unsigned()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.0.len() / size => Ok(count),
            _ => Err("a count is larger than the row"),
        }
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err("has bytes left over") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            put(&mut out, unsigned);
            put_signed(&mut out, signed);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.unsigned(), Ok(unsigned));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn garbage_is_an_error_at_worst(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.unsigned().is_ok() {}
        }
    }

    #[test]
    fn too_long() {
        assert!(Reader(&[0xff; 11]).unsigned().is_err());
        assert!(
            Reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).unsigned().is_err()
        );
    }
}
