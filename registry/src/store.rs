//! The state: memtables over segments on disk, a tree (LSM) whose journal is the Raft log. Applying writes to memory
//! only, and reading takes no lock that anything slow is done under. What is not on disk yet after a crash comes back
//! from the log.
//!
//! ```text
//! apply ─▶ active memtable ─▶ sealed memtables ─▶ segments, merged by and by
//!                                              one flush: a whole memtable with the applied index, or nothing
//! ```

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use prost::Message;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    mvcc::{APPLIED, Table, ViewError, Write},
    schema::Applied,
};

mod engine;
mod filter;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod memtable;
mod segments;
mod snapshot;
#[cfg(test)]
mod tests;
mod upkeep;
mod view;

use engine::Engine;
pub(crate) use frames::{FrameError, FrameReader, SnapshotReader};
use memtable::Memtable;
use segments::Segments;
pub(crate) use snapshot::{SnapshotFile, SnapshotWriter, create};
pub(crate) use view::StoreView;

/// A memtable is sealed and flushed at this size. What a restart applies again from the log follows it.
const MEMTABLE_BYTES: usize = 16 << 20;
/// Sealed memtables beyond which applying waits.
const SEALED_MAX: usize = 4;
/// Segments not merged yet beyond which applying waits.
const UNMERGED_MAX: usize = 48;

/// Why the store cannot go on.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// The storage engine's own words.
    #[error("state in {path}: {message}")]
    Engine { path: PathBuf, message: String },
    /// Reading failed.
    #[error("state: {0}")]
    View(#[from] ViewError),
    /// A background thread stopped at an error; the process must end.
    #[error("state: writing it out has stopped: {0}")]
    Stopped(String),
}

/// The store's insides, for metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreStats {
    pub(crate) disk_bytes: u64,
    pub(crate) segments: usize,
    /// Segments not merged yet.
    pub(crate) l0_segments: usize,
    pub(crate) cache_bytes: u64,
    pub(crate) cache_hit_ratio: f64,
    /// Filters and indexes in memory.
    pub(crate) pinned_bytes: usize,
    /// Rows that merging let go after compactions.
    pub(crate) forgotten_rows: u64,
    pub(crate) memtable_rows: usize,
    pub(crate) memtable_bytes: usize,
    pub(crate) sealed_memtables: usize,
    pub(crate) merges: u64,
    pub(crate) merging_seconds: f64,
    pub(crate) merging: bool,
}

/// How far the background threads are.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Last memtable that is on disk.
    flushed: u64,
    /// Last rewriting that was asked for and is done.
    rewritten: u64,
    /// Why they stopped.
    failed: Option<String>,
}

/// Where rows are, newest first.
struct Layers {
    active: Arc<Memtable>,
    sealed: Vec<Arc<Memtable>>,
    segments: Arc<Segments>,
}

/// What a view is taken of.
struct Head {
    layers: Arc<Layers>,
    /// Rows below this number are applied.
    turn: u64,
    applied: Arc<Applied>,
    /// What the last sealed memtable, or the disk, goes up to.
    sealed: Arc<Applied>,
}

struct Inner {
    engine: Engine,
    head: Mutex<Head>,
    /// Held by whoever adds rows.
    writing: Mutex<()>,
    upkeep: upkeep::Signals,
    progress: watch::Sender<Progress>,
    /// Odd while a snapshot is being installed.
    installs: AtomicU64,
    /// `Applied::alarms` as applied last.
    alarms: AtomicU32,
    /// Where the duration of each commit goes.
    commit_seconds: OnceLock<prometheus::Histogram>,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
    _open: Arc<Open>,
}

/// Ends the background threads, which then close the engine, with the last handle on the store.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.upkeep.close();
    }
}

