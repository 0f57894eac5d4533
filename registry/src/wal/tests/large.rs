//! Entries larger than a segment, segments that come and go, and reads in pieces.

use std::{fs, time::Duration};

use futures::TryStreamExt;
use openraft::{RaftLogReader, storage::RaftLogStorage};

use super::{append, contents, entry, id, metrics, open, options, scan};
use crate::wal::{LogStore, WalOptions};

#[tokio::test]
async fn an_entry_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&mut store, vec![entry(1, 1, 10), entry(1, 2, 50_000), entry(1, 3, 10)]).await;
    append(&mut store, vec![entry(1, 4, 4000)]).await;
    let expected = contents(&mut store).await;
    assert_eq!(expected.entries[1], entry(1, 2, 50_000));
    store.close().await.unwrap();
    assert_eq!(contents(&mut open(dir.path())).await, expected);
}

/// Purged segments are used again: the folder stays small however much goes through it.
#[tokio::test]
async fn purged_segments_are_recycled() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for index in 1..=400 {
        append(&mut store, vec![entry(1, index, 300)]).await;
        if index % 20 == 0 {
            store.purge(id(1, index - 5)).await.unwrap();
        }
    }
    let expected = contents(&mut store).await;
    assert_eq!(expected.entries.len(), 5 + 20 - 20);
    store.close().await.unwrap();
    let found = scan(dir.path()).unwrap();
    assert!(found.used.len() <= 2, "{:?}", found.used);
    assert!(found.used.front().unwrap().number > 20);
    let bytes: u64 =
        fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 6 * 4096, "{bytes} bytes on disk");
    assert_eq!(store.metrics.disk_bytes.get() as u64, bytes - 1536, "all but the tail file");
    let mut again = open(dir.path());
    assert_eq!(contents(&mut again).await, expected);
    append(&mut again, vec![entry(2, 401, 10)]).await;
}

#[tokio::test]
async fn long_ranges_are_read_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions { segment_bytes: 1 << 20, ..options() };
    let mut store = LogStore::open(dir.path(), options, metrics()).unwrap();
    let written: Vec<_> = (1..=90).map(|index| entry(1, index, 100_000)).collect();
    for chunk in written.chunks(7) {
        append(&mut store, chunk.to_vec()).await;
    }
    let piece = store.limited_get_log_entries(1, 91).await.unwrap();
    assert!((10..=21).contains(&piece.len()), "{} entries", piece.len());
    let reader = store.entries_stream(3..=88).await;
    let read: Vec<_> =
        tokio::time::timeout(Duration::from_secs(30), reader.try_collect()).await.unwrap().unwrap();
    assert_eq!(read, written[2..88]);
    assert_eq!(store.try_get_log_entries(80..200).await.unwrap(), written[79..]);
    assert!(store.try_get_log_entries(91..).await.unwrap().is_empty());
}
