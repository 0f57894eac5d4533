//! fjall, and all that is known of its insides (some of its introspection is hidden from its docs).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Snapshot};

use super::StoreError;
use crate::{
    mvcc::{APPLIED, Table, ViewError, Write},
    schema::Applied,
};

/// Journals beyond this are flushed away: what opening costs follows their size.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// Block cache.
const CACHE_BYTES: u64 = 64 << 20;
/// A memtable is written out at this size.
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;

/// One keyspace per table.
pub(crate) struct Tables([Keyspace; 6]);

impl Tables {
    pub(super) fn of(&self, table: Table) -> &Keyspace {
        &self.0[table as usize - 1]
    }
}

/// The engine's insides, for metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct EngineStats {
    pub(crate) write_buffer_bytes: u64,
    pub(crate) journals: usize,
    pub(crate) journal_bytes: u64,
    pub(crate) outstanding_flushes: usize,
    pub(crate) active_compactions: usize,
    pub(crate) compactions_total: usize,
    pub(crate) compacting_seconds_total: f64,
    pub(crate) cache_bytes: u64,
    pub(crate) tables: Vec<TableStats>,
}

/// One keyspace's insides.
#[derive(Debug, Clone)]
pub(crate) struct TableStats {
    pub(crate) name: &'static str,
    pub(crate) disk_bytes: u64,
    pub(crate) segments: usize,
    pub(crate) l0_segments: usize,
    pub(crate) rows_estimate: usize,
    pub(crate) cache_hit_ratio: f64,
}

/// The database.
pub(crate) struct Engine {
    dir: PathBuf,
    db: Database,
    tables: Arc<Tables>,
}

impl Engine {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let fail =
            |e: fjall::Error| StoreError::Engine { path: dir.to_owned(), message: e.to_string() };
        std::fs::create_dir_all(dir)
            .map_err(|e| StoreError::Engine { path: dir.to_owned(), message: e.to_string() })?;
        let db = Database::builder(dir.join("fjall"))
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(2)
            .open()
            .map_err(fail)?;
        let open = |table: Table| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
            db.keyspace(table.name(), options)
        };
        let [latest, history, events, leases, lease_keys, meta] = Table::ALL.map(open);
        let tables = Tables([
            latest.map_err(fail)?,
            history.map_err(fail)?,
            events.map_err(fail)?,
            leases.map_err(fail)?,
            lease_keys.map_err(fail)?,
            meta.map_err(fail)?,
        ]);
        Ok(Self { dir: dir.to_owned(), db, tables: Arc::new(tables) })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let found = self.tables.of(table).get(key);
        found.map(|value| value.map(Bytes::from)).map_err(|e| ViewError::new(table, e))
    }

    /// How far the state on disk is.
    pub(super) fn applied(&self) -> Result<Applied, StoreError> {
        let found = self.get(Table::Meta, APPLIED)?;
        let record = found.map(|bytes| crate::mvcc::decode(Table::Meta, bytes)).transpose()?;
        // A store begins at revision 1, as etcd's does.
        Ok(record.unwrap_or(Applied { revision: 1, ..Applied::default() }))
    }

    /// Writes atomically; buffered, not synced.
    pub(super) fn write<'w>(
        &self,
        writes: impl Iterator<Item = &'w Write>,
        applied: Option<&Applied>,
    ) -> Result<(), StoreError> {
        let mut batch = self.db.batch();
        for write in writes {
            let table = self.tables.of(write.table);
            match &write.value {
                Some(value) => batch.insert(table, write.key.clone(), value.clone()),
                None => batch.remove(table, write.key.clone()),
            }
        }
        if let Some(applied) = applied {
            let record = prost::Message::encode_to_vec(applied);
            batch.insert(self.tables.of(Table::Meta), APPLIED, record);
        }
        batch.commit().map_err(|e| self.fail(&e))
    }

    /// Empties every table.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        self.tables.0.iter().try_for_each(|table| table.clear().map_err(|e| self.fail(&e)))
    }

    /// Brings everything written so far onto the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.persist(PersistMode::SyncData).map_err(|e| self.fail(&e))
    }

    fn fail(&self, error: &fjall::Error) -> StoreError {
        StoreError::Engine { path: self.dir.clone(), message: error.to_string() }
    }

    pub(super) fn stats(&self) -> EngineStats {
        let tables = Table::ALL.map(|table| {
            let keyspace = self.tables.of(table);
            TableStats {
                name: table.name(),
                disk_bytes: keyspace.disk_space(),
                segments: keyspace.table_count(),
                l0_segments: keyspace.l0_table_count(),
                rows_estimate: keyspace.approximate_len(),
                cache_hit_ratio: keyspace.metrics().block_cache_hit_rate(),
            }
        });
        EngineStats {
            write_buffer_bytes: self.db.write_buffer_size(),
            journals: self.db.journal_count(),
            journal_bytes: self.db.journal_disk_space().unwrap_or_default(),
            outstanding_flushes: self.db.outstanding_flushes(),
            active_compactions: self.db.active_compactions(),
            compactions_total: self.db.compactions_completed(),
            compacting_seconds_total: self.db.time_compacting().as_secs_f64(),
            cache_bytes: self.db.cache_size(),
            tables: tables.into(),
        }
    }
}
