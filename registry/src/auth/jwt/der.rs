//! As much of DER (X.690) as keys need.

/// `SEQUENCE`.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
/// `id-ecPublicKey`, 1.2.840.10045.2.1, as a whole element.
const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Splits off the first element: its tag, its content, and what follows.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let bytes = usize::from(first & 0x7f);
        if !(1..=3).contains(&bytes) || rest.len() < bytes {
            return None;
        }
        let (length, rest) = rest.split_at(bytes);
        (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280 §4.1): an `RSAPublicKey`, a point, or 32 bytes.
pub(super) fn public_key(info: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, info, _) = element(info)? else { return None };
    let (SEQUENCE, _algorithm, rest) = element(info)? else { return None };
    let (BIT_STRING, bits, _) = element(rest)? else { return None };
    let (0, key) = bits.split_first()? else { return None };
    Some(key)
}

/// An `ECPrivateKey` (RFC 5915), as `openssl ecparam` writes it, in a `PrivateKeyInfo` (RFC 5208).
pub(super) fn pkcs8_of_ec(key: &[u8], curve: &[u8]) -> Vec<u8> {
    let algorithm = write(SEQUENCE, &[&EC_PUBLIC_KEY[..], curve].concat());
    let parts = [write(INTEGER, &[0]), algorithm, write(OCTET_STRING, key)];
    write(SEQUENCE, &parts.concat())
}
