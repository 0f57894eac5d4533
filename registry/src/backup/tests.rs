//! A backup there and back; what any damaged byte does.

use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::{
    mvcc::{ALARM, MEMBER, Table, View, Write},
    schema::Applied,
    store::Store,
};

fn row(table: Table, key: &[u8], value: &[u8]) -> Write {
    let (key, value) = (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
    Write { table, key, value }
}

fn applied() -> Applied {
    Applied {
        index: 9,
        any: true,
        revision: 7,
        compact_revision: 3,
        alarms: 2,
        ..Applied::default()
    }
}

/// A store with a row in each table, of which not everything is on disk.
fn filled(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    let mut writes: Vec<Write> =
        Table::ALL.into_iter().map(|table| row(table, b"12345678key", b"")).collect();
    writes.push(row(Table::Meta, &[MEMBER, b"12345678"].concat(), b""));
    writes.push(row(Table::Meta, &[ALARM, b"\x0112345678"].concat(), b""));
    store.push(writes, applied());
    store
}

fn written(store: &Store) -> Vec<u8> {
    let origin = Origin { cluster: 0xc, member: 2, taken_ms: 5 };
    let mut writer = BackupWriter::new(store.view(), origin);
    let mut bytes = Vec::new();
    while let Some(piece) = writer.next_piece().unwrap() {
        bytes.extend(piece);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damaged_byte_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = written(&filled(dir.path()));
    assert_eq!(good.len() % BLOCK_BYTES, 32, "etcd's clients look for a checksum so");
    let summary = verify("b", &good[..]).unwrap();
    assert_eq!((summary.revision, summary.compact_revision, summary.keys), (7, 3, 1));
    assert_eq!((summary.cluster_id, summary.member_id, summary.taken_ms), (0xc, 2, 5));
    assert_eq!(summary.bytes, good.len() as u64);
    let refused = |bytes: &[u8], what: String| {
        let error = verify("b", bytes).expect_err(&what);
        let BackupError::Corrupt { file, offset, .. } = &error else { panic!("{what}: {error}") };
        assert_eq!(file, "b");
        assert!(*offset <= good.len() as u64, "{what}: {error}");
        assert!(error.to_string().starts_with("backup b: bad bytes at offset "), "{error}");
    };
    for at in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            refused(&bad, format!("byte {at} with {bit:x} flipped"));
        }
        refused(&good[..at], format!("cut at {at}"));
    }
    refused(&[&good[..], b"x"].concat(), "a byte more".to_owned());
}

fn options(dir: &Path, node_id: u64) -> RestoreOptions {
    RestoreOptions {
        file: dir.join("backup"),
        data_dir: dir.join("data"),
        node_id,
        initial_cluster: [(1, "h:1".to_owned()), (2, "h:2".to_owned())].into(),
        cluster_token: String::new(),
        bump_revision: 0,
        mark_compacted: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_and_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = written(&filled(&dir.path().join("source")));
    std::fs::write(dir.path().join("backup"), &bytes).unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    let bumped =
        RestoreOptions { bump_revision: 100, mark_compacted: true, ..options(dir.path(), 1) };
    let restored = restore(bumped).await.unwrap();
    assert_eq!(restored.revision, 107);
    assert!(!dir.path().join("data.restoring").exists());

    let store = Store::open(&dir.path().join("data/state")).unwrap();
    let now = store.applied();
    assert_eq!((now.revision, now.compact_revision, now.alarms), (107, 107, 0));
    assert_eq!((now.index, now.term, now.any), (1, 0, true), "an empty member gets a snapshot");
    let meta: Vec<Bytes> =
        store.view().scan(Table::Meta, b"", None).map(|row| row.unwrap().0).collect();
    assert!(meta.contains(&Bytes::from("12345678key")), "what is not of members stays: {meta:?}");
    assert!(!meta.iter().any(|key| key.starts_with(MEMBER) || key.starts_with(ALARM)), "{meta:?}");
    for table in [Table::Latest, Table::Leases, Table::LeaseKeys] {
        assert!(store.view().get(table, b"12345678key").unwrap().is_some(), "{table:?}");
    }

    let error = restore(options(dir.path(), 1)).await.unwrap_err().to_string();
    assert!(error.contains("is there already"), "{error}");
    let elsewhere = |name: &str, node| RestoreOptions {
        data_dir: dir.path().join(name),
        ..options(dir.path(), node)
    };
    let second = restore(elsewhere("second", 2)).await.unwrap();
    assert_eq!(second.cluster_id, restored.cluster_id, "the same cluster for both members");
    let token = RestoreOptions { cluster_token: "b".to_owned(), ..elsewhere("third", 2) };
    assert_ne!(restore(token).await.unwrap().cluster_id, restored.cluster_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_refused_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = written(&filled(&dir.path().join("source")));
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(dir.path().join("backup"), &bytes).unwrap();
    let of = |options: RestoreOptions| async { restore(options).await.unwrap_err().to_string() };
    let good = options(dir.path(), 1);
    for (options, part) in [
        (good.clone(), "backup: bad bytes at offset"),
        (RestoreOptions { file: "nowhere".into(), ..good.clone() }, "backup nowhere: No such file"),
        (RestoreOptions { node_id: 3, ..good.clone() }, "member 3 is not in it"),
        (RestoreOptions { bump_revision: 5, ..good.clone() }, "go together"),
        (RestoreOptions { mark_compacted: true, ..good.clone() }, "go together"),
    ] {
        let error = of(options).await;
        assert!(error.contains(part), "{error}");
        let left = std::fs::read_dir(dir.path()).unwrap().filter_map(Result::ok);
        let left: Vec<_> =
            left.filter(|e| e.file_name().to_string_lossy().contains("data")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
