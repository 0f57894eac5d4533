//! Two threads: one writes sealed memtables out, one merges segments, which is also where what a compaction lets go
//! leaves the disk. Neither holds a lock that reading or applying takes while it does anything slow.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{debug, error};

use super::{Inner, Layers, Memtable, Segments, StoreError};
use crate::background;

/// How long a thread sleeps at most before it looks whether the store is still open.
const IDLE: Duration = Duration::from_millis(200);
/// Rows that may be left over from compactions, whatever there is besides, before all segments are written anew.
const LEFT_OVER_ROWS: i64 = 500_000;
/// The file that says up to which revision nothing is left over.
const REWRITTEN: &str = "rewritten";

/// What the threads are told, and what they tell.
#[derive(Default)]
pub(super) struct Signals {
    /// A memtable was sealed; waits with the head's lock.
    pub(super) flush: Condvar,
    merge: Condvar,
    merging: Mutex<Merging>,
    closed: AtomicBool,
    is_merging: AtomicBool,
    merges: AtomicU64,
    merged_us: AtomicU64,
    retired: Mutex<Retired>,
}

/// What nobody new reads: freed by the threads here, since that takes long.
#[derive(Default)]
struct Retired {
    memtables: Vec<Arc<Memtable>>,
    segments: Vec<Arc<Segments>>,
}

#[derive(Default)]
struct Merging {
    /// Whether there is something new to merge.
    due: bool,
    /// How often a rewriting was asked for.
    asked: u64,
}

impl Signals {
    fn merging(&self) -> MutexGuard<'_, Merging> {
        self.merging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ask_to_rewrite(&self) -> u64 {
        let mut merging = self.merging();
        merging.asked += 1;
        self.merge.notify_one();
        merging.asked
    }

    /// Merges done, the seconds they took, and whether one is under way.
    pub(super) fn merges(&self) -> (u64, f64, bool) {
        let seconds = Duration::from_micros(self.merged_us.load(Ordering::Relaxed)).as_secs_f64();
        let merging = self.is_merging.load(Ordering::Relaxed);
        (self.merges.load(Ordering::Relaxed), seconds, merging)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.flush.notify_all();
        self.merge.notify_all();
    }
}

pub(super) fn spawn(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let mut leftovers = Leftovers::read(inner);
    inner.upkeep.merging().due = true;
    thread(inner, "store-flush", background::SOON, flush)?;
    thread(inner, "store-merge", background::WHENEVER, move |inner| merge(inner, &mut leftovers))
}

fn thread(
    inner: &Arc<Inner>,
    name: &str,
    nice: i32,
    mut step: impl FnMut(&Inner) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    let inner = Arc::clone(inner);
    let path = inner.engine.dir().to_owned();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            background::yield_to_others(nice);
            run(&inner, &mut step);
        })
        .map(|_| ())
        .map_err(|e| StoreError::Engine { path, message: e.to_string() })
}