impl Store {
    /// Opens the state under `dir` and starts its background threads.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let engine = Engine::open(dir)?;
        snapshot::finish_install(dir, &engine)?;
        let head = Head::on_disk(&engine, 1)?;
        let inner = Arc::new(Inner {
            engine,
            alarms: AtomicU32::new(head.applied.alarms),
            head: Mutex::new(head),
            writing: Mutex::new(()),
            upkeep: upkeep::Signals::default(),
            progress: watch::Sender::new(Progress::default()),
            installs: AtomicU64::new(0),
            commit_seconds: OnceLock::new(),
        });
        let open = Arc::new(Open(Arc::clone(&inner)));
        upkeep::spawn(&inner)?;
        Ok(Self { inner, _open: open })
    }

    /// From now on the duration of each commit goes there. Only the first call counts.
    pub(crate) fn measure_commits(&self, seconds: prometheus::Histogram) {
        let _ = self.inner.commit_seconds.set(seconds);
    }

    /// The whole state at this moment. Costs O(1), and pins what it reads for as long as it lives.
    pub(crate) fn view(&self) -> StoreView {
        let head = self.inner.head();
        StoreView::new(Arc::clone(&head.layers), head.turn, Arc::clone(&head.applied))
    }

    /// The state as the one task that writes sees it: with everything pushed so far. Others take a view.
    pub(crate) fn live(&self) -> StoreView {
        self.view()
    }

    /// The number of the state's life: it changes when a snapshot replaces the state. None while one does: then the
    /// state is neither the old one nor the new. Who reads asks before and after.
    pub(crate) fn life(&self) -> Option<u64> {
        let installs = self.inner.installs.load(Ordering::SeqCst);
        installs.is_multiple_of(2).then_some(installs)
    }

    /// How far the state machine is.
    pub(crate) fn applied(&self) -> Arc<Applied> {
        Arc::clone(&self.inner.head().applied)
    }

    /// Which alarms are raised: bits as in `Applied`.
    pub(crate) fn alarms(&self) -> u32 {
        self.inner.alarms.load(Ordering::Relaxed)
    }

    /// Adds one entry's writes. The caller follows with [`Self::room`] before the next batch of entries.
    pub(crate) fn push(&self, writes: Vec<Write>, applied: Applied) {
        let began = std::time::Instant::now();
        self.inner.alarms.store(applied.alarms, Ordering::Relaxed);
        let _writing = self.inner.writing();
        let (layers, turn) = {
            let head = self.inner.head();
            (Arc::clone(&head.layers), head.turn)
        };
        for write in writes {
            layers.active.insert(row_key(write.table, &write.key), turn, write.value);
        }
        let applied = Arc::new(applied);
        let mut head = self.inner.head();
        // Only now do views see the rows, all of them.
        head.turn = turn + 1;
        let former = std::mem::replace(&mut head.applied, applied);
        if layers.active.bytes() >= MEMTABLE_BYTES {
            head.seal();
            self.inner.upkeep.flush.notify_one();
        }
        drop(head);
        drop(former);
        if let Some(seconds) = self.inner.commit_seconds.get() {
            seconds.observe(began.elapsed().as_secs_f64());
        }
    }

    /// Waits until there is room for more, and reports background threads that have stopped.
    pub(crate) async fn room(&self) -> Result<(), StoreError> {
        if self.inner.has_room() && self.inner.progress.borrow().failed.is_none() {
            return Ok(());
        }
        let mut progress = self.inner.progress.subscribe();
        loop {
            if let Some(error) = &progress.borrow_and_update().failed {
                return Err(StoreError::Stopped(error.clone()));
            }
            if self.inner.has_room() {
                return Ok(());
            }
            if progress.changed().await.is_err() {
                return Err(StoreError::Stopped("shut down".to_owned()));
            }
        }
    }

    /// Waits until everything applied so far is on the disk, synced.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let target = {
            let _writing = self.inner.writing();
            let mut head = self.inner.head();
            if !head.layers.active.is_empty() || head.applied != head.sealed {
                head.seal();
                self.inner.upkeep.flush.notify_one();
            }
            head.layers.active.number - 1
        };
        self.inner.reached(|progress| progress.flushed >= target).await
    }

    /// Waits until what compactions let go has left the disk.
    pub(crate) async fn rewrite(&self) -> Result<(), StoreError> {
        self.flush().await?;
        let target = self.inner.upkeep.ask_to_rewrite();
        self.inner.reached(|progress| progress.rewritten >= target).await
    }

    /// Resolves when a background thread has stopped at an error.
    pub(crate) async fn failed(&self) -> String {
        let mut progress = self.inner.progress.subscribe();
        match progress.wait_for(|p| p.failed.is_some()).await {
            Ok(progress) => progress.failed.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// The store's insides, for metrics.
    pub(crate) fn stats(&self) -> StoreStats {
        let (engine, layers) = (self.inner.engine.stats(), Arc::clone(&self.inner.head().layers));
        let memtables = || layers.sealed.iter().chain([&layers.active]);
        let (merges, merging_seconds, merging) = self.inner.upkeep.merges();
        StoreStats {
            disk_bytes: engine.disk_bytes,
            segments: engine.segments,
            l0_segments: layers.segments.unmerged,
            cache_bytes: engine.cache_bytes,
            cache_hit_ratio: engine.cache_hit_ratio,
            pinned_bytes: engine.pinned_bytes,
            forgotten_rows: engine.forgotten_rows,
            memtable_rows: memtables().map(|memtable| memtable.len()).sum(),
            memtable_bytes: memtables().map(|memtable| memtable.bytes()).sum(),
            sealed_memtables: layers.sealed.len(),
            merges,
            merging_seconds,
            merging,
        }
    }

    /// Replaces the whole state by that of a received snapshot file, which it consumes.
    pub(crate) async fn install(&self, file: SnapshotFile) -> Result<Applied, StoreError> {
        self.flush().await?;
        let inner = Arc::clone(&self.inner);
        self.inner.installs.fetch_add(1, Ordering::SeqCst);
        let installing = move || -> Result<Applied, StoreError> {
            let _writing = inner.writing();
            snapshot::install(&inner.engine, file)?;
            // Everything is flushed, so the active memtable is empty and its number free.
            let number = inner.head().layers.active.number;
            let head = Head::on_disk(&inner.engine, number)?;
            let applied = Applied::clone(&head.applied);
            let former = std::mem::replace(&mut *inner.head(), head).layers;
            inner.retire(None, &former);
            Ok(applied)
        };
        let applied = tokio::task::spawn_blocking(installing)
            .await
            .map_err(|e| StoreError::Stopped(e.to_string()))??;
        self.inner.alarms.store(applied.alarms, Ordering::Relaxed);
        // After an error the number stays odd: the state is nobody's, and the member ends.
        self.inner.installs.fetch_add(1, Ordering::SeqCst);
        Ok(applied)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.inner.engine.dir()
    }
}

impl Head {
    /// What is on disk, under an empty memtable.
    fn on_disk(engine: &Engine, number: u64) -> Result<Self, StoreError> {
        let applied = Arc::new(engine.applied()?);
        engine.forget_up_to(applied.compact_revision);
        let layers = Layers {
            active: Arc::new(Memtable::new(number)),
            sealed: Vec::new(),
            segments: Arc::new(engine.segments()),
        };
        Ok(Self {
            layers: Arc::new(layers),
            turn: engine.next_turn(),
            sealed: Arc::clone(&applied),
            applied,
        })
    }

    /// Ends the active memtable, which says how far the state is, and begins another.
    fn seal(&mut self) {
        let layers = &self.layers;
        let record = self.applied.encode_to_vec().into();
        layers.active.insert(row_key(Table::Meta, APPLIED), self.turn, Some(record));
        layers.active.seal(Arc::clone(&self.applied));
        self.turn += 1;
        self.sealed = Arc::clone(&self.applied);
        let mut sealed = vec![Arc::clone(&layers.active)];
        sealed.extend_from_slice(&layers.sealed);
        let active = Arc::new(Memtable::new(layers.active.number + 1));
        let segments = Arc::clone(&layers.segments);
        self.layers = Arc::new(Layers { active, sealed, segments });
    }
}

impl Inner {
    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let layers = Arc::clone(&self.head().layers);
        layers.sealed.len() <= SEALED_MAX && layers.segments.unmerged <= UNMERGED_MAX
    }

    async fn reached(&self, done: impl Fn(&Progress) -> bool) -> Result<(), StoreError> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|p| done(p) || p.failed.is_some()).await;
        let failed = reached
            .map(|p| p.failed.clone())
            .map_err(|_| StoreError::Stopped("shut down".to_owned()))?;
        failed.map_or(Ok(()), |error| Err(StoreError::Stopped(error)))
    }
}

/// A table and a key of it as one key.
fn row_key(table: Table, key: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table as u8);
    out.extend_from_slice(key);
    out.into()
}

/// The table and its key in a row's key.
fn table_of(row: &[u8]) -> Option<(Table, &[u8])> {
    let (table, key) = row.split_first()?;
    Some((Table::from_number(*table)?, key))
}
