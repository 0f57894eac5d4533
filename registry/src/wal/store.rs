//! The handle: opens the log, and is openraft's log storage and log reader.

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    ops::RangeBounds,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader, RaftTypeConfig,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use super::{
    Entry, LogId, Vote, WalError, WalMetrics, WalOptions,
    frame::Builder,
    log::Log,
    preparer::Preparer,
    read,
    recovery::{self, Recovered},
    segment::{self, SPARE, Segment},
    tail::{self, TailFile},
    writer::{Active, Request, Sync, Writer},
};
use crate::raft::types::TypeConfig;

/// Most bytes of entries that one read for replication or for applying answers; a larger entry comes alone.
const READ_BYTES_MAX: usize = 2 << 20;
/// How often what is committed is written down when no entry takes it along.
const COMMITTED_INTERVAL: Duration = Duration::from_millis(100);
const LOCK: &str = "lock";

/// The open log. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    pub(super) metrics: WalMetrics,
}

/// What handles, readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) cache_bytes: usize,
    pub(super) salt: u64,
    log: Mutex<Log>,
    failure: OnceLock<String>,
}

impl Shared {
    /// The log in memory. Never held over I/O or an await.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing can be written any more.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The first reason stays.
    pub(super) fn fail(&self, what: String) {
        let _ = self.failure.set(what);
    }

    pub(super) fn check(&self) -> io::Result<()> {
        self.failure().map_or(Ok(()), |what| Err(io::Error::other(what)))
    }
}

impl LogStore {
    /// Opens the log in `dir`, or creates it there. Blocks: reads every segment, and for a new log writes the first.
    ///
    /// # Errors
    /// Damage of any kind, with file and offset; an option out of bounds; a folder that is in use or cannot be
    /// written.
    pub(crate) fn open(
        dir: &Path,
        options: WalOptions,
        metrics: WalMetrics,
    ) -> Result<LogStore, WalError> {
        LogStore::open_with(dir, options, metrics, Box::new(File::sync_data))
    }

    /// As [`LogStore::open`], with another way to make written data durable.
    pub(super) fn open_with(
        dir: &Path,
        options: WalOptions,
        metrics: WalMetrics,
        sync: Sync,
    ) -> Result<LogStore, WalError> {
        options.validate()?;
        fs::create_dir_all(dir).map_err(WalError::io("create", dir))?;
        let lock = lock(dir)?;
        let tail = match tail::read(dir)? {
            Some(tail) => tail,
            None => create(dir, options.salt)?,
        };
        let Recovered { log, used, mut blank, begun, last, torn } = recovery::scan(dir, &tail)?;
        if let Some((path, offset)) = torn {
            let path = path.display();
            tracing::warn!(%path, offset, "a crash tore the Raft log's last frame; nobody was told of it, it is cut");
        }
        let tail_file = Arc::new(TailFile::open(dir, tail.salt)?);
        let preparer =
            Preparer::start(dir, options.segment_bytes, Arc::clone(&tail_file), metrics.clone())?;

        // The one that is written to is last; the others are full.
        let mut log = log;
        let mut sealed = std::collections::VecDeque::new();
        let mut active = None;
        for found in used {
            let segment = Arc::new(segment::open(found.number, found.path, found.size)?);
            log.segments.insert(found.number, Arc::clone(&segment));
            let now = Active { segment, offset: found.end, last_index: found.last_index };
            if let Some(Active { segment, last_index, .. }) = active.replace(now) {
                sealed.push_back((segment, last_index));
            }
        }
        // What a killed process wrote may be in the page cache only: now that it counts, it must be on the disk.
        if let (Some(Active { segment, .. }), Some(mark)) = (&active, &last) {
            segment.file.sync_data().map_err(WalError::io("sync", &segment.path))?;
            tail_file.mark(mark)?;
            tail_file.sync()?;
        }
        let next = match (blank.pop_front(), &active) {
            (Some((number, path)), _) => {
                // What is left of one that a crash tore would contradict the segment before it when that goes on.
                if begun == Some(number) {
                    fs::remove_file(&path).map_err(WalError::io("remove", &path))?;
                    segment::sync_folder(dir)?;
                    Some(segment::create(dir, number, options.segment_bytes)?)
                } else {
                    Some(segment::open(number, path, options.segment_bytes)?)
                }
            }
            (None, None) => Some(segment::create(dir, 1, options.segment_bytes)?),
            (None, Some(active)) => {
                preparer.prepare(active.segment.number + 1);
                None
            }
        };
        for (_, path) in blank {
            fs::remove_file(&path).map_err(WalError::io("remove", &path))?;
        }
        metrics.segments.set(sealed.len() as i64 + i64::from(active.is_some()));
        metrics.disk_bytes.add(disk_bytes(&log, next.as_ref(), dir));

        let shared = Arc::new(Shared {
            folder: dir.to_owned(),
            segment_bytes: options.segment_bytes,
            cache_bytes: options.cache_bytes,
            salt: tail.salt,
            log: Mutex::new(log),
            failure: OnceLock::new(),
        });
        let (requests, requested) = mpsc::channel(options.queue_max);
        let state = shared.log().state.clone();
        let writer = Writer {
            requests: requested,
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            preparer,
            tail: tail_file,
            sync,
            salt: tail.salt,
            state,
            last,
            active,
            next,
            sealed,
            frame: Builder::default(),
            placed: Vec::new(),
            payload: Vec::new(),
            lock,
        };
        thread::Builder::new()
            .name("wal-writer".into())
            .spawn(move || writer.run())
            .map_err(WalError::io("start a thread for", dir))?;
        Ok(LogStore { shared, requests, metrics })
    }

