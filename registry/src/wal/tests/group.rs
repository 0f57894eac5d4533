//! Group commit, and what happens when the disk fails.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use openraft::{
    RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    type_config::{TypeConfigExt, alias::OneshotReceiverOf},
};

use super::{append, contents, entry, id, metrics, open, options, read_all, vote};
use crate::{raft::types::TypeConfig, wal::LogStore};

type Flushed = OneshotReceiverOf<TypeConfig, io::Result<()>>;

const DEADLINE: Duration = Duration::from_secs(20);

/// Appends without waiting.
async fn begin(store: &mut LogStore, index: u64) -> Flushed {
    try_begin(store, index).await.unwrap()
}

async fn try_begin(store: &mut LogStore, index: u64) -> io::Result<Flushed> {
    let (done, flushed) = TypeConfig::oneshot();
    store.append([entry(1, index, 20)], IOFlushed::Signal(done)).await.map(|()| flushed)
}

#[tokio::test]
async fn what_is_queued_shares_one_fsync_and_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let (entered, in_sync) = mpsc::channel();
    let (open_gate, gate) = mpsc::channel::<()>();
    let counted = Arc::clone(&syncs);
    let sync = Box::new(move |file: &File| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = entered.send(()); // only the first is waited for
        let _ = gate.recv(); // an error: the gate stays open
        file.sync_data()
    });
    let mut store = LogStore::open_with(dir.path(), options(), metrics(), sync).unwrap();

    let mut flushed = vec![begin(&mut store, 1).await];
    tokio::task::spawn_blocking(move || in_sync.recv_timeout(DEADLINE).map(|()| in_sync))
        .await
        .unwrap()
        .expect("the writer syncs the first entry");
    for index in 2..=40 {
        flushed.push(begin(&mut store, index).await);
    }
    store.save_committed(Some(id(1, 30))).await.unwrap();
    assert!(flushed.iter_mut().all(|done| done.try_recv().is_err()), "nothing is durable yet");
    assert_eq!(read_all(&mut store).await.len(), 40, "and everything is readable");

    drop(open_gate);
    for done in flushed {
        tokio::time::timeout(DEADLINE, done).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
    assert_eq!(store.metrics.batch_entries.get_sample_count(), 2);
    assert_eq!(store.metrics.batch_entries.get_sample_sum(), 40.0);
    assert_eq!(store.metrics.queue_length.get(), 0);
    store.close().await.unwrap();
    assert_eq!(open(dir.path()).read_committed().await.unwrap(), Some(id(1, 30)));
}

#[tokio::test]
async fn a_failed_fsync_ends_the_log_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut syncs = 0;
    let sync = Box::new(move |file: &File| {
        syncs += 1;
        if syncs > 3 { Err(io::Error::other("disk on fire")) } else { file.sync_data() }
    });
    let mut store = LogStore::open_with(dir.path(), options(), metrics(), sync).unwrap();
    store.save_vote(&vote(4)).await.unwrap();
    append(&mut store, vec![entry(1, 1, 20)]).await;
    append(&mut store, vec![entry(1, 2, 20)]).await;

    let error = begin(&mut store, 3).await.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("cannot sync") && error.contains("disk on fire"), "{error}");
    let later = try_begin(&mut store, 4).await.unwrap_err();
    assert_eq!(later.to_string(), error);
    assert_eq!(store.save_vote(&vote(6)).await.unwrap_err().to_string(), error);
    assert!(store.try_get_log_entries(0..).await.is_err());
    assert!(store.close().await.is_err());

    let found = contents(&mut open(dir.path())).await;
    assert_eq!(found.vote, Some(vote(4)));
    assert!(found.last >= Some(id(1, 2)), "{found:?}");
}

#[tokio::test]
async fn a_gap_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    append(&mut store, vec![entry(1, 5, 1)]).await;
    let error = try_begin(&mut store, 7).await.unwrap_err();
    assert_eq!(error.to_string(), "entry 7 does not continue the log: index 6 comes next");
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.save_vote(&vote(1)).await.unwrap_err().to_string(), "the Raft log is closed");
}
