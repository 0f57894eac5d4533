//! Every byte of a small log, damaged in several ways: the log either opens whole or says what is wrong. It never opens
//! with less than was acknowledged.

use std::{fs, path::Path};

use openraft::storage::RaftLogStorage;

use super::{append, entry, id, metrics, options, overwrite, scan, summary, vote};
use crate::wal::{LogStore, WalError, WalOptions};

const PATTERNS: [fn(u8) -> u8; 6] =
    [|b| b ^ 0x01, |b| b ^ 0x80, |b| b ^ 0xff, |b| b.wrapping_add(1), |_| 0x00, |_| 0xff];

/// A log over three segments with every kind of record, closed.
async fn write(dir: &Path) {
    let options = WalOptions { segment_bytes: 1024, ..options() };
    let mut store = LogStore::open(dir, options, metrics()).unwrap();
    for index in 1..=12 {
        append(&mut store, vec![entry(1, index, 20)]).await;
    }
    store.save_vote(&vote(2)).await.unwrap();
    store.truncate_after(Some(id(1, 9))).await.unwrap();
    store.purge(id(1, 3)).await.unwrap();
    for index in 10..=24 {
        append(
            &mut store,
            vec![entry(2, index, 200), entry(2, index + 100, 0)].drain(..1).collect(),
        )
        .await;
    }
    store.save_committed(Some(id(2, 20))).await.unwrap();
    append(&mut store, (25..=27).map(|index| entry(2, index, 40)).collect()).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_flipped_byte_is_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    let whole = scan(dir.path()).unwrap();
    assert!(whole.used.len() >= 3, "the log spans {} segments", whole.used.len());
    assert_eq!(whole.log.state.committed, Some(id(2, 20)));
    let expected = summary(&whole);

    let mut loud = 0;
    for used in &whole.used {
        let mut bytes = fs::read(&used.path).unwrap();
        for at in 0..bytes.len() {
            let byte = bytes[at];
            for damaged in PATTERNS.map(|pattern| pattern(byte)).into_iter().filter(|b| *b != byte)
            {
                bytes[at] = damaged;
                overwrite(&used.path, &bytes);
                let place =
                    format!("segment {} byte {at}: {byte:#04x} -> {damaged:#04x}", used.number);
                match scan(dir.path()) {
                    Err(WalError::Corrupt { path, offset, .. }) => {
                        let exists = path.metadata().is_ok_and(|file| offset <= file.len());
                        assert!(exists, "{place}: {} at byte {offset}", path.display());
                        loud += 1;
                    }
                    Err(error) => panic!("{place}: {error}"),
                    Ok(found) => {
                        assert!(at as u64 >= used.end, "{place} went unnoticed");
                        assert_eq!(summary(&found), expected, "{place}");
                    }
                }
            }
            bytes[at] = byte;
        }
        overwrite(&used.path, &bytes);
    }
    assert!(loud > 10_000, "{loud} damages were seen");

    let path = dir.path().join("tail");
    let mut bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let byte = bytes[at];
        for damaged in PATTERNS.map(|pattern| pattern(byte)).into_iter().filter(|b| *b != byte) {
            bytes[at] = damaged;
            overwrite(&path, &bytes);
            match scan(dir.path()) {
                Err(WalError::Corrupt { .. } | WalError::Version { .. }) => {}
                Err(error) => panic!("tail byte {at}: {error}"),
                Ok(found) => assert_eq!(summary(&found), expected, "tail byte {at}"),
            }
        }
        bytes[at] = byte;
    }
    overwrite(&path, &bytes);
    assert_eq!(summary(&scan(dir.path()).unwrap()), expected);
}

/// Whole sectors lost, as a disk that lies about `fdatasync` does: loud for every sector that held a frame.
#[tokio::test]
async fn a_lost_sector_is_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    let whole = scan(dir.path()).unwrap();
    for used in &whole.used {
        let bytes = fs::read(&used.path).unwrap();
        for at in (0..used.end as usize).step_by(512) {
            let mut damaged = bytes.clone();
            damaged[at..].iter_mut().take(512).for_each(|byte| *byte = 0);
            overwrite(&used.path, &damaged);
            let error = scan(dir.path()).expect_err("a lost sector").to_string();
            assert!(
                error.contains("Raft log is damaged: ") && error.contains(" at byte "),
                "{error}"
            );
        }
        overwrite(&used.path, &bytes);
    }
}

#[tokio::test]
async fn a_lost_file_is_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    let whole = scan(dir.path()).unwrap();
    let purged_only =
        whole.used.front().filter(|used| used.last_index <= Some(3)).map(|used| used.number);
    assert_eq!(purged_only, None, "the first segment still matters");
    for used in &whole.used {
        let aside = dir.path().join("aside");
        fs::rename(&used.path, &aside).unwrap();
        assert!(scan(dir.path()).is_err(), "segment {} is gone", used.number);
        fs::rename(&aside, &used.path).unwrap();
    }
    fs::remove_file(dir.path().join("tail")).unwrap();
    let error = LogStore::open(dir.path(), options(), metrics()).unwrap_err();
    assert!(error.to_string().contains("the file `tail` beside them is gone"), "{error}");
}
