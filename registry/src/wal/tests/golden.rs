//! The bytes of every record. A failure here means: logs that exist can no longer be read. Give the record a new
//! version instead, and keep reading the old one.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{EntryPayload, Membership};

use super::{SALT, entry, id, vote};
use crate::{
    raft::types::Peer,
    wal::{
        Entry,
        frame::{Builder, Header, Place},
        schema::{RECORD_VERSION, Record},
        segment::{Beginning, SegmentHeader},
        state::State,
        tail::{self, Mark},
    },
};

fn records() -> Vec<(&'static str, Record)> {
    let nodes = [(1, "a:2380"), (2, "b:2380"), (300, "c:2380")];
    let nodes = BTreeMap::from(nodes.map(|(id, address)| (id, Peer::at(address))));
    let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 300])];
    let membership = EntryPayload::Membership(Membership::new(configs, nodes).unwrap());
    let state = State {
        vote: Some(vote(7)),
        committed: Some(id(6, 41)),
        purged: Some(id(5, 30)),
        first_index: 31,
        last: Some(id(6, 42)),
    };
    vec![
        ("entry, blank", Record::Entry(Entry { log_id: id(3, 9), payload: EntryPayload::Blank })),
        ("entry, command", Record::Entry(entry(3, 10, 5))),
        ("entry, membership", Record::Entry(Entry { log_id: id(3, 11), payload: membership })),
        ("vote", Record::Vote(vote(8))),
        ("committed", Record::Committed(id(3, 10))),
        ("truncate", Record::Truncate(Some(id(3, 9)))),
        ("truncate, all", Record::Truncate(None)),
        ("purge", Record::Purge(id(2, 300))),
        ("state", Record::State(state)),
        ("state, empty", Record::State(State::default())),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn bytes_are_what_they_were() {
    let mut lines = Vec::new();
    for (name, record) in records() {
        let mut body = Vec::new();
        let kind = record.encode(&mut body);
        assert_eq!(Record::decode(kind, &body).as_ref(), Ok(&record), "{name}");
        lines.push(format!("{name}: kind {kind} version {RECORD_VERSION} {}", hex(&body)));
    }
    let header =
        SegmentHeader { segment: 7, size: 4096, first_sequence: 12, previous: 0xabcd_ef01 };
    let bytes = header.encode(SALT);
    assert_eq!(SegmentHeader::decode(SALT, &bytes), Beginning::Header(header));
    lines.push(format!("segment header: {}", hex(&bytes)));

    let mut frame = Builder::default();
    frame.begin(&[]);
    for (_, record) in &records()[..2] {
        let mut body = Vec::new();
        let kind = record.encode(&mut body);
        frame.push(SALT, kind, &body);
    }
    let place = Place { segment: 7, sequence: 12, previous: 0xabcd_ef01 };
    let crc = frame.finish(SALT, place);
    let read = Header::parse(SALT, frame.bytes()).unwrap();
    assert_eq!((read.place, read.crc), (place, crc));
    lines.push(format!("frame: {}", hex(frame.bytes())));

    lines.push(format!("tail header: {}", hex(&tail::header(SALT))));
    let mark = Mark { sequence: 12, segment: 7, end: 640, crc: 0x0102_0304 };
    lines.push(format!("tail slot: {}", hex(&mark.encode(SALT))));

    let golden: Vec<&str> = include_str!("golden.txt").lines().collect();
    assert_eq!(lines, golden, "now:\n{}", lines.join("\n"));
}
