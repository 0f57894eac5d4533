//! lsm-tree, which is fjall's tree of segments without fjall's journal, and all that is known of its insides (some are
//! hidden from its docs, so its version is pinned).

use std::{
    fs::{File, TryLockError},
    panic::RefUnwindSafe,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, DescriptorTable, InternalValue,
    SequenceNumberCounter, ValueType,
    compaction::{CompactionFilter, Factory, ItemAccessor, Leveled, Verdict, filter::Context},
    config::{CompressionPolicy, PinningPolicy},
};

use super::{StoreError, memtable::Memtable, segments::Segments, table_of};
use crate::{
    mvcc::{APPLIED, Table, decode, forgettable},
    schema::Applied,
};

/// Block cache.
const CACHE_BYTES: u64 = 32 << 20;
/// Files kept open.
const FILES_MAX: usize = 256;
/// A segment's size.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Runs that are not merged yet, at which merging begins.
const MERGE_RUNS: u8 = 4;
/// Merging and flushing keep no version but the newest.
const NEWEST_ONLY: u64 = u64::MAX;

/// What is on disk, for metrics.
#[derive(Debug, Clone, Default)]
pub(super) struct EngineStats {
    pub(super) disk_bytes: u64,
    pub(super) segments: usize,
    pub(super) cache_bytes: u64,
    pub(super) cache_hit_ratio: f64,
    /// Bytes of filters and indexes held in memory.
    pub(super) pinned_bytes: usize,
    pub(super) forgotten_rows: u64,
}

/// The tree.
pub(super) struct Engine {
    dir: PathBuf,
    tree: AnyTree,
    cache: Arc<Cache>,
    forgetting: Arc<Forgetting>,
    /// Held as long as the tree is open.
    _lock: File,
}

