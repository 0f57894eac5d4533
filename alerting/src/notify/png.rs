//! Pixels as a PNG: eight bits for each of red, green and blue, without filters, since the pictures are flat. Pure.
//!
//! Source: PNG (third edition), W3C, chapters 5 (chunks), 9 (filters), 11 (IHDR, IDAT, IEND).

use std::io::Write as _;

use flate2::{Compression, Crc, write::ZlibEncoder};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Bits per sample, RGB, deflate, adaptive filtering, not interlaced.
const FORM: [u8; 5] = [8, 2, 0, 0, 0];

/// `rgba` has four bytes a pixel, line by line from the top, all of them opaque. None when there are too few of them.
pub(super) fn encode(width: u32, height: u32, rgba: &[u8]) -> Option<Vec<u8>> {
    let line_bytes = usize::try_from(width).ok()?.checked_mul(4)?;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    let mut lines = rgba.chunks_exact(line_bytes.max(1));
    for _ in 0..height {
        let mut line = vec![0];
        line.extend(lines.next()?.chunks_exact(4).flat_map(|pixel| &pixel[..3]));
        zlib.write_all(&line).ok()?;
    }
    let mut png = SIGNATURE.to_vec();
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &FORM].concat();
    chunk(&mut png, *b"IHDR", &head)?;
    chunk(&mut png, *b"IDAT", &zlib.finish().ok()?)?;
    chunk(&mut png, *b"IEND", &[])?;
    Some(png)
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) -> Option<()> {
    png.extend(u32::try_from(data.len()).ok()?.to_be_bytes());
    let mut crc = Crc::new();
    for part in [&kind[..], data] {
        crc.update(part);
        png.extend_from_slice(part);
    }
    png.extend(crc.sum().to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let pixels: Vec<u8> = (0..2 * 3 * 4).collect();
        let png = encode(2, 3, &pixels).unwrap();
        assert_eq!(png[..8], SIGNATURE);
        let length = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((length(8), &png[12..16]), (13, &b"IHDR"[..]));
        assert_eq!(&png[16..24], [0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(&png[37..41], b"IDAT");
        let mut lines = Vec::new();
        let data = &png[41..41 + length(33)];
        flate2::read::ZlibDecoder::new(data).read_to_end(&mut lines).unwrap();
        assert_eq!(lines[..7], [0, 0, 1, 2, 4, 5, 6]);
        assert_eq!(lines.len(), 3 * 7);
        // The end's checksum is the same in every PNG.
        assert_eq!(
            png[png.len() - 12..],
            [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82]
        );
        assert_eq!(encode(2, 3, &pixels[1..]), None);
    }
}
