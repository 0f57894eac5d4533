//! The state on disk: fjall, written behind a bounded overlay in memory, so that an acknowledgement never waits
//! for it. What is not on disk yet after a crash comes back from the Raft log.
//!
//! ```text
//! apply ─▶ overlay (reads look here first) ─▶ writer thread ─▶ one fjall batch with the applied index
//! ```
//!
//! A row leaves the overlay only after its batch is committed, so overlay over engine is always the whole state.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    mvcc::{Table, ViewError, Write},
    schema::Applied,
};

mod engine;
mod frames;
mod live;
mod overlay;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub(crate) use engine::{Engine, EngineStats};
pub(crate) use frames::{FrameError, FrameReader, SnapshotReader};
pub(crate) use live::Live;
use overlay::Overlay;
pub(crate) use snapshot::{SnapshotFile, SnapshotWriter, create};
pub(crate) use view::StoreView;

/// The overlay's size in bytes beyond which applying waits for the writer.
const OVERLAY_BYTES_MAX: usize = 64 << 20;

/// Why the store cannot go on.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// The storage engine's own words.
    #[error("state in {path}: {message}")]
    Engine { path: PathBuf, message: String },
    /// Reading failed.
    #[error("state: {0}")]
    View(#[from] ViewError),
    /// The writer thread stopped at an error; the process must end.
    #[error("state: the writer has stopped: {0}")]
    Stopped(String),
}

/// How far the writer is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Last batch that is in the engine.
    pub(crate) flushed: u64,
    /// Bytes that wait.
    pub(crate) waiting_bytes: usize,
    /// Why the writer stopped.
    pub(crate) failed: Option<String>,
}

struct Inner {
    engine: Engine,
    overlay: Mutex<Overlay>,
    /// Wakes the writer.
    work: std::sync::Condvar,
    progress: watch::Sender<Progress>,
    /// Odd while a snapshot is being installed.
    installs: AtomicU64,
    /// `Applied::alarms` as applied last.
    alarms: AtomicU32,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens the state under `dir` and starts its writer thread.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let engine = Engine::open(dir)?;
        snapshot::finish_install(dir, &engine)?;
        let applied = engine.applied()?;
        let inner = Arc::new(Inner {
            engine,
            alarms: AtomicU32::new(applied.alarms),
            overlay: Mutex::new(Overlay::new(applied)),
            work: std::sync::Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
            installs: AtomicU64::new(0),
        });
        writer::spawn(&inner)?;
        Ok(Self { inner })
    }

    /// The whole state at this moment: overlay and engine. Costs O(1).
    pub(crate) fn view(&self) -> StoreView {
        let overlay = self.inner.lock();
        StoreView::new(&self.inner.engine, overlay.rows(), overlay.applied())
    }

    /// The number of the state's life: it changes when a snapshot replaces the state. None while one does: then the
    /// engine is neither the old state nor the new. Who reads asks before and after.
    pub(crate) fn life(&self) -> Option<u64> {
        let installs = self.inner.installs.load(Ordering::SeqCst);
        installs.is_multiple_of(2).then_some(installs)
    }

    /// The state as the one who applies sees it: no snapshot taken, so only for the task that writes.
    pub(crate) fn live(&self) -> Live<'_> {
        Live(self)
    }

    /// How far the state machine is.
    pub(crate) fn applied(&self) -> Arc<Applied> {
        self.inner.lock().applied()
    }

    /// Which alarms are raised: bits as in `Applied`.
    pub(crate) fn alarms(&self) -> u32 {
        self.inner.alarms.load(Ordering::Relaxed)
    }

    /// Adds one entry's writes. The caller follows with [`Self::room`] before the next batch of entries.
    pub(crate) fn push(&self, writes: Vec<Write>, applied: Applied) {
        self.inner.alarms.store(applied.alarms, Ordering::Relaxed);
        let mut overlay = self.inner.lock();
        overlay.push(writes, applied);
        let waiting = overlay.waiting_bytes();
        drop(overlay);
        self.inner.work.notify_one();
        self.inner.progress.send_if_modified(|progress| {
            progress.waiting_bytes = waiting;
            false
        });
    }

    /// Waits until the overlay has room, and reports a writer that has stopped.
    pub(crate) async fn room(&self) -> Result<(), StoreError> {
        if self.inner.lock().waiting_bytes() <= OVERLAY_BYTES_MAX
            && self.inner.progress.borrow().failed.is_none()
        {
            return Ok(());
        }
        let mut progress = self.inner.progress.subscribe();
        loop {
            if let Some(error) = &progress.borrow_and_update().failed {
                return Err(StoreError::Stopped(error.clone()));
            }
            if self.inner.lock().waiting_bytes() <= OVERLAY_BYTES_MAX {
                return Ok(());
            }
            if progress.changed().await.is_err() {
                return Err(StoreError::Stopped("shut down".to_owned()));
            }
        }
    }

    /// Waits until everything applied so far is in the engine; with `sync` also on the disk.
    pub(crate) async fn flush(&self, sync: bool) -> Result<(), StoreError> {
        let target = self.inner.lock().last_batch();
        let mut progress = self.inner.progress.subscribe();
        let reached = progress.wait_for(|p| p.flushed >= target || p.failed.is_some()).await;
        let failed = reached
            .map(|p| p.failed.clone())
            .map_err(|_| StoreError::Stopped("shut down".to_owned()))?;
        if let Some(error) = failed {
            return Err(StoreError::Stopped(error));
        }
        if sync {
            let inner = Arc::clone(&self.inner);
            tokio::task::spawn_blocking(move || inner.engine.sync())
                .await
                .map_err(|e| StoreError::Stopped(e.to_string()))??;
        }
        Ok(())
    }

    /// Resolves when the writer has stopped at an error.
    pub(crate) async fn failed(&self) -> String {
        let mut progress = self.inner.progress.subscribe();
        match progress.wait_for(|p| p.failed.is_some()).await {
            Ok(progress) => progress.failed.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Rows in the overlay and bytes that wait.
    pub(crate) fn overlay_size(&self) -> (usize, usize) {
        let overlay = self.inner.lock();
        (overlay.rows().len(), overlay.waiting_bytes())
    }

    pub(crate) fn stats(&self) -> EngineStats {
        self.inner.engine.stats()
    }

    /// Replaces the whole state by that of a received snapshot file, which it consumes.
    pub(crate) async fn install(&self, file: SnapshotFile) -> Result<Applied, StoreError> {
        self.flush(false).await?;
        let inner = Arc::clone(&self.inner);
        self.inner.installs.fetch_add(1, Ordering::SeqCst);
        let applied = tokio::task::spawn_blocking(move || snapshot::install(&inner.engine, file))
            .await
            .map_err(|e| StoreError::Stopped(e.to_string()))??;
        self.inner.alarms.store(applied.alarms, Ordering::Relaxed);
        self.inner.lock().reset(applied.clone());
        // After an error the number stays odd: the state is nobody's, and the member ends.
        self.inner.installs.fetch_add(1, Ordering::SeqCst);
        Ok(applied)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.inner.engine.dir()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer holds a weak reference only: wake it, so that it sees the end.
        self.work.notify_all();
    }
}

/// A table and a key of it as one key of the overlay.
fn overlay_key(table: Table, key: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table as u8);
    out.extend_from_slice(key);
    out.into()
}
