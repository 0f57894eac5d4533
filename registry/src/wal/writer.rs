//! The thread that writes: takes what is queued, makes frames of it, writes and syncs each, and then tells everybody.

use std::{collections::VecDeque, fs::File, io, sync::Arc, time::Instant};

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use super::{
    Entry, LogId, Vote, WalError, WalMetrics,
    frame::{self, Builder, FRAME_HEADER_BYTES, Place},
    log::Location,
    preparer::Preparer,
    schema::Record,
    segment::{self, SEGMENT_HEADER_BYTES, Segment, SegmentHeader},
    state::State,
    store::Shared,
    tail::{Mark, TailFile},
};
use crate::raft::types::TypeConfig;

/// A frame is closed when it reaches this, and no more requests are taken into a group.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// What the frame buffer keeps between frames.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Makes written data durable: `File::sync_data`, or what a test puts in its place.
pub(super) type Sync = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

/// What is queued for the writer.
pub(super) enum Request {
    Append {
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
    },
    Vote {
        vote: Vote,
        done: oneshot::Sender<io::Result<()>>,
    },
    Truncate(Option<LogId>),
    Purge(LogId),
    /// Note how far the log is committed, if that is not written down yet.
    Committed,
    /// Write what is left, sync the tail file and end.
    Close {
        done: oneshot::Sender<io::Result<()>>,
    },
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next frame goes.
    pub(super) offset: u64,
    /// Greatest index among its entries.
    pub(super) last_index: Option<u64>,
}

/// The thread's own state.
pub(super) struct Writer {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: WalMetrics,
    pub(super) preparer: Preparer,
    pub(super) tail: Arc<TailFile>,
    pub(super) sync: Sync,
    pub(super) salt: u64,
    /// What the records written so far add up to.
    pub(super) state: State,
    pub(super) last: Option<Mark>,
    pub(super) active: Option<Active>,
    /// A prepared segment that is at hand; otherwise the preparer was asked for one.
    pub(super) next: Option<Segment>,
    /// Full segments, oldest first, with the greatest index among their entries.
    pub(super) sealed: VecDeque<(Arc<Segment>, Option<u64>)>,
    pub(super) frame: Builder,
    /// Entries of the frame in the making and where they will lie.
    pub(super) placed: Vec<(LogId, Location)>,
    /// A record's payload in the making.
    pub(super) payload: Vec<u8>,
    /// Held as long as the log is open.
    pub(super) lock: File,
}

impl Writer {
    /// Serves requests until the log is closed, every handle is gone, or writing fails. After a failure every
    /// further request fails: what the disk holds is not known any more, so nothing may follow it.
    pub(super) fn run(mut self) {
        loop {
            let (group, closing) = self.next_group();
            let result = self.write(&group, closing.is_some());
            if let Err(error) = &result {
                tracing::error!(%error, "the Raft log cannot be written any more");
                self.shared.fail(error.to_string());
            }
            self.answer(group);
            let Some(close) = closing else { continue };
            self.preparer.stop();
            drop(self.lock);
            if let Some(done) = close {
                // Whoever asked may have gone.
                let _ = done.send(self.shared.check());
            }
            return;
        }
    }

