//! What its owner has the store do again and again: flush every second, expire every minute.

use crate::{
    SeriesError,
    disk::REMOVE_MAX,
    schema,
    store::{Log, SeriesStore},
};

/// An open chunk that began longer ago is sealed, so that its log rows can go.
const CHUNK_AGE_MAX_MS: i64 = 30 * 60 * 1000;
/// Log rows beyond this are not kept for slow series: their chunks are sealed early.
const LOG_BYTES_MAX: usize = 64 << 20;

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
        let unsaved = self.write().take();
        if unsaved.is_empty() {
            return Ok(());
        }
        let mut batch = self.disk.batch();
        if !unsaved.series.is_empty() {
            batch.put(&schema::META_KEY, schema::meta(unsaved.next_id));
        }
        for (id, labels) in &unsaved.series {
            batch.put(&schema::series_key(*id), schema::series(labels));
        }
        for (id, chunk) in &unsaved.chunks {
            batch.put(&schema::chunk_key(*id, chunk.end_ms), chunk.bytes.clone());
        }
        let mut row_bytes = None;
        if !unsaved.samples.is_empty() {
            let row = schema::log(&unsaved.samples);
            row_bytes = Some(row.len());
            batch.put(&schema::log_key(unsaved.row), row);
        }
        match batch.commit().and_then(|()| self.disk.sync()) {
            Ok(()) => {
                self.write().saved(&unsaved);
                if let Some(bytes) = row_bytes {
                    log.push(unsaved.row, bytes);
                }
                Ok(())
            }
            Err(error) => {
                self.write().restore(unsaved);
                Err(error)
            }
        }
    }

    /// Deletes what is older than the retention, seals chunks that are open for more than half an hour, and
    /// deletes log rows that recovery no longer needs. Flushes as well. Call it once a minute.
    ///
    /// # Errors
    /// When the disk fails; the next call goes on where this one stopped.
    pub fn expire(&self, now_ms: i64) -> Result<Expired, SeriesError> {
        let mut log = self.log();
        let cutoff_ms = now_ms.saturating_sub(self.options.retention_ms);
        self.write().seal(now_ms.saturating_sub(CHUNK_AGE_MAX_MS), log.first_kept(LOG_BYTES_MAX));
        self.flush_into(&mut log)?;
        Ok(Expired {
            log_rows: self.trim(&mut log)?,
            chunks: self.expire_chunks(cutoff_ms)?,
            series: self.bury(cutoff_ms)?,
        })
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

    fn expire_chunks(&self, cutoff_ms: i64) -> Result<usize, SeriesError> {
        let due: Vec<_> = {
            let memory = self.read();
            let due = memory.index.iter().filter(|(_, entry)| entry.head.may_expire(cutoff_ms));
            due.map(|(id, _)| id).collect()
        };
        let mut chunks = 0;
        for id in due {
            let ends = self.disk.chunks_before(id, cutoff_ms).collect::<Result<Vec<_>, _>>()?;
            let keys: Vec<_> = ends.iter().map(|end_ms| schema::chunk_key(id, *end_ms)).collect();
            self.remove(&keys)?;
            chunks += keys.len();
            let oldest = self.disk.first_chunk(id, cutoff_ms)?;
            if let Some(head) = self.write().index.head(id) {
                head.expired(oldest);
            }
        }
        Ok(chunks)
    }

    /// Deletes the rows of series that have nothing left.
    fn bury(&self, cutoff_ms: i64) -> Result<usize, SeriesError> {
        let dead = self.write().bury(cutoff_ms);
        let keys: Vec<_> = dead.iter().map(|id| schema::series_key(*id)).collect();
        self.remove(&keys)?;
        Ok(dead.len())
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

impl Log {
    /// The first row to keep so that the rows from it on have at most half of `bytes_max`; 0, keep all,
    /// while there are no more than `bytes_max`.
    fn first_kept(&self, bytes_max: usize) -> u64 {
        if self.bytes <= bytes_max {
            return 0;
        }
        let mut left = bytes_max / 2;
        for (row, bytes) in self.rows.iter().rev() {
            match left.checked_sub(*bytes) {
                Some(rest) => left = rest,
                None => return row + 1,
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded() {
        let mut log = Log::default();
        for row in 5..15 {
            log.push(row, 10);
        }
        assert_eq!(log.first_kept(100), 0);
        assert_eq!(log.first_kept(99), 11);
        assert_eq!(log.first_kept(10), 15);
    }
}