fn run(inner: &Inner, step: &mut impl FnMut(&Inner) -> Result<(), StoreError>) {
    while !inner.upkeep.closed.load(Ordering::SeqCst) {
        // The engine asserts; a thread that is gone without a word would stop the member without ending it.
        let stepped = catch_unwind(AssertUnwindSafe(|| step(inner)));
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

/// Writes the oldest sealed memtable out, or waits for one.
fn flush(inner: &Inner) -> Result<(), StoreError> {
    inner.free_retired();
    let head = inner.head();
    let Some(memtable) = head.layers.sealed.last().cloned() else {
        let waited = inner.upkeep.flush.wait_timeout(head, IDLE);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        return Ok(());
    };
    drop(head);
    inner.engine.flush(&memtable)?;
    inner.replace(inner.engine.segments(), Some(&memtable));
    inner.progress.send_modify(|progress| progress.flushed = memtable.number);
    inner.upkeep.merging().due = true;
    inner.upkeep.merge.notify_one();
    Ok(())
}

/// Merges what is due, or waits until something is.
fn merge(inner: &Inner, leftovers: &mut Leftovers) -> Result<(), StoreError> {
    let asked = {
        let mut merging = inner.upkeep.merging();
        if !merging.due && merging.asked == leftovers.answered {
            let waited = inner.upkeep.merge.wait_timeout(merging, IDLE);
            merging = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if !std::mem::take(&mut merging.due) && merging.asked == leftovers.answered {
            return Ok(());
        }
        merging.asked
    };
    while inner.timed(|| inner.engine.merge())? {
        inner.replace(inner.engine.segments(), None);
        // Applying may wait for it.
        inner.progress.send_modify(|_| {});
    }
    leftovers.count(inner)?;
    if asked > leftovers.answered || leftovers.are_many(inner) {
        let (revision, _) = inner.engine.forgotten();
        debug!(revision, "writing all segments anew");
        inner.timed(|| inner.engine.rewrite().map(|()| true))?;
        inner.replace(inner.engine.segments(), None);
        leftovers.answered = asked;
        leftovers.none_up_to(inner, revision)?;
        inner.progress.send_modify(|progress| progress.rewritten = asked);
    }
    Ok(())
}

/// Rows that compactions let go and no merge has come across yet: an estimate, two for each revision.
struct Leftovers {
    /// As if nothing were left over up to this revision.
    revision: i64,
    /// Rows let go when that was so.
    forgotten: u64,
    /// Rewritings asked for and done.
    answered: u64,
}

impl Leftovers {
    fn read(inner: &Inner) -> Self {
        let text = std::fs::read_to_string(inner.engine.dir().join(REWRITTEN)).unwrap_or_default();
        Self { revision: text.trim().parse().unwrap_or_default(), forgotten: 0, answered: 0 }
    }

    /// Takes note of what merging has let go since the last time.
    fn count(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let (compacted, forgotten) = inner.engine.forgotten();
        let revisions = i64::try_from((forgotten - self.forgotten) / 2).unwrap_or(i64::MAX);
        if revisions == 0 {
            return Ok(());
        }
        self.none_up_to(inner, self.revision.saturating_add(revisions).min(compacted))
    }

    fn none_up_to(&mut self, inner: &Inner, revision: i64) -> Result<(), StoreError> {
        (self.revision, self.forgotten) = (revision, inner.engine.forgotten().1);
        let path = inner.engine.dir().join(REWRITTEN);
        // Not synced: if it is lost, a rewriting comes early.
        std::fs::write(&path, revision.to_string())
            .map_err(|e| StoreError::Engine { path, message: e.to_string() })
    }

    /// Whether more than half of the rows may be left over.
    fn are_many(&self, inner: &Inner) -> bool {
        let (compacted, _) = inner.engine.forgotten();
        let left = compacted.saturating_sub(self.revision).saturating_mul(2);
        let rows = i64::try_from(inner.engine.rows()).unwrap_or(i64::MAX);
        left > LEFT_OVER_ROWS.max(rows / 2)
    }
}

impl Inner {
    fn timed(&self, work: impl FnOnce() -> Result<bool, StoreError>) -> Result<bool, StoreError> {
        let began = Instant::now();
        self.upkeep.is_merging.store(true, Ordering::Relaxed);
        let done = work();
        self.upkeep.is_merging.store(false, Ordering::Relaxed);
        let done = done?;
        if done {
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.upkeep.merges.fetch_add(1, Ordering::Relaxed);
            self.upkeep.merged_us.fetch_add(took, Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Reads go to these segments from now on, and no longer to a memtable that is in them.
    fn replace(&self, segments: Segments, flushed: Option<&Arc<Memtable>>) {
        let mut head = self.head();
        let layers = &head.layers;
        let newer = segments.version > layers.segments.version;
        let segments = if newer { Arc::new(segments) } else { Arc::clone(&layers.segments) };
        let stays = |memtable: &&Arc<Memtable>| {
            flushed.is_none_or(|flushed| memtable.number != flushed.number)
        };
        let sealed = layers.sealed.iter().filter(stays).cloned().collect();
        let layers = Layers { active: Arc::clone(&layers.active), sealed, segments };
        let former = std::mem::replace(&mut head.layers, Arc::new(layers));
        drop(head);
        self.retire(flushed, &former);
    }

    pub(super) fn retire(&self, memtable: Option<&Arc<Memtable>>, layers: &Layers) {
        let mut retired = self.retired();
        retired.memtables.extend(memtable.cloned());
        retired.segments.push(Arc::clone(&layers.segments));
    }

    fn retired(&self) -> MutexGuard<'_, Retired> {
        self.upkeep.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees what no view reads any more.
    fn free_retired(&self) {
        let mut retired = self.retired();
        let memtables: Vec<_> =
            retired.memtables.extract_if(.., |old| Arc::strong_count(old) == 1).collect();
        let segments: Vec<_> =
            retired.segments.extract_if(.., |old| Arc::strong_count(old) == 1).collect();
        drop(retired);
        drop((memtables, segments));
    }
}