    /// Waits for a request and takes along all that are queued, up to a frame's worth. The second value is set when
    /// the log is to close.
    #[allow(clippy::type_complexity, reason = "who asked to close, if anybody did")]
    fn next_group(&mut self) -> (Vec<Request>, Option<Option<oneshot::Sender<io::Result<()>>>>) {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = self.requests.blocking_recv();
        loop {
            match next {
                None => return (group, Some(None)),
                Some(Request::Close { done }) => return (group, Some(Some(done))),
                Some(request) => {
                    self.metrics.queue_length.dec();
                    bytes += request.bytes();
                    group.push(request);
                }
            }
            if bytes >= FRAME_BYTES_MAX {
                return (group, None);
            }
            next = match self.requests.try_recv() {
                Ok(request) => Some(request),
                Err(mpsc::error::TryRecvError::Empty) => return (group, None),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
        }
    }

    /// Writes a group and syncs it.
    fn write(&mut self, group: &[Request], closing: bool) -> Result<(), WalError> {
        if self.shared.failure().is_some() {
            return Ok(());
        }
        for request in group {
            match request {
                Request::Append { entries, .. } => {
                    for entry in entries {
                        self.put(&Record::Entry(entry.clone()))?;
                    }
                }
                Request::Vote { vote, .. } => self.put(&Record::Vote(*vote))?,
                Request::Truncate(id) => self.put(&Record::Truncate(*id))?,
                Request::Purge(id) => self.put(&Record::Purge(*id))?,
                Request::Committed | Request::Close { .. } => {}
            }
        }
        self.put_committed()?;
        self.flush()?;
        self.reclaim();
        if closing { self.tail.sync() } else { Ok(()) }
    }

    /// Adds the committed id once the entries up to it are in the files; it costs no fsync of its own.
    fn put_committed(&mut self) -> Result<(), WalError> {
        let committed = self.shared.log().state.committed;
        let written = self.state.last_log_id().map(|id| id.index);
        match committed {
            Some(id) if committed != self.state.committed && Some(id.index) <= written => {
                self.put(&Record::Committed(id))
            }
            _ => Ok(()),
        }
    }

    /// Adds a record to the frame; closes the frame first when the record does not fit.
    fn put(&mut self, record: &Record) -> Result<(), WalError> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        let kind = record.encode(&mut payload);
        let bytes = frame::record_bytes(payload.len());
        if !self.frame.is_empty()
            && (self.frame.len() + bytes > FRAME_BYTES_MAX || !self.fits(self.frame.len() + bytes))
        {
            self.flush()?;
        }
        if self.frame.is_empty() {
            if self.fits(FRAME_HEADER_BYTES + bytes) {
                self.frame.begin(&[]);
            } else {
                self.roll(bytes)?;
            }
        }
        let (at, bytes) = self.frame.push(self.salt, kind, &payload);
        self.payload = payload;
        self.note(record, at, bytes)
    }

    /// Whether `bytes` more fit into the active segment.
    fn fits(&self, bytes: usize) -> bool {
        let room = |active: &Active| active.segment.size.saturating_sub(active.offset);
        self.active.as_ref().map_or(0, room) >= bytes as u64
    }

    /// Follows a record that went into the frame.
    fn note(&mut self, record: &Record, at: usize, bytes: usize) -> Result<(), WalError> {
        match record {
            Record::Entry(entry) => {
                if let Some(active) = &mut self.active {
                    active.last_index = active.last_index.max(Some(entry.log_id.index));
                    let offset = (active.offset + at as u64) as u32;
                    let segment = active.segment.number;
                    let location = Location { segment, offset, bytes: bytes as u32 };
                    self.placed.push((entry.log_id, location));
                }
                // The handle refused a gap already (`LogStore::append`).
                self.state
                    .append(entry.log_id)
                    .map_err(|gap| WalError::Options(gap.to_string()))?;
            }
            Record::Vote(vote) => self.state.vote = Some(*vote),
            Record::Committed(id) => self.state.committed = Some(*id),
            Record::Truncate(id) => self.state.truncate_after(*id),
            Record::Purge(id) => self.state.purge(*id),
            Record::State(_) => {}
        }
        Ok(())
    }

    /// Begins the next segment, with a frame whose first record is the state, and room for a record of `bytes`.
    fn roll(&mut self, bytes: usize) -> Result<(), WalError> {
        let number = self.active.as_ref().map_or(1, |active| active.segment.number + 1);
        let mut next = match self.next.take().map(Ok).or_else(|| self.preparer.prepared()) {
            Some(Ok(segment)) => segment,
            failed => {
                if let Some(Err(error)) = failed {
                    tracing::warn!(%error, "the Raft log's next segment was not prepared; making it now");
                }
                let segment =
                    segment::create(&self.shared.folder, number, self.shared.segment_bytes)?;
                self.metrics.disk_bytes.add(segment.size as i64);
                segment
            }
        };
        let mut state = Vec::new();
        let kind = Record::State(self.state.clone()).encode(&mut state);
        let needed =
            SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + frame::record_bytes(state.len()) + bytes;
        if next.size < needed as u64 {
            segment::prewrite(&next.file, next.size, needed as u64)
                .map_err(WalError::io("write zeros to", &next.path))?;
            self.metrics.disk_bytes.add((needed as u64 - next.size) as i64);
            next.size = needed as u64;
        }
        let header = SegmentHeader {
            segment: next.number,
            size: next.size,
            first_sequence: self.last.map_or(1, |last| last.sequence + 1),
            previous: self.last.map_or(0, |last| last.crc),
        };
        self.frame.begin(&header.encode(self.salt));
        self.frame.push(self.salt, kind, &state);
        let segment = Arc::new(next);
        self.shared.log().segments.insert(segment.number, Arc::clone(&segment));
        let active = Active { segment, offset: 0, last_index: None };
        if let Some(full) = self.active.replace(active) {
            self.sealed.push_back((full.segment, full.last_index));
        }
        Ok(())
    }

