//! What the files say: reads them all, changes none.
//!
//! Where the frames of the last segment end is decided so. At the first place where no whole frame with the next
//! sequence number stands, the log ends, *unless* something proves that more was acknowledged: the tail file's mark, a
//! frame with a higher number further on, or a later segment that is in use. Then the place is damage. A place that
//! nothing contradicts is the clean end, or the one frame that a crash tore before anybody was told of it.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use super::{
    WalError,
    frame::{self, FRAME_HEADER_BYTES, Header, Place},
    log::{Location, Log},
    schema::{FORMAT_VERSION, Record},
    segment::{self, Beginning, SEGMENT_HEADER_BYTES, SegmentHeader},
    tail::{Mark, Tail},
};

/// A segment that holds frames.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// Greatest index among its entries.
    pub(super) last_index: Option<u64>,
    /// Offset of the first byte after its last frame.
    pub(super) end: u64,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) log: Log,
    /// In order; the last one is being written to. Empty in a new log.
    pub(super) used: VecDeque<Used>,
    /// Segments that are prepared and not in use.
    pub(super) blank: VecDeque<(u64, PathBuf)>,
    /// The one of them that a crash tore while it was begun.
    pub(super) begun: Option<u64>,
    /// The last whole frame.
    pub(super) last: Option<Mark>,
    /// A frame that a crash tore: file and offset. It is overwritten by the next one.
    pub(super) torn: Option<(PathBuf, u64)>,
}

/// Reads the segments of the log whose tail file says `tail`.
///
/// # Errors
/// Any damage, with file and offset; files that cannot be read.
pub(super) fn scan(folder: &Path, tail: &Tail) -> Result<Recovered, WalError> {
    let mut scan = Scan { tail, recovered: Recovered::default(), doubtful: None };
    let mut expected = None;
    for (number, path) in segment::list(folder)? {
        if expected.is_some_and(|expected| expected != number) {
            return Err(WalError::corrupt(&path, 0, "the segment before this one is missing"));
        }
        expected = Some(number + 1);
        let bytes = fs::read(&path).map_err(WalError::io("read", &path))?;
        scan.segment(number, &path, &bytes)?;
    }
    scan.finish(folder)
}

struct Scan<'a> {
    tail: &'a Tail,
    recovered: Recovered,
    /// A segment whose beginning is damaged: it must turn out never to have been in use.
    doubtful: Option<PathBuf>,
}

