//! For the fuzzer: frames of rows out of any bytes, as they are and in a frame whose checksum is right.

use bytes::{BufMut, Bytes, BytesMut};

use super::frames::{FrameReader, frame};

/// The first byte says whether the rest is a frame's body, and how many rows the trailer counts.
pub(crate) fn stream(data: &[u8]) -> Bytes {
    let Some((kind, data)) = data.split_first() else { return Bytes::new() };
    if kind % 2 == 0 {
        return Bytes::copy_from_slice(data);
    }
    let count = u64::from(kind / 2).to_be_bytes();
    let mut out = BytesMut::from(&frame(data)[..]);
    out.put_u32(0);
    out.put_u32(crc32c::crc32c(&count));
    out.put_slice(&count);
    out.freeze()
}

/// Reads them; what is wrong with them is an error.
pub(crate) fn snapshot(data: &[u8]) {
    let stream = stream(data);
    let mut reader = FrameReader::new(&stream[..], 0);
    while let Ok(Some(rows)) = reader.next_rows() {
        assert!(!rows.is_empty() && rows.iter().all(|row| row.value.is_some()));
    }
    assert!(reader.offset() <= stream.len() as u64);
}