    /// Writes the frame, syncs it, marks it durable, and lets readers find its entries in the file.
    fn flush(&mut self) -> Result<(), WalError> {
        let Some(active) = self.active.as_mut().filter(|_| !self.frame.is_empty()) else {
            return Ok(());
        };
        let place = Place {
            segment: active.segment.number,
            sequence: self.last.map_or(1, |last| last.sequence + 1),
            previous: self.last.map_or(0, |last| last.crc),
        };
        let crc = self.frame.finish(self.salt, place);
        let Segment { path, file, .. } = &*active.segment;
        std::os::unix::fs::FileExt::write_all_at(file, self.frame.bytes(), active.offset)
            .map_err(WalError::io("write", path))?;
        let begun = Instant::now();
        (self.sync)(file).map_err(WalError::io("sync", path))?;
        self.metrics.fsync_seconds.observe(begun.elapsed().as_secs_f64());
        self.metrics.write_bytes.inc_by(self.frame.len() as u64);
        if !self.placed.is_empty() {
            self.metrics.batch_entries.observe(self.placed.len() as f64);
        }
        let first_of_segment = active.offset == 0;
        active.offset += self.frame.len() as u64;
        let mark =
            Mark { sequence: place.sequence, segment: place.segment, end: active.offset, crc };
        self.last = Some(mark);
        self.tail.mark(&mark)?;
        self.preparer.tail_changed();
        self.frame.clear(BUFFER_BYTES_KEPT);
        if first_of_segment {
            self.preparer.prepare(place.segment + 1);
            self.metrics.segments.set(self.sealed.len() as i64 + 1);
        }
        let mut log = self.shared.log();
        for (id, location) in self.placed.drain(..) {
            log.locate(id, location);
        }
        log.evict(self.shared.cache_bytes);
        Ok(())
    }

    /// Gives away full segments whose entries are all purged, once the purge itself is durable.
    fn reclaim(&mut self) {
        let purged = self.state.purged.map(|id| id.index);
        while self.sealed.front().is_some_and(|(_, last)| *last <= purged) {
            let Some((segment, _)) = self.sealed.pop_front() else { break };
            self.shared.log().segments.remove(&segment.number);
            if let Err(segment) = self.preparer.reclaim(segment) {
                self.sealed.push_front((segment, None));
                break;
            }
        }
        self.metrics.segments.set(self.sealed.len() as i64 + i64::from(self.active.is_some()));
    }

    /// Tells everybody, in order.
    fn answer(&self, group: Vec<Request>) {
        let failure = self.shared.failure();
        let result = || failure.map_or(Ok(()), |what| Err(io::Error::other(what)));
        for request in group {
            match request {
                Request::Append { done, .. } => done.io_completed(result()),
                Request::Vote { vote, done } => {
                    if failure.is_none() {
                        self.shared.log().state.vote = Some(vote);
                    }
                    // Nobody waits any more: the vote is kept all the same.
                    let _ = done.send(result());
                }
                Request::Truncate(_)
                | Request::Purge(_)
                | Request::Committed
                | Request::Close { .. } => {}
            }
        }
    }
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Request::Append { entries, .. } => entries.iter().map(super::log::cost).sum(),
            _ => super::log::ENTRY_BYTES,
        }
    }
}