    /// Writes what is queued, syncs, and lets the folder go. Every later call fails. Dropping the last handle does
    /// the same, without saying when it is done.
    ///
    /// # Errors
    /// What kept the rest from being written.
    pub(crate) async fn close(&self) -> io::Result<()> {
        let (done, closed) = oneshot::channel();
        match self.requests.send(Request::Close { done }).await {
            // Closed by somebody else while this request waited: as good as closed before.
            Ok(()) => closed.await.unwrap_or_else(|_| self.shared.check()),
            Err(_closed_before) => self.shared.check(),
        }
    }

    /// Has it written down how far the log is committed, soon after it is: with the next entries, or by this when there
    /// are none. So a member that comes back alone shows all that it showed before. Ends with the log.
    pub(crate) async fn keep_committed(self) {
        let mut ticks = tokio::time::interval(COMMITTED_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut noted = None;
        loop {
            ticks.tick().await;
            let committed = self.shared.log().state.committed;
            if committed == noted {
                continue;
            }
            if self.submit(|_| Ok(()), |()| Request::Committed).await.is_err() {
                return;
            }
            noted = committed;
        }
    }

    /// Whether nothing was ever written to it: no vote, no entry, nothing purged.
    pub(crate) fn is_new(&self) -> bool {
        self.shared.log().state == super::state::State::default()
    }

    /// Changes the log in memory and queues the request for it, in one step.
    async fn submit<T>(
        &self,
        change: impl FnOnce(&mut Log) -> io::Result<T>,
        request: impl FnOnce(T) -> Request,
    ) -> io::Result<()> {
        self.shared.check()?;
        let permit = self.requests.reserve().await.map_err(|_| gone())?;
        let changed = change(&mut self.shared.log())?;
        self.metrics.queue_length.inc();
        permit.send(request(changed));
        Ok(())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = read::bounds(&range);
        read::entries(&self.shared, start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        read::entries(&self.shared, start, end, READ_BYTES_MAX).await
    }

    /// Reads as far as the stream is polled, not all at once: after a restart the range may be long.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = read::bounds(&range);
        let shared = Arc::clone(&self.shared);
        stream::try_unfold((shared, start, true), move |(shared, at, first)| async move {
            if at >= end {
                return Ok(None);
            }
            let entries = read::entries(&shared, at, end, READ_BYTES_MAX).await?;
            let (Some(from), Some(last)) = (entries.first(), entries.last()) else {
                return Ok(None);
            };
            if !first && from.log_id.index != at {
                let what =
                    format!("entry {at} was purged from the Raft log while it was being read");
                return Err(io::Error::other(what));
            }
            let next = last.log_id.index + 1;
            Ok(Some((stream::iter(entries).map(Ok), (shared, next, false))))
        })
        .try_flatten()
        .boxed()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.shared.check()?;
        Ok(self.shared.log().state.vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.shared.check()?;
        let log = self.shared.log();
        Ok(LogState { last_purged_log_id: log.state.purged, last_log_id: log.state.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, saved) = oneshot::channel();
        let vote = *vote;
        self.submit(|_| Ok(()), |()| Request::Vote { vote, done }).await?;
        saved.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.check()?;
        self.shared.log().state.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.shared.check()?;
        Ok(self.shared.log().state.committed)
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let cache_bytes = self.shared.cache_bytes;
        let change = |log: &mut Log| {
            for entry in &entries {
                log.append(entry.clone(), cache_bytes)
                    .map_err(|gap| io::Error::new(io::ErrorKind::InvalidInput, gap))?;
            }
            Ok(entries)
        };
        self.submit(change, |entries| Request::Append { entries, done }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let change = |log: &mut Log| {
            log.truncate_after(last_log_id);
            Ok(())
        };
        self.submit(change, |()| Request::Truncate(last_log_id)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let change = |log: &mut Log| {
            log.purge(log_id);
            Ok(())
        };
        self.submit(change, |()| Request::Purge(log_id)).await
    }
}

/// A new log: its tail file. Segments without one are somebody's damaged log, not a new one.
fn create(dir: &Path, salt: u64) -> Result<tail::Tail, WalError> {
    if let Some((_, path)) = segment::list(dir)?.first() {
        return Err(WalError::corrupt(
            path,
            0,
            "there are segments, but the file `tail` beside them is gone",
        ));
    }
    tail::create(dir, salt)?;
    Ok(tail::Tail { salt, mark: None })
}

/// Takes the folder for this process and this handle.
fn lock(dir: &Path) -> Result<File, WalError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(WalError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WalError::Locked { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(WalError::io("lock", &path)(source)),
    }
}

fn disk_bytes(log: &Log, next: Option<&Segment>, dir: &Path) -> i64 {
    let used: u64 = log.segments.values().map(|segment| segment.size).sum();
    let spare = fs::metadata(dir.join(SPARE)).map_or(0, |metadata| metadata.len());
    (used + spare + next.map_or(0, |segment| segment.size)) as i64
}

fn gone() -> io::Error {
    io::Error::other("the Raft log is closed")
}
