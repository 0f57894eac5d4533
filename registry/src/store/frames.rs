//! Rows in frames, each with its length and checksum, and a trailer that counts them: how a state travels, between
//! members and into a backup.
//!
//! ```text
//! frame     length u32 | crc32c u32 | rows…        row   table u8 | key length u32 | key | value length u32 | value
//! trailer   length 0   | crc32c of  | rows u64     (12 more bytes: 8 for the count)
//! ```

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::StoreView;
use crate::mvcc::{APPLIED, Table, View, ViewError, Write};

/// Rows are put into one frame until it has this size.
const FRAME_BYTES: usize = 256 << 10;
/// No frame is longer: one row (the largest request) and its neighbours.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What is wrong with a stream of frames.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("bad bytes at offset {offset}: {what}")]
    Corrupt { offset: u64, what: &'static str },
}

/// Turns a view into frames.
pub(crate) struct SnapshotReader {
    view: StoreView,
    /// The table being read and the key to go on behind.
    at: Option<(usize, Bytes)>,
    rows: u64,
    done: bool,
}

impl SnapshotReader {
    pub(crate) fn new(view: StoreView) -> Self {
        Self { view, at: Some((0, Bytes::new())), rows: 0, done: false }
    }

    /// The next frame; none behind the trailer.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, ViewError> {
        if self.done {
            return Ok(None);
        }
        let mut body = BytesMut::new();
        while let Some((table, from)) = self.at.take() {
            let name = Table::ALL[table];
            self.at = (table + 1 < Table::ALL.len()).then(|| (table + 1, Bytes::new()));
            for row in self.view.scan(name, &from, None) {
                let (key, value) = row?;
                if body.len() >= FRAME_BYTES {
                    self.at = Some((table, key));
                    break;
                }
                // The engine's may be older than the view: the view's own comes last.
                if (name, &key[..]) == (Table::Meta, APPLIED) {
                    continue;
                }
                self.rows += 1;
                put_row(&mut body, name, &key, &value);
            }
            if self.at.is_none() {
                self.rows += 1;
                let applied = prost::Message::encode_to_vec(self.view.applied());
                put_row(&mut body, Table::Meta, APPLIED, &applied);
            }
            if body.len() >= FRAME_BYTES {
                return Ok(Some(frame(&body)));
            }
        }
        if !body.is_empty() {
            return Ok(Some(frame(&body)));
        }
        self.done = true;
        let count = self.rows.to_be_bytes();
        let mut out = BytesMut::with_capacity(16);
        out.put_u32(0);
        out.put_u32(crc32c::crc32c(&count));
        out.put_slice(&count);
        Ok(Some(out.freeze()))
    }
}

fn put_row(out: &mut BytesMut, table: Table, key: &[u8], value: &[u8]) {
    out.put_u8(table as u8);
    for part in [key, value] {
        out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        out.put_slice(part);
    }
}

pub(super) fn frame(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + body.len());
    out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put_u32(crc32c::crc32c(body));
    out.put_slice(body);
    out.freeze()
}

/// Reads frames, checking each, up to the trailer; what comes behind it is the caller's.
pub(crate) struct FrameReader<R> {
    input: R,
    /// Of the next frame.
    offset: u64,
    rows: u64,
    done: bool,
}

impl<R: Read> FrameReader<R> {
    /// `offset`: how many bytes of the file are behind already.
    pub(crate) fn new(input: R, offset: u64) -> Self {
        Self { input, offset, rows: 0, done: false }
    }

    /// Offset of the first byte that is not read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// The next frame's rows; none behind the trailer.
    pub(crate) fn next_rows(&mut self) -> Result<Option<Vec<Write>>, FrameError> {
        if self.done {
            return Ok(None);
        }
        let offset = self.offset;
        let corrupt = |what| FrameError::Corrupt { offset, what };
        let head = self.read(8)?;
        let mut head = &head[..];
        let (length, checksum) = (head.get_u32() as usize, head.get_u32());
        let trailer = length == 0;
        if length > FRAME_BYTES_MAX {
            return Err(corrupt("a frame is longer than any can be"));
        }
        let body = self.read(if trailer { 8 } else { length })?;
        if crc32c::crc32c(&body) != checksum {
            return Err(corrupt("a checksum does not fit"));
        }
        self.offset += 8 + body.len() as u64;
        if trailer {
            self.done = true;
            return match (&body[..]).get_u64() == self.rows {
                true => Ok(None),
                false => Err(corrupt("rows are missing")),
            };
        }
        let rows = parse_rows(body.into()).ok_or_else(|| corrupt("a row is malformed"))?;
        self.rows += rows.len() as u64;
        Ok(Some(rows))
    }

    fn read(&mut self, length: usize) -> Result<Vec<u8>, FrameError> {
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(length as u64).read_to_end(&mut bytes)?;
        if read < length {
            return Err(FrameError::Corrupt { offset: self.offset, what: "it ends in the middle" });
        }
        Ok(bytes)
    }
}

fn parse_rows(mut body: Bytes) -> Option<Vec<Write>> {
    let mut rows = Vec::new();
    while body.has_remaining() {
        let table = Table::from_number(body.get_u8())?;
        let mut part = || {
            let length = body.try_get_u32().ok()? as usize;
            (body.remaining() >= length).then(|| body.split_to(length))
        };
        let (key, value) = (part()?, part()?);
        rows.push(Write { table, key, value: Some(value) });
    }
    Some(rows)
}
