//! Files cut at every length, exchanged, doubled and of another time: the log opens whole or says which file is wrong and
//! where. What `flips` does to single bytes, this does to whole files.

use std::{fs, path::Path};

use openraft::storage::RaftLogStorage;

use super::{append, copy, entry, id, options, overwrite, scan, summary, vote};
use crate::wal::{LogStore, WalError, WalOptions, segment};

/// A closed log over several segments.
async fn write(dir: &Path) {
    let options = WalOptions { segment_bytes: 1024, ..options() };
    let mut store = LogStore::open(dir, options, super::metrics()).unwrap();
    for index in 1..=30 {
        append(&mut store, vec![entry(1, index, 70)]).await;
        if index == 12 {
            store.save_vote(&vote(2)).await.unwrap();
            store.truncate_after(Some(id(1, 12))).await.unwrap();
            store.purge(id(1, 2)).await.unwrap();
        }
    }
    store.close().await.unwrap();
}

/// Loud, with a file of this folder and a place in it.
fn is_located(error: &WalError, dir: &Path, what: &str) {
    let WalError::Corrupt { path, .. } = error else { panic!("{what}: {error}") };
    assert!(path.starts_with(dir), "{what}: {error}");
    let text = error.to_string();
    assert!(
        text.contains(" at byte ") && text.contains(&path.display().to_string()),
        "{what}: {text}"
    );
}

#[tokio::test]
async fn a_file_cut_at_any_length_is_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    let whole = scan(dir.path()).unwrap();
    let expected = summary(&whole);
    assert!(whole.used.len() >= 3, "{} segments", whole.used.len());
    for used in &whole.used {
        let bytes = fs::read(&used.path).unwrap();
        for length in 0..bytes.len() {
            overwrite(&used.path, &bytes[..length]);
            let what = format!("segment {} cut at byte {length}", used.number);
            match scan(dir.path()) {
                Ok(found) => {
                    assert!(length as u64 >= used.end, "{what} went unnoticed");
                    assert_eq!(summary(&found), expected, "{what}");
                }
                Err(error) => is_located(&error, dir.path(), &what),
            }
        }
        overwrite(&used.path, &bytes);
    }
    let tail = dir.path().join("tail");
    let bytes = fs::read(&tail).unwrap();
    for length in 0..bytes.len() {
        overwrite(&tail, &bytes[..length]);
        let what = format!("tail cut at byte {length}");
        match scan(dir.path()) {
            Ok(found) => assert_eq!(summary(&found), expected, "{what}"),
            Err(error) => is_located(&error, dir.path(), &what),
        }
    }
}

#[tokio::test]
async fn segments_exchanged_or_doubled_are_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    let whole = scan(dir.path()).unwrap();
    let expected = summary(&whole);
    let used: Vec<_> = whole.used.iter().map(|used| (used.number, used.path.clone())).collect();
    for (number, path) in &used {
        let bytes = fs::read(path).unwrap();
        // In the place of every other segment, and behind the last one.
        let last = used.last().expect("segments").0;
        for other in used[0].0..=last + 2 {
            let place = segment::path(dir.path(), other);
            let before = fs::read(&place).ok();
            if other == *number {
                continue;
            }
            fs::write(&place, &bytes).unwrap();
            let what = format!("segment {number} in the place of {other}");
            match scan(dir.path()) {
                // An old segment behind the last one is what recycling leaves there.
                Ok(found) => {
                    assert!(other > last, "{what} went unnoticed");
                    assert_eq!(summary(&found), expected, "{what}");
                }
                Err(error) => is_located(&error, dir.path(), &what),
            }
            match before {
                Some(before) => fs::write(&place, before).unwrap(),
                None => fs::remove_file(&place).unwrap(),
            }
        }
    }
    assert_eq!(summary(&scan(dir.path()).unwrap()), expected);
}

/// One file as it was at an earlier time, the others as they are: a restore of single files, or a disk that lost writes.
#[tokio::test]
async fn a_file_of_an_earlier_time_is_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    let earlier = tempfile::tempdir().unwrap();
    let options = || WalOptions { segment_bytes: 1024, ..options() };
    let mut store = LogStore::open(dir.path(), options(), super::metrics()).unwrap();
    for index in 1..=12 {
        append(&mut store, vec![entry(1, index, 70)]).await;
    }
    store.close().await.unwrap();
    copy(dir.path(), earlier.path());
    let mut store = LogStore::open(dir.path(), options(), super::metrics()).unwrap();
    for index in 13..=30 {
        append(&mut store, vec![entry(1, index, 70)]).await;
    }
    store.close().await.unwrap();
    let expected = summary(&scan(dir.path()).unwrap());
    let mut loud = 0;
    for old in fs::read_dir(earlier.path()).unwrap().map(|file| file.unwrap().path()) {
        let place = dir.path().join(old.file_name().unwrap());
        let now = fs::read(&place).unwrap();
        overwrite(&place, &fs::read(&old).unwrap());
        match scan(dir.path()) {
            Ok(found) => assert_eq!(summary(&found), expected, "{}", place.display()),
            Err(error) => {
                is_located(&error, dir.path(), &place.display().to_string());
                loud += 1;
            }
        }
        overwrite(&place, &now);
    }
    assert!(loud > 0, "the segment that was being written was then shorter");
}
