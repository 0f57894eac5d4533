//! The thread beside the writer: makes the next segment ahead of need, puts purged ones to new use or removes them,
//! and syncs the tail file of a log that fell idle.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    WalError, WalMetrics,
    segment::{self, SPARE, Segment},
    tail::TailFile,
};
use crate::background;

/// Most requests that wait; the writer keeps what does not fit and asks again.
const REQUESTS_MAX: usize = 16;
/// How old the durable copy of the tail file may become while nothing is written.
const TAIL_SYNC_EVERY: Duration = Duration::from_secs(1);
/// A segment is made ahead of need in steps with rests between, each so many times as long as the step: three members that
/// make one at the same time without would keep the disk, and a core, from the log for half a second.
const RESTS: u32 = 3;
/// The longest.
const REST_MAX: Duration = Duration::from_millis(40);

enum Request {
    Prepare(u64),
    Reclaim(Arc<Segment>),
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Preparer {
    requests: Option<SyncSender<Request>>,
    prepared: Receiver<Result<Segment, WalError>>,
    /// Somebody waits: no more rests.
    awaited: Arc<AtomicBool>,
    tail_is_newer: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    /// Starts the thread for the log in `folder`.
    pub(super) fn start(
        folder: &Path,
        segment_bytes: u64,
        tail: Arc<TailFile>,
        metrics: WalMetrics,
    ) -> Result<Preparer, WalError> {
        let (requests, requested) = sync_channel(REQUESTS_MAX);
        let (answer, prepared) = sync_channel(1);
        let (awaited, tail_is_newer) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let worker = Worker {
            folder: folder.to_owned(),
            segment_bytes,
            spare: spare(folder, segment_bytes)?,
            unwanted: VecDeque::new(),
            tail,
            awaited: Arc::clone(&awaited),
            tail_is_newer: Arc::clone(&tail_is_newer),
            metrics,
        };
        let thread = thread::Builder::new()
            .name("wal-preparer".into())
            .spawn(move || {
                background::yield_to_others(background::SOON);
                worker.run(&requested, &answer);
            })
            .map_err(WalError::io("start a thread for", folder))?;
        let requests = Some(requests);
        Ok(Preparer { requests, prepared, awaited, tail_is_newer, thread: Some(thread) })
    }

    /// Asks for segment `number`; its answer comes from [`Preparer::prepared`]. Waits while too much is asked.
    pub(super) fn prepare(&self, number: u64) {
        // A thread that ended answers nothing, and then `prepared` says so.
        let _ = self.requests.as_ref().map(|requests| requests.send(Request::Prepare(number)));
    }

    /// Waits for the segment that was asked for; `None` when the thread ended.
    pub(super) fn prepared(&self) -> Option<Result<Segment, WalError>> {
        self.awaited.store(true, Ordering::Release);
        let prepared = self.prepared.recv().ok();
        self.awaited.store(false, Ordering::Release);
        prepared
    }

    /// Hands over a segment that nobody needs; hands it back when too much waits already.
    pub(super) fn reclaim(&self, segment: Arc<Segment>) -> Result<(), Arc<Segment>> {
        let Some(requests) = &self.requests else { return Err(segment) };
        requests.try_send(Request::Reclaim(Arc::clone(&segment))).map_err(|_full| segment)
    }

    /// The tail file changed.
    pub(super) fn tail_changed(&self) {
        self.tail_is_newer.store(true, Ordering::Release);
    }

    /// Lets the thread finish what it was asked and waits for it.
    pub(super) fn stop(&mut self) {
        self.requests = None;
        self.awaited.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            while self.prepared.recv().is_ok() {}
            if thread.join().is_err() {
                tracing::error!("the Raft log's preparing thread panicked");
            }
        }
    }
}

struct Worker {
    folder: PathBuf,
    segment_bytes: u64,
    spare: Option<Segment>,
    /// Purged segments, oldest first. One that cannot be put away stays at the front: the files have no gap.
    unwanted: VecDeque<Arc<Segment>>,
    tail: Arc<TailFile>,
    awaited: Arc<AtomicBool>,
    tail_is_newer: Arc<AtomicBool>,
    metrics: WalMetrics,
}

impl Worker {
    fn run(mut self, requests: &Receiver<Request>, answer: &SyncSender<Result<Segment, WalError>>) {
        loop {
            match requests.recv_timeout(TAIL_SYNC_EVERY) {
                Ok(Request::Prepare(number)) => {
                    // The writer asks for one at a time, so there is room; when it is gone, nobody wants it.
                    let _ = answer.send(self.prepare(number));
                }
                Ok(Request::Reclaim(segment)) => {
                    self.unwanted.push_back(segment);
                    self.reclaim();
                }
                Err(RecvTimeoutError::Timeout) => self.sync_tail(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn prepare(&mut self, number: u64) -> Result<Segment, WalError> {
        if let Some(spare) = self.spare.take() {
            let path = segment::rename(&self.folder, &spare.path, number)?;
            return Ok(Segment { number, path, ..spare });
        }
        let (this, mut synced) = (&*self, Instant::now());
        let rest = |step: Duration| {
            if !this.awaited.load(Ordering::Acquire) {
                thread::sleep((step * RESTS).min(REST_MAX));
            }
            // All rests together are longer than the tail may wait.
            if synced.elapsed() >= TAIL_SYNC_EVERY {
                this.sync_tail();
                synced = Instant::now();
            }
        };
        let segment = segment::create_with_rests(&self.folder, number, self.segment_bytes, rest)?;
        self.metrics.disk_bytes.add(segment.size as i64);
        Ok(segment)
    }

    /// Puts away what is purged, oldest first. Each removal is durable before the next one, so that a crash never
    /// leaves a gap between segments either.
    fn reclaim(&mut self) {
        while let Some(segment) = self.unwanted.pop_front() {
            if let Err(error) =
                self.put_away(&segment).and_then(|()| segment::sync_folder(&self.folder))
            {
                tracing::warn!(%error, "a purged segment of the Raft log stays for now");
                self.unwanted.push_front(segment);
                return;
            }
        }
    }

    /// Keeps a segment for later when there is none and no reader still has it; removes it otherwise.
    fn put_away(&mut self, segment: &Arc<Segment>) -> Result<(), WalError> {
        let read = Arc::strong_count(segment) > 1;
        if read || self.spare.is_some() || segment.size != self.segment_bytes {
            fs::remove_file(&segment.path).map_err(WalError::io("remove", &segment.path))?;
            self.metrics.disk_bytes.sub(segment.size as i64);
            return Ok(());
        }
        let path = self.folder.join(SPARE);
        fs::rename(&segment.path, &path).map_err(WalError::io("rename", &segment.path))?;
        self.spare = Some(segment::open(segment.number, path, self.segment_bytes)?);
        Ok(())
    }

    fn sync_tail(&self) {
        if self.tail_is_newer.swap(false, Ordering::AcqRel)
            && let Err(error) = self.tail.sync()
        {
            tracing::warn!(%error, "the Raft log's tail file could not be synced");
        }
    }
}

/// The spare segment that an earlier run left, if it has the right size.
fn spare(folder: &Path, segment_bytes: u64) -> Result<Option<Segment>, WalError> {
    let path = folder.join(SPARE);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() == segment_bytes => {
            segment::open(0, path, segment_bytes).map(Some)
        }
        Ok(_) => fs::remove_file(&path).map_err(WalError::io("remove", &path)).map(|()| None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(WalError::io("inspect", &path)(error)),
    }
}
