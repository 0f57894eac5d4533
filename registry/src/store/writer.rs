//! The writer thread: takes what is applied and commits it to the engine, several entries at a time; between
//! them, a slice of compaction. fjall may hold a commit for hundreds of milliseconds: that is felt here only.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use tracing::{debug, error};

use super::{Inner, Progress, StoreError, StoreView, overlay::Rows};
use crate::mvcc::superseded;

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
    let mut compaction = None;
    while let Some(inner) = weak.upgrade() {
        if let Err(failure) = step(&inner, &mut compaction) {
            error!(error = %failure, "state cannot be written");
            inner.progress.send_modify(|p| p.failed = Some(failure.to_string()));
            return;
        }
    }
}

/// A compaction under way: its revision, and the row it goes on at.
type Compaction = Option<(i64, Bytes)>;

fn step(inner: &Inner, compaction: &mut Compaction) -> Result<(), StoreError> {
    let mut overlay = inner.lock();
    let batches = overlay.take(COMMIT_BYTES_MAX);
    if batches.is_empty() {
        if let Some(revision) = overlay.take_compaction() {
            debug!(revision, "compaction begins");
            *compaction = Some((revision, Bytes::new()));
        }
        if compaction.is_none() {
            let waited = inner.work.wait_timeout(overlay, IDLE);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            return Ok(());
        }
        let applied = overlay.applied();
        drop(overlay);
        // Everything the compaction looks at is in the engine: no overlay needed.
        let view = StoreView::new(&inner.engine, &Rows::new(), applied);
        return compact(inner, &view, compaction);
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
    Ok(())
}

fn compact(inner: &Inner, view: &StoreView, compaction: &mut Compaction) -> Result<(), StoreError> {
    let Some((revision, from)) = compaction.take() else { return Ok(()) };
    let (writes, next) = superseded(view, &from, revision, COMPACT_ROWS)?;
    inner.engine.write(writes.iter(), None)?;
    *compaction = next.map(|next| (revision, next));
    if compaction.is_none() {
        debug!(revision, "compaction done");
    }
    Ok(())
}
