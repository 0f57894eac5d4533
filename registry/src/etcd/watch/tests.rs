//! Which watchers there can be, and what they are told.

use bytes::Bytes;
use watchkeep_api::etcdserverpb::{WatchCreateRequest, WatchResponse};

use super::{
    watcher::{refusal, shows_previous},
    wire::Frame,
};
use crate::schema::Event;

#[test]
fn a_watcher_that_cannot_be_is_refused_in_etcds_words() {
    let create = |key: &'static str, end: &'static [u8], start_revision| WatchCreateRequest {
        key: key.into(),
        range_end: Bytes::from_static(end),
        start_revision,
        ..WatchCreateRequest::default()
    };
    let empty = Some("mvcc: watcher range is empty");
    let cases = [
        (create("a", b"", 0), false, None),
        (create("a", b"\0", 0), false, None),
        (create("a", b"b", 7), false, None),
        (create("b", b"b", 0), false, empty),
        (create("b", b"a", 0), true, empty),
        (create("a", b"", 0), true, Some("mvcc: duplicate watch ID provided on the WatchStream")),
        (
            create("a", b"", -1),
            false,
            Some("etcdserver: mvcc: required revision has been compacted"),
        ),
    ];
    for (request, taken, expected) in cases {
        assert_eq!(refusal(&request, taken), expected, "{request:?}");
    }
}

#[test]
fn what_was_before_an_event_is_told_unless_it_is_compacted() {
    let event = |deleted, create_revision| Event {
        deleted,
        kv: crate::schema::KeyValue { create_revision, ..Default::default() },
    };
    // The event is of revision 7.
    let cases = [
        ("put again", event(false, 3), 0, true),
        ("deleted", event(true, 0), 6, true),
        ("compacted up to it", event(false, 3), 7, false),
        ("deleted, compacted up to it", event(true, 0), 7, false),
        ("created", event(false, 7), 0, false),
    ];
    for (name, event, compacted, expected) in cases {
        assert_eq!(shows_previous(&event, 7, compacted), expected, "{name}");
    }
}

#[test]
fn a_large_response_is_sent_in_fragments_and_only_the_last_does_not_say_so() {
    let frame = |sizes: &[usize]| Frame {
        response: WatchResponse { watch_id: 5, ..WatchResponse::default() },
        events: sizes.iter().map(|size| Bytes::from(vec![0; *size])).collect(),
    };
    let cases: [(&[usize], &[usize]); 5] = [
        (&[40, 40], &[2]),
        (&[40, 40, 40], &[2, 1]),
        (&[200], &[1]),
        (&[200, 10, 10, 200], &[1, 2, 1]),
        (&[96, 96], &[1, 1]),
    ];
    for (sizes, expected) in cases {
        let parts = frame(sizes).fragments(100);
        let counts: Vec<usize> = parts.iter().map(|part| part.events.len()).collect();
        assert_eq!(counts, expected, "{sizes:?}");
        for (number, part) in parts.iter().enumerate() {
            assert_eq!(part.response.fragment, number + 1 < parts.len(), "{sizes:?}: {number}");
            assert_eq!(part.response.watch_id, 5);
        }
    }
}