impl Engine {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|e| failed(dir, &e))?;
        let lock = lock(dir)?;
        let cache = Arc::new(Cache::with_capacity_bytes(CACHE_BYTES));
        let forgetting = Arc::new(Forgetting::default());
        // The tree counts its own versions only: rows are numbered here.
        let versions = SequenceNumberCounter::default;
        let none = CompressionType::None;
        let tree = Config::new(dir.join("tree"), versions(), versions())
            .use_cache(Arc::clone(&cache))
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(FILES_MAX))))
            .data_block_compression_policy(CompressionPolicy::new([
                none,
                none,
                CompressionType::Lz4,
            ]))
            // Below the first level a segment's filter and index are read in pieces: whole, they are hundreds of kilobytes, which
            // a few lookups push out of the cache, and each then reads and checks all of it again.
            .filter_block_partitioning_policy(PinningPolicy::new([false, true]))
            .index_block_partitioning_policy(PinningPolicy::new([false, true]))
            .with_compaction_filter_factory(Some(Arc::new(ForgettingFactory(Arc::clone(
                &forgetting,
            )))))
            .open()
            .map_err(|e| failed(dir, &e))?;
        Ok(Self { dir: dir.to_owned(), tree, cache, forgetting, _lock: lock })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first number that no row on disk has.
    pub(super) fn next_turn(&self) -> u64 {
        self.tree.get_highest_persisted_seqno().map_or(1, |highest| highest + 1)
    }

    /// The segments there are now.
    pub(super) fn segments(&self) -> Segments {
        let version = self.tree.current_version();
        let runs = version.iter_levels().flat_map(|level| level.iter());
        let unmerged = version.l0().table_count();
        Segments::new(version.id(), unmerged, runs.map(|run| run.to_vec()).collect())
    }

    /// How far the state on disk is.
    pub(super) fn applied(&self) -> Result<Applied, StoreError> {
        let row = super::row_key(Table::Meta, APPLIED);
        let found = self.segments().get(&row).map_err(|e| failed(&self.dir, &e))?.flatten();
        let record = found.map(|bytes| decode(Table::Meta, bytes)).transpose()?;
        // A store begins at revision 1, as etcd's does.
        Ok(record.unwrap_or(Applied { revision: 1, ..Applied::default() }))
    }

    /// Writes a memtable into a segment, synced; all of it is there afterwards, or nothing.
    pub(super) fn flush(&self, memtable: &Memtable) -> Result<(), StoreError> {
        self.write(memtable.rows())?;
        if let Some(applied) = memtable.applied() {
            self.forgetting.revision.store(applied.compact_revision, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes rows, which must be sorted, into segments of their own.
    pub(super) fn write(
        &self,
        rows: impl Iterator<Item = (Bytes, u64, Option<Bytes>)>,
    ) -> Result<(), StoreError> {
        let rows = rows.map(|(key, turn, value)| {
            Ok(match value {
                Some(value) => InternalValue::from_components(key, value, turn, ValueType::Value),
                None => InternalValue::new_tombstone(key, turn),
            })
        });
        let fail = |e: lsm_tree::Error| failed(&self.dir, &e);
        let written = self.tree.flush_to_tables(rows).map_err(fail)?;
        let Some((segments, _)) = written else { return Ok(()) };
        self.tree.register_tables(&segments, None, None, &[], NEWEST_ONLY).map_err(fail)
    }

    /// Merges what is due; false: nothing is.
    pub(super) fn merge(&self) -> Result<bool, StoreError> {
        let before = self.tree.current_version().id();
        let strategy =
            Leveled::default().with_table_target_size(SEGMENT_BYTES).with_l0_threshold(MERGE_RUNS);
        let merged = self.tree.compact(Arc::new(strategy), NEWEST_ONLY);
        merged.map_err(|e| failed(&self.dir, &e))?;
        Ok(self.tree.current_version().id() != before)
    }

    /// Writes all segments anew, without what a compaction lets go.
    pub(super) fn rewrite(&self) -> Result<(), StoreError> {
        self.tree.major_compact(SEGMENT_BYTES, NEWEST_ONLY).map_err(|e| failed(&self.dir, &e))
    }

    /// Takes every segment away.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        self.forgetting.revision.store(0, Ordering::Relaxed);
        self.tree.drop_range::<&[u8], _>(..).map_err(|e| failed(&self.dir, &e))
    }

    /// The revision whose compaction merging follows.
    pub(super) fn forget_up_to(&self, revision: i64) {
        self.forgetting.revision.store(revision, Ordering::Relaxed);
    }

    /// That revision, and rows that merging has let go since the start.
    pub(super) fn forgotten(&self) -> (i64, u64) {
        let Forgetting { revision, rows } = &*self.forgetting;
        (revision.load(Ordering::Relaxed), rows.load(Ordering::Relaxed))
    }

    /// Rows on disk, superseded ones included.
    pub(super) fn rows(&self) -> usize {
        self.tree.approximate_len()
    }

    pub(super) fn stats(&self) -> EngineStats {
        EngineStats {
            disk_bytes: self.tree.disk_space(),
            segments: self.tree.table_count(),
            cache_bytes: self.cache.size(),
            cache_hit_ratio: self.tree.metrics().block_cache_hit_rate(),
            pinned_bytes: self.tree.pinned_filter_size() + self.tree.pinned_block_index_size(),
            forgotten_rows: self.forgotten().1,
        }
    }
}

fn failed(dir: &Path, error: &impl ToString) -> StoreError {
    StoreError::Engine { path: dir.to_owned(), message: error.to_string() }
}

/// Two processes on one directory would destroy it.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let file = File::create(dir.join("lock")).map_err(|e| failed(dir, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(failed(dir, &"another process has it open: stop that one"))
        }
        Err(TryLockError::Error(error)) => Err(failed(dir, &error)),
    }
}

/// What merging leaves out: rows that a compaction has made forgettable. Only one that is on disk counts, since a
/// crash takes back the others.
#[derive(Default)]
struct Forgetting {
    revision: AtomicI64,
    rows: AtomicU64,
}

struct ForgettingFactory(Arc<Forgetting>);

impl RefUnwindSafe for ForgettingFactory {}

impl Factory for ForgettingFactory {
    fn name(&self) -> &'static str {
        "compaction"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let revision = self.0.revision.load(Ordering::Relaxed);
        Box::new(Filter { revision, rows: 0, forgetting: Arc::clone(&self.0) })
    }
}

struct Filter {
    revision: i64,
    rows: u64,
    forgetting: Arc<Forgetting>,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        let forgets =
            table_of(item.key()).is_some_and(|(table, key)| forgettable(table, key, self.revision));
        self.rows += u64::from(forgets);
        // These rows are written once, so no older version of one can come back.
        Ok(if forgets { Verdict::Destroy } else { Verdict::Keep })
    }

    fn finish(self: Box<Self>) {
        self.forgetting.rows.fetch_add(self.rows, Ordering::Relaxed);
    }
}