impl Scan<'_> {
    fn segment(&mut self, number: u64, path: &Path, bytes: &[u8]) -> Result<(), WalError> {
        match SegmentHeader::decode(self.tail.salt, bytes) {
            Beginning::Header(header) if header.segment == number => {
                self.used(path, &header, bytes)
            }
            Beginning::Header(header) if header.segment > number => Err(WalError::corrupt(
                path,
                24,
                format!("this is segment {}, renamed", header.segment),
            )),
            Beginning::Blank | Beginning::Header(_) => self.blank(number, path, bytes),
            Beginning::Version(found) => {
                Err(WalError::Version { path: path.to_owned(), found, supported: FORMAT_VERSION })
            }
            Beginning::Damaged => {
                self.doubtful.get_or_insert_with(|| path.to_owned());
                self.blank(number, path, bytes)
            }
        }
    }

    /// A segment that is not in use must not hold a frame.
    fn blank(&mut self, number: u64, path: &Path, bytes: &[u8]) -> Result<(), WalError> {
        if let Some(at) = frame::find(self.tail.salt, bytes, 0, number, 0) {
            let what = format!("the segment's header is lost, but a frame stands at byte {at}");
            return Err(WalError::corrupt(path, 0, what));
        }
        self.recovered.blank.push_back((number, path.to_owned()));
        Ok(())
    }

    fn used(&mut self, path: &Path, header: &SegmentHeader, bytes: &[u8]) -> Result<(), WalError> {
        if let Some((_, blank)) = self.recovered.blank.front() {
            return Err(WalError::corrupt(
                blank,
                0,
                "the segment is empty, but the next one is in use",
            ));
        }
        let next = self.recovered.last.map_or(header.first_sequence, |last| last.sequence + 1);
        let previous = self.recovered.last.map_or(header.previous, |last| last.crc);
        if let Some(before) = self.recovered.used.back()
            && (header.first_sequence, header.previous) != (next, previous)
        {
            let what = format!(
                "frame {next} should stand here; segment {} continues with frame {}",
                header.segment, header.first_sequence
            );
            return Err(WalError::corrupt(&before.path, before.end, what));
        }
        self.recovered.used.push_back(Used {
            number: header.segment,
            path: path.to_owned(),
            size: header.size,
            last_index: None,
            end: SEGMENT_HEADER_BYTES as u64,
        });
        let place = Place { segment: header.segment, sequence: next, previous };
        self.frames(path, bytes, place)
    }

    /// Reads frames until there is none at the place where the next should be.
    fn frames(&mut self, path: &Path, bytes: &[u8], mut place: Place) -> Result<(), WalError> {
        let salt = self.tail.salt;
        let mut at = SEGMENT_HEADER_BYTES;
        self.recovered.torn = None;
        while let Some(header) = bytes.get(at..).and_then(|rest| Header::parse(salt, rest)) {
            if header.place.segment < place.segment {
                break; // left over from an earlier life of the file
            }
            if header.place != place {
                let what = format!("frame {:?} stands where {place:?} should", header.place);
                return Err(WalError::corrupt(path, at as u64, what));
            }
            let Some(body) = header.body(salt, &bytes[at..]) else {
                self.recovered.torn = Some((path.to_owned(), at as u64));
                break;
            };
            self.records(path, at + FRAME_HEADER_BYTES, &header, body)?;
            at += header.frame_bytes();
            let mark = Mark {
                sequence: place.sequence,
                segment: place.segment,
                end: at as u64,
                crc: header.crc,
            };
            if self.tail.mark.is_some_and(|tail| tail.sequence == mark.sequence && tail != mark) {
                let what = format!("the tail file knows another frame {}", mark.sequence);
                return Err(WalError::corrupt(path, at as u64, what));
            }
            self.recovered.last = Some(mark);
            place = Place { sequence: place.sequence + 1, previous: header.crc, ..place };
            if let Some(used) = self.recovered.used.back_mut() {
                used.end = at as u64;
            }
        }
        match frame::find(salt, bytes, at + 1, place.segment, place.sequence) {
            Some(later) => {
                let what = format!(
                    "frame {} should stand here and is not whole; a later one at byte {later} proves it was written",
                    place.sequence
                );
                Err(WalError::corrupt(path, at as u64, what))
            }
            None => Ok(()),
        }
    }

    /// Replays the records of a frame whose body begins at `start` of the file.
    fn records(
        &mut self,
        path: &Path,
        start: usize,
        header: &Header,
        body: &[u8],
    ) -> Result<(), WalError> {
        let salt = self.tail.salt;
        let damage = |at: usize, what: String| WalError::corrupt(path, (start + at) as u64, what);
        let mut at = 0;
        let stored = header.records(salt, body).map_err(|(at, what)| damage(at, what))?;
        for (number, stored) in stored.into_iter().enumerate() {
            let record =
                Record::decode(stored.kind, stored.payload).map_err(|what| damage(at, what))?;
            let begins = start == SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES && number == 0;
            let location = Location {
                segment: header.place.segment,
                offset: (start + at) as u32,
                bytes: stored.bytes as u32,
            };
            self.replay(record, begins, location).map_err(|what| damage(at, what))?;
            at += stored.bytes;
        }
        Ok(())
    }

    /// Applies one record; the state record exactly at the beginning of a segment.
    fn replay(&mut self, record: Record, begins: bool, at: Location) -> Result<(), String> {
        let first_segment = self.recovered.used.len() == 1;
        let log = &mut self.recovered.log;
        match record {
            Record::State(state) if begins && first_segment => *log = Log::new(state),
            Record::State(state) if begins && log.state == state => {}
            Record::State(_) => {
                return Err("the state is not what the records before it say".into());
            }
            _ if begins => return Err("the segment does not begin with the state".into()),
            Record::Vote(vote) => log.state.vote = Some(vote),
            Record::Committed(id) => log.state.committed = Some(id),
            Record::Truncate(id) => log.truncate_after(id),
            Record::Purge(id) => log.purge(id),
            Record::Entry(entry) => {
                log.append_stored(entry.log_id, at).map_err(|gap| gap.to_string())?;
                if let Some(used) = self.recovered.used.back_mut() {
                    used.last_index = used.last_index.max(Some(entry.log_id.index));
                }
            }
        }
        Ok(())
    }

    /// Everything that was ever acknowledged must have been found.
    fn finish(mut self, folder: &Path) -> Result<Recovered, WalError> {
        let found = self.recovered.last.map_or(0, |last| last.sequence);
        if let Some(mark) = self.tail.mark.filter(|mark| mark.sequence > found) {
            let (path, at) = match (self.doubtful, self.recovered.used.back()) {
                (Some(path), _) => (path, 0),
                (None, Some(used)) if used.number == mark.segment => (used.path.clone(), used.end),
                (None, _) => (segment::path(folder, mark.segment), 0),
            };
            let what = format!(
                "the log was acknowledged up to frame {} (segment {}, byte {}), but is whole only up to frame {found}",
                mark.sequence, mark.segment, mark.end
            );
            return Err(WalError::corrupt(&path, at, what));
        }
        if let (Some(missing), Some(first)) =
            (self.recovered.log.missing(), self.recovered.used.front())
        {
            let what = format!(
                "entries {} to {} are missing: the segments before this one are gone",
                missing.start(),
                missing.end()
            );
            return Err(WalError::corrupt(&first.path, 0, what));
        }
        if let Some(path) = self.doubtful.take() {
            self.recovered.torn.get_or_insert((path, 0));
        }
        self.forget_header_alone();
        Ok(self.recovered)
    }
    /// A crash may leave the header of a new segment without its first frame, which would have held the state. Such
    /// a segment was never in use: the writer begins it again, header and all.
    fn forget_header_alone(&mut self) {
        let alone = |used: &mut Used| used.end == SEGMENT_HEADER_BYTES as u64;
        if let Some(used) = self.recovered.used.pop_back_if(alone) {
            self.recovered.begun = Some(used.number);
            self.recovered.blank.push_front((used.number, used.path));
        }
    }
}
