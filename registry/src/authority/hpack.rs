//! As much of HPACK (RFC 7541) as it takes to find the literal `:authority` of a header block and to write a shorter
//! one. No table of headers is kept: what refers to it is skipped. Pure.

/// `:authority` in the static table.
const AUTHORITY: u64 = 1;
/// Huffman codes by length: the first code, its length in bits, and the characters in the order of their codes
/// (RFC 7541, appendix B). Those of an authority are all here; another one makes the text unreadable to us.
const CODES: [(u32, u8, &[u8]); 4] = [
    (0x0, 5, b"012aceiost"),
    (0x14, 6, b" %-./3456789=A_bdfghlmnpru"),
    (0x5c, 7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (0x1ffb, 13, b"[]"),
];
const CODE_BITS_MAX: u8 = 13;

/// The block with `http://` or `https://` taken off its authority; none when there is nothing to take off, or the block
/// cannot be read.
pub(super) fn without_scheme(block: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let (prefix_bits, is_literal) = match first {
            0x80.. => (7, false),
            0x40..0x80 => (6, true),
            0x20..0x40 => (5, false),
            _ => (4, true),
        };
        let (name, behind) = integer(block, at, prefix_bits)?;
        at = behind;
        if !is_literal {
            continue;
        }
        if name == 0 {
            at = string(block, at)?.behind;
        }
        let value = string(block, at)?;
        if name == AUTHORITY {
            let text = value.text()?;
            let bare = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
            // One byte holds a length below 127.
            let length = u8::try_from(bare.len()).ok().filter(|length| *length < 0x7f)?;
            return Some(
                [&block[..at], &[length], bare.as_bytes(), &block[value.behind..]].concat(),
            );
        }
        at = value.behind;
    }
    None
}

/// An integer with a prefix of so many bits (§5.1), and the place behind it.
fn integer(block: &[u8], at: usize, prefix_bits: u8) -> Option<(u64, usize)> {
    /// Longer ones are nobody's lengths.
    const BYTES_MAX: usize = 4;
    let mask = (1u8 << prefix_bits) - 1;
    let first = block.get(at)? & mask;
    if first < mask {
        return Some((u64::from(first), at + 1));
    }
    let mut value = u64::from(first);
    for (index, byte) in block.get(at + 1..)?.iter().take(BYTES_MAX).enumerate() {
        value += u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, at + 2 + index));
        }
    }
    None
}

/// A string literal (§5.2).
struct Text<'b> {
    bytes: &'b [u8],
    is_huffman: bool,
    behind: usize,
}

fn string(block: &[u8], at: usize) -> Option<Text<'_>> {
    let is_huffman = block.get(at)? & 0x80 != 0;
    let (length, start) = integer(block, at, 7)?;
    let behind = start.checked_add(usize::try_from(length).ok()?)?;
    Some(Text { bytes: block.get(start..behind)?, is_huffman, behind })
}

impl Text<'_> {
    fn text(&self) -> Option<String> {
        let bytes = if self.is_huffman { huffman(self.bytes)? } else { self.bytes.to_vec() };
        String::from_utf8(bytes).ok()
    }
}

/// Decodes; none when a character is not among [`CODES`] or the padding is not right.
fn huffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let (mut code, mut bits) = (0u32, 0u8);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)) {
        (code, bits) = (code << 1 | u32::from(bit), bits + 1);
        let group = CODES.iter().find(|(_, length, _)| *length == bits);
        let symbol = group.and_then(|(first, _, symbols)| {
            symbols.get(usize::try_from(code.checked_sub(*first)?).ok()?)
        });
        if let Some(symbol) = symbol {
            decoded.push(*symbol);
            (code, bits) = (0, 0);
        } else if bits == CODE_BITS_MAX {
            return None;
        }
    }
    // The end is filled up with ones, fewer than a byte.
    (bits < 8 && code == (1 << bits) - 1).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Encodes as a client would.
    fn encode(text: &str) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text.bytes() {
            let (code, length) = CODES
                .iter()
                .find_map(|(first, length, symbols)| {
                    let index = symbols.iter().position(|symbol| *symbol == byte)?;
                    Some((first + u32::try_from(index).unwrap(), *length))
                })
                .unwrap();
            bits.extend((0..length).rev().map(|shift| code >> shift & 1));
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | *bit as u8)).collect()
    }

    /// `:authority` as literal with indexing, between two other headers.
    fn block(value: &[u8], huffman: bool) -> Vec<u8> {
        let length = u8::try_from(value.len()).unwrap();
        assert!(length < 0x7f);
        let mut block = vec![0x83, 0x40, 1, b'a', 1, b'b', 0x41];
        block.push(length | if huffman { 0x80 } else { 0 });
        [&block[..], value, &[0xbe, 0x3f, 0x11, 0x0f, 0x01, 0x01, b'c']].concat()
    }

    #[test]
    fn the_specification_s_example_decodes() {
        // RFC 7541, C.4.1: www.example.com.
        let bytes = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(huffman(&bytes), Some(b"www.example.com".to_vec()));
        assert_eq!(encode("www.example.com"), bytes);
        assert_eq!(huffman(&[0xff, 0xff]), None, "padding of more than seven bits");
    }

    #[test]
    fn a_scheme_is_taken_off() {
        for (value, bare) in [
            ("http://127.0.0.1:2379", Some("127.0.0.1:2379")),
            ("https://[::1]:2379", Some("[::1]:2379")),
            ("127.0.0.1:2379", None),
            ("passthrough://x", None),
            ("", None),
        ] {
            let expected = bare.map(|bare| block(bare.as_bytes(), false));
            assert_eq!(without_scheme(&block(value.as_bytes(), false)), expected, "{value}");
            assert_eq!(without_scheme(&block(&encode(value), true)), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_authority_comes_back(text in "[a-zA-Z0-9.:_\\-\\[\\]&&[^XZ]]{0,60}") {
            prop_assert_eq!(huffman(&encode(&text)), Some(text.into_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = without_scheme(&bytes);
        }
    }
}
