//! What its owner has the store do again and again: flush every second, expire every minute.

use crate::{
    SeriesError, chunk,
    disk::REMOVE_MAX,
    schema,
    store::{Log, SeriesStore},
};

/// How long after its two hours an open chunk may still wait for a sample that ends it.
const REST_AFTER_MS: i64 = 10 * 60 * 1000;
/// Chunks that one expiry deletes: the disk has other things to do as well.
const EXPIRED_MAX: usize = 50_000;

/// What an expiry deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Chunks past their retention.
    pub chunks: usize,
    /// Series without a chunk left.
    pub series: usize,
    /// Log rows whose samples are in chunks.
    pub log_rows: usize,
}

impl SeriesStore {
    /// Persists everything that was appended: in one atomic commit, with one fsync; nothing when there is
    /// nothing new. Call it once a second.
    ///
    /// # Errors
    /// When the disk fails. What was to be written is kept in memory and tried again by the next flush; after
    /// a failed fsync fjall accepts no more writes until the store is reopened.
    pub fn flush(&self) -> Result<(), SeriesError> {
        self.flush_into(&mut self.log())
    }

    fn flush_into(&self, log: &mut Log) -> Result<(), SeriesError> {
        let mut unsaved = self.write().take();
        if unsaved.is_empty() {
            return Ok(());
        }
        let mut batch = self.disk.batch();
        if let Some(meta) = &unsaved.meta {
            batch.put(&schema::META_KEY, &schema::meta(meta));
        }
        for (id, row) in &unsaved.series {
            batch.put(&schema::series_key(*id), row);
        }
        for (id, chunk, suffix) in &unsaved.chunks {
            batch.put(&schema::chunk_key(*id, chunk.end_ms, *suffix), &chunk.bytes);
        }
        for (group, row) in unsaved.heads.iter_mut() {
            batch.put(&schema::head_key(*group), &std::mem::take(row));
        }
        for (number, row) in &unsaved.rows {
            batch.put(&schema::log_key(*number), row);
        }
        match batch.commit().and_then(|()| self.disk.sync()) {
            Ok(()) => {
                self.write().saved(&unsaved);
                unsaved.rows.iter().for_each(|(number, row)| log.push(*number, row.len()));
                self.trim(log).map(drop)
            }
            Err(error) => {
                self.write().restore(unsaved);
                Err(error)
            }
        }
    }

    /// Deletes what is older or more than is to be kept, seals chunks whose two hours are over, and gives back the
    /// memory of series that rest. Flushes as well. Call it once a minute.
    ///
    /// # Errors
    /// When the disk fails; the next call goes on where this one stopped.
    pub fn expire(&self, now_ms: i64) -> Result<Expired, SeriesError> {
        self.expire_in_steps(now_ms, || ())
    }

    /// The same; after every ten thousand rows that are deleted, when no lock is held, its owner appends and flushes what has
    /// come: a crash loses what was not flushed, however much there is to delete.
    ///
    /// # Errors
    /// Those of [`Self::expire`].
    pub fn expire_in_steps(
        &self,
        now_ms: i64,
        mut between: impl FnMut(),
    ) -> Result<Expired, SeriesError> {
        let (cutoff_ms, log_rows) = {
            let mut log = self.log();
            let rows = log.rows.len();
            let over = chunk::bucket(now_ms.saturating_sub(REST_AFTER_MS));
            self.write().rest(chunk::bucket_start_ms(over));
            self.flush_into(&mut log)?;
            (self.cutoff(now_ms, log.bytes), rows.saturating_sub(log.rows.len()))
        };
        between();
        Ok(Expired {
            log_rows,
            chunks: self.expire_chunks(cutoff_ms, &mut between)?,
            series: self.bury(cutoff_ms, &mut between)?,
        })
    }

    /// What is older is not kept: by time, and by size.
    fn cutoff(&self, now_ms: i64, log_bytes: usize) -> i64 {
        let by_time = now_ms.saturating_sub(self.options.retention_ms);
        let mut left = self.options.retention_bytes.saturating_sub(log_bytes as u64);
        let memory = self.read();
        // The bucket that is being filled stays, however large.
        let full = memory.meta.buckets.iter().rev().skip(1).find(|(_, bytes)| {
            let fits = **bytes <= left;
            left = left.saturating_sub(**bytes);
            !fits
        });
        full.map_or(by_time, |(bucket, _)| by_time.max(chunk::bucket_end_ms(*bucket)))
    }

    /// Deletes log rows that no head needs.
    fn trim(&self, log: &mut Log) -> Result<usize, SeriesError> {
        let first = self.read().first_row();
        let rows = log.rows.iter().take_while(|(row, _)| *row < first);
        let keys: Vec<_> = rows.map(|(row, _)| schema::log_key(*row)).collect();
        self.remove(&keys)?;
        for (_, bytes) in log.rows.drain(..keys.len()) {
            log.bytes -= bytes;
        }
        Ok(keys.len())
    }

    /// Deletes the buckets that ended, some chunks at a time.
    fn expire_chunks(
        &self,
        cutoff_ms: i64,
        between: &mut impl FnMut(),
    ) -> Result<usize, SeriesError> {
        let over = |bucket: &i32| chunk::bucket_end_ms(*bucket) <= cutoff_ms;
        let due: Vec<_> = self.read().meta.buckets.keys().copied().filter(over).collect();
        let mut left = EXPIRED_MAX;
        for bucket in due {
            let keys = self.disk.chunk_keys(bucket, left)?;
            self.remove_in_steps(&keys, between)?;
            left -= keys.len();
            if left == 0 {
                break;
            }
            let _writing = self.log();
            // A flush between two steps may have written another one.
            if self.disk.chunk_keys(bucket, 1)?.is_empty() {
                self.write().meta.buckets.remove(&bucket);
            }
        }
        Ok(EXPIRED_MAX - left)
    }

    /// Deletes the rows of series that have nothing left.
    fn bury(&self, cutoff_ms: i64, between: &mut impl FnMut()) -> Result<usize, SeriesError> {
        let (dead, groups) = {
            let _writing = self.log();
            self.write().bury(cutoff_ms)
        };
        // First the series: heads of series that are gone are passed over at a start.
        let series = dead.iter().map(|id| schema::series_key(*id));
        let groups = groups.iter().map(|group| schema::head_key(*group));
        self.remove_in_steps(&series.chain(groups).collect::<Vec<_>>(), between)?;
        Ok(dead.len())
    }

    fn remove_in_steps<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        between: &mut impl FnMut(),
    ) -> Result<(), SeriesError> {
        for keys in keys.chunks(REMOVE_MAX) {
            let writing = self.log();
            self.remove(keys)?;
            drop(writing);
            between();
        }
        Ok(())
    }

    fn remove<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<(), SeriesError> {
        for keys in keys.chunks(REMOVE_MAX) {
            let mut batch = self.disk.batch();
            keys.iter().for_each(|key| batch.remove(key.as_ref()));
            batch.commit()?;
        }
        Ok(())
    }

    /// Flushes and closes the store. One that is dropped instead loses what was not flushed.
    ///
    /// # Errors
    /// When the last flush fails.
    pub fn close(self) -> Result<(), SeriesError> {
        self.flush()
    }
}
