//! A crash while the last frame is written: whatever part of it reached the disk, the log opens with all that was
//! acknowledged before.

use std::{
    fs,
    path::{Path, PathBuf},
};

use openraft::storage::RaftLogStorage;
use proptest::prelude::*;

use super::{append, contents, copy, entry, id, open, options, overwrite, scan, summary, vote};
use crate::wal::{LogId, segment::SEGMENT_HEADER_BYTES, state::State};

const SECTOR: usize = 512;

/// The files before and after one more frame was written.
struct Torn {
    before: tempfile::TempDir,
    file: PathBuf,
    old: Vec<u8>,
    new: Vec<u8>,
    /// First and last changed byte.
    from: usize,
    to: usize,
    acknowledged: Found,
    everything: Found,
}

type Found = (State, Vec<LogId>);

/// A log of `frames` frames (with purges, so that segments are recycled), and then one of `bytes`.
async fn torn(frames: u64, bytes: usize) -> Torn {
    let dir = tempfile::tempdir().unwrap();
    let before = tempfile::tempdir().unwrap();
    let after = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.save_vote(&vote(1)).await.unwrap();
    for index in 1..=frames {
        append(&mut store, vec![entry(1, index, 250)]).await;
        if index % 10 == 0 {
            store.purge(id(1, index - 2)).await.unwrap();
        }
    }
    // Once more, so that no purge is under way when the files are copied; the tail file of the crash is this one.
    store.save_vote(&vote(2)).await.unwrap();
    copy(dir.path(), before.path());
    append(&mut store, vec![entry(1, frames + 1, bytes)]).await;
    copy(dir.path(), after.path());
    store.close().await.unwrap();
    let active = scan(after.path()).unwrap().used.pop_back().unwrap();
    let name = active.path.file_name().unwrap().to_owned();
    let new = fs::read(active.path).unwrap();
    let old = fs::read(before.path().join(&name)).unwrap_or_else(|_| vec![0; new.len()]);
    let changed = |(a, b): (&u8, &u8)| a != b;
    let from = old.iter().zip(&new).position(changed).unwrap();
    let to = old.len() - old.iter().rev().zip(new.iter().rev()).position(changed).unwrap();
    let acknowledged = summary(&scan(before.path()).unwrap());
    let everything = summary(&scan(after.path()).unwrap());
    let file = before.path().join(name);
    fs::write(&file, &old).unwrap();
    Torn { file, before, old, new, from, to, acknowledged, everything }
}

impl Torn {
    /// What a scan finds when the file has these bytes: all that was acknowledged, and perhaps the last frame.
    fn check(&self, bytes: &[u8], what: &str) {
        overwrite(&self.file, bytes);
        let found =
            summary(&scan(self.before.path()).unwrap_or_else(|error| panic!("{what}: {error}")));
        assert!(found == self.acknowledged || found == self.everything, "{what}: {found:?}");
    }
}

#[tokio::test]
async fn a_frame_cut_at_any_byte_is_cut() {
    for frames in [0, 1, 5, 11, 12, 13, 14, 25, 26, 27, 28, 40] {
        let torn = torn(frames, 700).await;
        for at in torn.from..torn.to {
            let mut bytes = torn.old.clone();
            bytes[torn.from..at].copy_from_slice(&torn.new[torn.from..at]);
            torn.check(&bytes, &format!("{frames} frames, written up to byte {at}"));
            bytes[at..].fill(0);
            torn.check(&bytes, &format!("{frames} frames, zeros from byte {at}"));
            torn.check(&bytes[..at], &format!("{frames} frames, file cut at byte {at}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Disks write sectors in any order: any subset of the last frame's sectors may have arrived.
    #[test]
    fn any_sectors_of_the_last_frame_may_be_missing(
        frames in 0..45_u64,
        bytes in 0..2500_usize,
        arrived in proptest::collection::vec(any::<u8>(), 16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let torn = runtime.block_on(torn(frames, bytes));
        for mask in arrived {
            let mut bytes = torn.old.clone();
            for (i, sector) in torn.new.chunks(SECTOR).enumerate() {
                if mask >> (i % 8) & 1 == 1 {
                    bytes[i * SECTOR..][..sector.len()].copy_from_slice(sector);
                }
            }
            torn.check(&bytes, &format!("sectors {mask:08b}"));
        }
    }
}

/// After a torn frame the log goes on, and what follows survives the next crash.
#[tokio::test]
async fn a_log_with_a_torn_frame_goes_on() {
    let torn = torn(5, 700).await;
    for at in [torn.from, torn.from + 41, torn.to - 300] {
        let mut bytes = torn.new.clone();
        bytes[at..].fill(0);
        let dir = tempfile::tempdir().unwrap();
        copy(torn.before.path(), dir.path());
        fs::write(dir.path().join(torn.file.file_name().unwrap()), &bytes).unwrap();
        let mut store = open(dir.path());
        assert_eq!(contents(&mut store).await.entries.len(), 5);
        append(&mut store, vec![entry(3, 6, 10)]).await;
        append(&mut store, vec![entry(3, 7, 900)]).await;
        let expected = contents(&mut store).await;
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        assert_eq!(contents(&mut open(crashed.path())).await, expected);
    }
}

/// The same where the torn frame is the first of its segment: its header may be there, and the state is not.
#[tokio::test]
async fn a_log_with_a_torn_segment_goes_on() {
    let mut rolled = 0;
    for frames in 0..45 {
        let torn = torn(frames, 700).await;
        if torn.from >= SEGMENT_HEADER_BYTES {
            continue;
        }
        rolled += 1;
        let end = SEGMENT_HEADER_BYTES;
        for at in [end - 1, end, end + 1, end + 60, torn.to - 1] {
            let mut bytes = torn.old.clone();
            bytes[torn.from..at].copy_from_slice(&torn.new[torn.from..at]);
            let dir = tempfile::tempdir().unwrap();
            copy(torn.before.path(), dir.path());
            fs::write(dir.path().join(torn.file.file_name().unwrap()), &bytes).unwrap();
            let mut store = open(dir.path());
            append(&mut store, vec![entry(3, frames + 1, 10)]).await;
            let expected = contents(&mut store).await;
            let crashed = tempfile::tempdir().unwrap();
            copy(dir.path(), crashed.path());
            let found = contents(&mut open(crashed.path())).await;
            assert_eq!(found, expected, "{frames} frames, written up to byte {at}");
        }
    }
    assert!(rolled > 2, "{rolled} segments begun");
}

/// A crash while a new log is created leaves something that opens.
#[tokio::test]
async fn a_creation_cut_short_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tail.unfinished"), b"WKRA").unwrap();
    fs::write(dir.path().join("unfinished"), [0; 100]).unwrap();
    open(dir.path()).close().await.unwrap();
    let first = dir.path().join("0000000000000001.wal");
    fs::write(&first, []).unwrap();
    let mut store = open(dir.path());
    append(&mut store, vec![entry(1, 1, 10)]).await;
    assert_eq!(fs::metadata(&first).unwrap().len(), options().segment_bytes);
    assert_eq!(contents(&mut store).await.last, Some(id(1, 1)));
}

/// Two handles on one folder would ruin it.
#[tokio::test]
async fn a_folder_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let again = |dir: &Path| crate::wal::LogStore::open(dir, options(), super::metrics());
    let error = again(dir.path()).unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    store.close().await.unwrap();
    again(dir.path()).unwrap();
}
