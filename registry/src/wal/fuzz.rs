//! For the fuzzer: the log's headers, frames and records out of any bytes, and frames with a byte changed.

use super::{
    frame::{Builder, Header, Place, Stored},
    schema::Record,
    segment::SegmentHeader,
};

const SALT: u64 = 7;

/// Reads the bytes as everything that a log's file holds.
pub(crate) fn log(data: &[u8]) {
    let _ = SegmentHeader::decode(SALT, data);
    drop(Stored::parse(SALT, data));
    if let Some(header) = Header::parse(SALT, data)
        && let Some(body) = header.body(SALT, data)
    {
        drop(header.records(SALT, body));
    }
    let Some((kind, payload)) = data.split_first() else { return };
    if let Ok(record) = Record::decode(*kind, payload) {
        let mut bytes = Vec::new();
        let kind = record.encode(&mut bytes);
        assert_eq!(Record::decode(kind, &bytes), Ok(record), "read again");
    }
    changed(*kind, payload);
}

/// A frame around the payload is read as it was written, and with a byte changed it is not read at all.
fn changed(kind: u8, payload: &[u8]) {
    let mut builder = Builder::default();
    builder.begin(&[]);
    builder.push(SALT, kind, payload);
    builder.finish(SALT, Place { segment: 1, sequence: 2, previous: 3 });
    let mut frame = builder.bytes().to_vec();
    let whole = |frame: &[u8]| -> Option<Vec<u8>> {
        let header = Header::parse(SALT, frame)?;
        let records = header.records(SALT, header.body(SALT, frame)?).ok()?;
        Some(records.first()?.payload.to_vec())
    };
    assert_eq!(whole(&frame).as_deref(), Some(payload));
    let at = payload.iter().map(|byte| usize::from(*byte)).sum::<usize>() % frame.len();
    frame[at] ^= kind | 1;
    assert_eq!(whole(&frame), None, "byte {at} was changed");
}
