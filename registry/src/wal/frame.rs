//! Frames and the records in them, as bytes. Pure.
//!
//! ```text
//! frame   magic 4 | crc of the rest of the header 4 | segment 8 | sequence 8 | crc of the previous frame's header 4
//!         | body length 4 | crc of the body 4 | number of records 4 |   body: record, record, …
//! record  crc of the rest 4 | length 4 | kind 1 | version 1 | zero 2 | payload | zeros up to a multiple of 8
//! ```
//!
//! Integers are little-endian, checksums CRC-32C seeded with the log's salt. Sequence numbers have no gaps over all
//! segments, and each frame names the checksum of the one before: stale bytes of a recycled segment, of a frame
//! that was cut, or of another log never pass for a frame of this place.

use super::schema::{FRAME_MAGIC, RECORD_VERSION};

/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 40;
/// Bytes of a record's header.
pub(super) const RECORD_HEADER_BYTES: usize = 12;
/// Frames and records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

/// CRC-32C of `bytes`, seeded with the salt.
pub(super) fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}

/// Bytes that a record with a payload of `length` takes.
pub(super) fn record_bytes(length: usize) -> usize {
    (RECORD_HEADER_BYTES + length).next_multiple_of(ALIGNMENT)
}

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) sequence: u64,
    /// Checksum of the previous frame's header; 0 for the first.
    pub(super) previous: u32,
}

/// A frame in the making, in a buffer that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Builder {
    buffer: Vec<u8>,
    /// Where the frame's header begins; what is before it is the segment's header.
    start: usize,
    records: u32,
}

impl Builder {
    /// Starts a frame, after `prefix`.
    pub(super) fn begin(&mut self, prefix: &[u8]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(prefix);
        self.start = prefix.len();
        self.buffer.resize(self.start + FRAME_HEADER_BYTES, 0);
        self.records = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes so far, the prefix included.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a record and answers its offset from the beginning of the buffer, and its length.
    pub(super) fn push(&mut self, salt: u64, kind: u8, payload: &[u8]) -> (usize, usize) {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&[kind, RECORD_VERSION, 0, 0]);
        self.buffer.extend_from_slice(payload);
        self.buffer.resize(at + record_bytes(payload.len()), 0);
        let crc = checksum(salt, &self.buffer[at + 4..]);
        self.buffer[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        self.records += 1;
        (at, self.buffer.len() - at)
    }

    /// Completes the header and answers its checksum, which the next frame names.
    pub(super) fn finish(&mut self, salt: u64, place: Place) -> u32 {
        let (header, body) = self.buffer[self.start..].split_at_mut(FRAME_HEADER_BYTES);
        header[0..4].copy_from_slice(&FRAME_MAGIC);
        header[8..16].copy_from_slice(&place.segment.to_le_bytes());
        header[16..24].copy_from_slice(&place.sequence.to_le_bytes());
        header[24..28].copy_from_slice(&place.previous.to_le_bytes());
        header[28..32].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[32..36].copy_from_slice(&checksum(salt, body).to_le_bytes());
        header[36..40].copy_from_slice(&self.records.to_le_bytes());
        let crc = checksum(salt, &header[8..]);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets the frame; gives memory back when the last one was much larger than usual.
    pub(super) fn clear(&mut self, keep_bytes: usize) {
        self.buffer.clear();
        self.buffer.shrink_to(keep_bytes);
        self.records = 0;
    }
}

/// A frame's header, read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) place: Place,
    pub(super) crc: u32,
    body_bytes: usize,
    body_crc: u32,
    records: u32,
}

impl Header {
    /// The header at the beginning of `bytes`, if that is one of this log.
    pub(super) fn parse(salt: u64, bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let crc = u32_at(bytes, 4);
        if bytes[0..4] != FRAME_MAGIC || checksum(salt, &bytes[8..]) != crc {
            return None;
        }
        Some(Header {
            place: Place {
                segment: u64_at(bytes, 8),
                sequence: u64_at(bytes, 16),
                previous: u32_at(bytes, 24),
            },
            crc,
            body_bytes: u32_at(bytes, 28) as usize,
            body_crc: u32_at(bytes, 32),
            records: u32_at(bytes, 36),
        })
    }

    /// Bytes of header and body.
    pub(super) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes
    }

    /// The body that follows the header in `frame`, when it is all there and its checksum is right.
    pub(super) fn body<'a>(&self, salt: u64, frame: &'a [u8]) -> Option<&'a [u8]> {
        let body = frame.get(FRAME_HEADER_BYTES..self.frame_bytes())?;
        (checksum(salt, body) == self.body_crc).then_some(body)
    }

    /// The records of a body that is whole: offset in the body, length, kind, payload.
    ///
    /// # Errors
    /// Offset in the body and what is wrong there.
    pub(super) fn records<'a>(
        &self,
        salt: u64,
        body: &'a [u8],
    ) -> Result<Vec<Stored<'a>>, (usize, String)> {
        let mut records = Vec::with_capacity(self.records as usize);
        let mut at = 0;
        while at < body.len() {
            let record = Stored::parse(salt, &body[at..]).map_err(|what| (at, what))?;
            at += record.bytes;
            records.push(record);
        }
        if records.len() as u64 != u64::from(self.records) {
            return Err((at, format!("{} records instead of {}", records.len(), self.records)));
        }
        Ok(records)
    }
}

/// A record, read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) kind: u8,
    pub(super) payload: &'a [u8],
    /// Bytes it takes with header and padding.
    pub(super) bytes: usize,
}

impl Stored<'_> {
    /// The record at the beginning of `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(salt: u64, bytes: &[u8]) -> Result<Stored<'_>, String> {
        let header: &[u8; RECORD_HEADER_BYTES] =
            bytes.first_chunk().ok_or("a record ends before its header does")?;
        let length = u32_at(header, 4) as usize;
        let whole = bytes
            .get(..record_bytes(length))
            .ok_or_else(|| format!("a record of {length} bytes ends after {}", bytes.len()))?;
        if checksum(salt, &whole[4..]) != u32_at(header, 0) {
            return Err("a record's checksum does not match its bytes".into());
        }
        if header[9] != RECORD_VERSION {
            return Err(format!("record version {} is unknown to this binary", header[9]));
        }
        let payload = &whole[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length];
        Ok(Stored { kind: header[8], payload, bytes: whole.len() })
    }
}

/// Offset of the first frame header of `segment` at or after `from` whose sequence is at least `sequence`.
pub(super) fn find(
    salt: u64,
    bytes: &[u8],
    from: usize,
    segment: u64,
    sequence: u64,
) -> Option<usize> {
    (from.next_multiple_of(ALIGNMENT)..bytes.len()).step_by(ALIGNMENT).find(|&at| {
        bytes[at..].starts_with(&FRAME_MAGIC)
            && Header::parse(salt, &bytes[at..])
                .is_some_and(|h| h.place.segment == segment && h.place.sequence >= sequence)
    })
}

/// The little-endian integer at `at`, which must lie within `bytes`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// The little-endian integer at `at`, which must lie within `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
