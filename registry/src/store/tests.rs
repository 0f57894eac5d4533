//! The store against a plain map, while its writer runs; snapshots there and back; what a damaged one does.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{snapshot::SnapshotError, *};
use crate::mvcc::View;

mod crash;

fn write(table: Table, key: &[u8], value: Option<&[u8]>) -> Write {
    Write { table, key: Bytes::copy_from_slice(key), value: value.map(Bytes::copy_from_slice) }
}

fn applied(index: u64) -> Applied {
    Applied { index, any: true, revision: 1, ..Applied::default() }
}

fn all(view: &impl View, table: Table) -> Vec<(Bytes, Bytes)> {
    view.scan(table, b"", None).map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_the_whole_state_at_its_moment_whatever_the_writer_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut pinned = Vec::new();
    for index in 0..3_000u64 {
        let key = vec![b'a' + random.random_range(0..20u8), random.random_range(0..3u8)];
        let value = index.to_be_bytes().to_vec();
        if random.random_bool(0.3) {
            model.remove(&key);
            store.push(vec![write(Table::Latest, &key, None)], applied(index));
        } else {
            store.push(vec![write(Table::Latest, &key, Some(&value))], applied(index));
            model.insert(key, value);
        }
        if index % 100 == 0 {
            pinned.push((store.view(), model.clone()));
        }
        if index % 500 == 0 {
            store.flush().await.unwrap();
        }
    }
    pinned.push((store.view(), model.clone()));
    for (view, model) in &pinned {
        let expected: Vec<_> =
            model.iter().map(|(k, v)| (Bytes::from(k.clone()), Bytes::from(v.clone()))).collect();
        assert_eq!(all(view, Table::Latest), expected);
        for (key, value) in &expected {
            assert_eq!(view.get(Table::Latest, key).unwrap().as_ref(), Some(value));
        }
        let part: Vec<_> = view.scan(Table::Latest, b"c", Some(b"k")).map(Result::unwrap).collect();
        let inside = |key: &[u8]| key >= &b"c"[..] && key < &b"k"[..];
        let expected: Vec<_> = expected.into_iter().filter(|(key, _)| inside(key)).collect();
        assert_eq!(part, expected);
    }
    store.flush().await.unwrap();
    assert_eq!(store.stats().memtable_rows, 0, "everything flushed has left the memtables");
    drop((pinned, store));

    let store = reopen(dir.path()).await;
    assert_eq!(store.applied().index, 2_999);
    assert_eq!(all(&store.view(), Table::Latest).len(), model.len());
}

/// The former store's writer thread ends soon after the last handle is gone; until then the directory is locked.
async fn reopen(dir: &Path) -> Store {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match Store::open(dir) {
            Ok(store) => return store,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

async fn filled(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    for index in 1..=500u64 {
        let value = vec![index as u8; 2_000];
        let key = index.to_be_bytes();
        let writes =
            vec![write(Table::Latest, &key, Some(&value)), write(Table::Leases, &key, Some(b""))];
        store.push(writes, applied(index));
    }
    store
}

fn frames(view: StoreView) -> Vec<u8> {
    let mut reader = SnapshotReader::new(view);
    std::iter::from_fn(|| reader.next_frame().unwrap()).flatten().collect()
}

fn save(bytes: &[u8], dir: &Path) -> Result<SnapshotFile, SnapshotError> {
    let mut file = SnapshotWriter::create(dir).unwrap();
    file.write(bytes).unwrap();
    file.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_carries_everything_and_replaces_what_was_there() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = filled(from.path()).await;
    source.flush().await.unwrap();
    let target = Store::open(to.path()).unwrap();
    target.push(vec![write(Table::History, b"old", Some(b"gone"))], applied(3));
    let file = save(&frames(source.view()), target.dir()).unwrap();
    assert_eq!(file.applied().index, 500);
    let installed = target.install(file).await.unwrap();
    assert_eq!(installed.index, 500);
    for table in Table::ALL {
        assert_eq!(all(&target.view(), table), all(&source.view(), table), "{table:?}");
    }
    assert!(!to.path().join("installing").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_installation_is_finished_at_the_next_start() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = filled(from.path()).await;
    source.flush().await.unwrap();
    drop(Store::open(to.path()).unwrap());
    std::fs::write(to.path().join("installing"), frames(source.view())).unwrap();
    std::fs::write(to.path().join("receiving-7"), "half of one").unwrap();
    let target = reopen(to.path()).await;
    assert_eq!(target.applied().index, 500);
    assert_eq!(all(&target.view(), Table::Latest).len(), 500);
    assert!(!to.path().join("receiving-7").exists(), "what a crash left of a stream is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_refused_whole() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = filled(from.path()).await;
    source.flush().await.unwrap();
    let target = Store::open(to.path()).unwrap();
    let good = frames(source.view());
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..60 {
        let mut bad = good.clone();
        if round % 3 == 0 {
            bad.truncate(random.random_range(0..bad.len()));
        } else {
            let at = random.random_range(0..bad.len());
            bad[at] ^= 1 << random.random_range(0..8u8);
        }
        let error = save(&bad, to.path()).unwrap_err().to_string();
        assert!(error.contains("receiving") && error.contains("offset"), "{error}");
    }
    assert!(target.life().is_some(), "the state is what it was");
    let left = std::fs::read_dir(to.path()).unwrap().filter_map(Result::ok);
    let left = left.filter(|file| file.file_name().to_string_lossy().starts_with("receiving"));
    assert_eq!(left.count(), 0, "a refused file goes");
}
