//! Tests of the log as a whole, and what they share.

mod crash;
mod cuts;
mod flips;
mod golden;
mod group;
mod large;
mod model;
mod suite;

use std::{fs, io, os::unix::fs::FileExt, path::Path};

use bytes::Bytes;
use openraft::{
    EntryPayload, RaftLogReader,
    storage::{RaftLogStorage, RaftLogStorageExt},
    vote::RaftLeaderId,
};
use prometheus::Registry;

use super::{
    Entry, LogId, LogStore, Vote, WalError, WalMetrics, WalOptions,
    log::Source,
    recovery::{self, Recovered},
    tail,
};
use crate::raft::types::{Encoded, TypeConfig};

const SALT: u64 = 0x5a17_0000_0000_0001;

fn options() -> WalOptions {
    WalOptions { segment_bytes: 4096, queue_max: 64, cache_bytes: 2048, salt: SALT }
}

fn metrics() -> WalMetrics {
    WalMetrics::new(&Registry::new()).unwrap()
}

fn open(dir: &Path) -> LogStore {
    LogStore::open(dir, options(), metrics()).unwrap()
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(RaftLeaderId::new(term, 1), index)
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: RaftLeaderId::new(term, 2), committed: term.is_multiple_of(2) }
}

/// An entry whose command tells its index, `bytes` long.
fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let command: Vec<u8> = (0..bytes).map(|i| (index as usize * 31 + i) as u8).collect();
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(Encoded(Bytes::from(command))) }
}

/// Appends and waits until the entries are durable.
async fn append(store: &mut LogStore, entries: Vec<Entry>) {
    RaftLogStorageExt::<TypeConfig>::blocking_append(store, entries).await.unwrap();
}

async fn read_all(store: &mut LogStore) -> Vec<Entry> {
    store.try_get_log_entries(0..).await.unwrap()
}

/// All that openraft can ask of a log.
#[derive(Debug, Clone, PartialEq, Default)]
struct Contents {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: Vec<Entry>,
}

async fn contents(store: &mut LogStore) -> Contents {
    let state = store.get_log_state().await.unwrap();
    Contents {
        vote: store.read_vote().await.unwrap(),
        purged: state.last_purged_log_id,
        last: state.last_log_id,
        entries: read_all(store).await,
    }
}

/// Reads the folder without changing it.
fn scan(dir: &Path) -> Result<Recovered, WalError> {
    recovery::scan(dir, &tail::read(dir)?.expect("a tail file"))
}

/// Vote, committed, purged and the ids of the entries that a scan found; their bytes are under checksums.
fn summary(recovered: &Recovered) -> (super::state::State, Vec<LogId>) {
    let ids =
        recovered.log.sources(0, u64::MAX, usize::MAX).into_iter().map(|source| match source {
            Source::Stored(id, _) => id,
            Source::Cached(entry) => entry.log_id,
        });
    (recovered.log.state.clone(), ids.collect())
}

/// Copies the log's files, as a crash leaves them. A segment that is put away meanwhile is not there.
fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "tail" || name.ends_with(".wal") {
            match fs::copy(&path, to.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => assert!(copied.unwrap() > 0),
            }
        }
    }
}

/// Gives a file these bytes, in place.
fn overwrite(path: &Path, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}
