//! The writer thread: takes what is applied and commits it to the engine, several entries at a time; between
//! them, a slice of compaction. fjall may hold a commit for hundreds of milliseconds: that is felt here only.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use tracing::{debug, error};

use super::{Inner, Progress, StoreError, StoreView, overlay::Rows};
use crate::{mvcc::superseded, schema::Applied};

/// Bytes in one commit.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// `history` rows looked at in one slice of compaction.
const COMPACT_ROWS: usize = 5_000;
/// How long the thread sleeps at most before it looks whether the store is still there.
const IDLE: Duration = Duration::from_millis(200);

pub(super) fn spawn(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let weak = Arc::downgrade(inner);
    let path = inner.engine.dir().to_owned();
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || run(&weak))
        .map(|_| ())
        .map_err(|e| StoreError::Engine { path, message: e.to_string() })
}

fn run(weak: &Weak<Inner>) {
    let mut compaction = Compaction::default();
    while let Some(inner) = weak.upgrade() {
        // The storage engine asserts; a writer that is gone without a word would stop the member without ending it.
        let stepped = catch_unwind(AssertUnwindSafe(|| step(&inner, &mut compaction)));
        let failure = match stepped {
            Ok(Ok(())) => continue,
            Ok(Err(failure)) => failure.to_string(),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                said.unwrap_or_else(|| "the storage engine panicked".to_owned())
            }
        };
        error!(error = %failure, "state cannot be written");
        inner.progress.send_modify(|p| p.failed = Some(failure));
        return;
    }
}

/// Commits between two slices of a compaction under load; without load they follow each other.
const COMMITS_PER_SLICE: u32 = 16;

/// A compaction under way.
#[derive(Default)]
struct Compaction {
    /// Its revision, and the row it goes on at.
    at: Option<(i64, Bytes)>,
    /// Commits since the last slice.
    commits: u32,
}

fn step(inner: &Inner, compaction: &mut Compaction) -> Result<(), StoreError> {
    let mut overlay = inner.lock();
    if let Some(revision) = overlay.take_compaction() {
        debug!(revision, "compaction begins");
        *compaction = Compaction { at: Some((revision, Bytes::new())), commits: 0 };
    }
    if compaction.commits >= COMMITS_PER_SLICE {
        let applied = overlay.applied();
        drop(overlay);
        return slice(inner, applied, compaction);
    }
    let batches = overlay.take(COMMIT_BYTES_MAX);
    if batches.is_empty() {
        if compaction.at.is_none() {
            let waited = inner.work.wait_timeout(overlay, IDLE);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            return Ok(());
        }
        let applied = overlay.applied();
        drop(overlay);
        return slice(inner, applied, compaction);
    }
    drop(overlay);
    let applied = batches.last().map(|batch| Arc::clone(&batch.applied));
    inner.engine.write(batches.iter().flat_map(|batch| &batch.writes), applied.as_deref())?;
    let mut overlay = inner.lock();
    overlay.written(&batches);
    let waiting_bytes = overlay.waiting_bytes();
    drop(overlay);
    let flushed = batches.last().map_or(0, |batch| batch.number);
    inner.progress.send_replace(Progress { flushed, waiting_bytes, failed: None });
    compaction.commits += u32::from(compaction.at.is_some());
    Ok(())
}

/// A slice of compaction, on what is in the engine: no row that it may forget can still be in the overlay, except
/// one that this compaction finds not yet superseded and the next one forgets.
fn slice(
    inner: &Inner,
    applied: Arc<Applied>,
    compaction: &mut Compaction,
) -> Result<(), StoreError> {
    compaction.commits = 0;
    let Some((revision, from)) = compaction.at.take() else { return Ok(()) };
    let view = StoreView::new(&inner.engine, &Rows::new(), applied);
    let (writes, next) = superseded(&view, &from, revision, COMPACT_ROWS)?;
    inner.engine.write(writes.iter(), None)?;
    compaction.at = next.map(|next| (revision, next));
    if compaction.at.is_none() {
        debug!(revision, "compaction done");
    }
    Ok(())
}
