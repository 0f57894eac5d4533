//! What waits for a receiver, on disk: requests as they will be sent, in files, oldest first. Survives a restart, and a
//! kill; bounded, the oldest file goes first.
//!
//! ```text
//! 00000000000000000003.seg │ header body │ header body │ …
//!                            header: length u32, CRC-32C u32 of the rest │ made ms i64, samples u32, shard u16, shards u16
//! position                 │ segment u64, offset u64, CRC-32C u32: everything before is done
//! ```
//! Little endian. What is done beyond the position is sent again after a restart: the same request, so that a receiver
//! that has it already loses nothing by refusing it.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// A file that is larger is not written to any more.
const SEGMENT_BYTES_MAX: u64 = 4 << 20;
/// Largest request.
const BODY_BYTES_MAX: usize = 32 << 20;
const HEADER_BYTES: usize = 24;

/// Where a record begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    segment: u64,
    offset: u64,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub(super) made_ms: i64,
    /// Samples in it.
    pub(super) samples: u32,
    /// Requests of one shard are sent one after the other.
    pub(super) shard: u16,
    /// How many shards there were.
    pub(super) shards: u16,
    pub(super) body: Vec<u8>,
}

/// A record and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) next: Position,
    pub(super) record: Record,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Samples in it that are not done.
    samples: u64,
}

/// The files of one receiver.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// The last segment, if it is still written to.
    writer: Option<File>,
    position: Position,
    saved: File,
    next_number: u64,
}

impl Spool {
    /// Opens the files in `dir`, made if need be. What a crash left half written is cut off.
    pub(super) fn open(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let path = dir.join("position");
        let mut options = OpenOptions::new();
        let saved = options.create(true).truncate(false).read(true).write(true).open(path)?;
        let mut spool = Self {
            dir: dir.to_owned(),
            bytes_max,
            segments: VecDeque::new(),
            writer: None,
            position: read_position(&saved).unwrap_or_default(),
            saved,
            next_number: numbers.last().map_or(1, |last| last + 1),
        };
        // A position beyond all files was saved before the last of them was removed.
        spool.next_number = spool.next_number.max(spool.position.segment + 1);
        for number in numbers {
            if number < spool.position.segment {
                fs::remove_file(spool.path(number))?;
                continue;
            }
            let segment = spool.scan(number)?;
            spool.segments.push_back(segment);
        }
        spool.trim()?;
        Ok(spool)
    }

    /// Adds a record; answers with how many samples had to go for it.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<u64> {
        if record.body.len() > BODY_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the request is too large"));
        }
        if self.segments.back().is_none_or(|last| last.bytes >= SEGMENT_BYTES_MAX) {
            self.writer = None;
        }
        let bytes = encode(record);
        let file = match self.writer.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        // After a failed write nobody knows what the file ends with: the next record begins another.
        (&file).write_all(&bytes)?;
        file.sync_data()?;
        self.writer = Some(file);
        if let Some(last) = self.segments.back_mut() {
            last.bytes += bytes.len() as u64;
            last.samples += u64::from(record.samples);
        }
        self.bound()
    }

    /// The record at a place, or the next there is; none at the end. What is damaged is passed over.
    pub(super) fn read(&self, from: Position) -> io::Result<Option<Entry>> {
        let from = from.max(self.position);
        for segment in self.segments.iter().filter(|s| s.number >= from.segment) {
            let offset = if segment.number == from.segment { from.offset } else { 0 };
            let at = Position { segment: segment.number, offset };
            let mut file = File::open(self.path(segment.number))?;
            file.seek(SeekFrom::Start(offset))?;
            // Beyond it something may be half written.
            let mut limited = file.take(segment.bytes.saturating_sub(offset));
            if let Some(record) = read_record(&mut limited)? {
                let bytes = (HEADER_BYTES + record.body.len()) as u64;
                let next = Position { offset: offset + bytes, ..at };
                return Ok(Some(Entry { at, next, record }));
            }
        }
        Ok(None)
    }

    /// All before `next` is done; `samples` of them were in the segment that it ends in.
    pub(super) fn done(&mut self, next: Position, samples: u32) -> io::Result<()> {
        if let Some(segment) = self.segments.iter_mut().find(|s| s.number == next.segment) {
            segment.samples = segment.samples.saturating_sub(u64::from(samples));
        }
        if next > self.position {
            self.position = next;
            self.save()?;
        }
        self.trim()
    }

    /// Samples that are not done.
    pub(super) fn samples(&self) -> u64 {
        self.segments.iter().map(|segment| segment.samples).sum()
    }

    /// Size on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Where the first record that is not done begins.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    fn begin(&mut self) -> io::Result<File> {
        let number = self.next_number;
        let file = OpenOptions::new().create_new(true).append(true).open(self.path(number))?;
        self.next_number += 1;
        self.segments.push_back(Segment { number, bytes: 0, samples: 0 });
        Ok(file)
    }

    /// Lets go of the oldest files until the rest is small enough.
    fn bound(&mut self) -> io::Result<u64> {
        let mut lost = 0;
        while self.bytes() > self.bytes_max && self.segments.len() > 1 {
            let Some(oldest) = self.segments.pop_front() else { break };
            fs::remove_file(self.path(oldest.number))?;
            lost += oldest.samples;
            let first = Position { segment: oldest.number + 1, offset: 0 };
            if first > self.position {
                self.position = first;
                self.save()?;
            }
        }
        Ok(lost)
    }

    /// Removes files that are done.
    fn trim(&mut self) -> io::Result<()> {
        while let Some(first) = self.segments.front() {
            let is_last = self.segments.len() == 1;
            let here = first.number == self.position.segment;
            let is_done = first.number < self.position.segment
                || here && self.position.offset >= first.bytes && first.bytes > 0;
            // The one that is written to stays until it is full.
            if !is_done || is_last && first.bytes < SEGMENT_BYTES_MAX && self.writer.is_some() {
                break;
            }
            fs::remove_file(self.path(first.number))?;
            if is_last {
                self.writer = None;
            }
            self.segments.pop_front();
        }
        Ok(())
    }

    fn save(&self) -> io::Result<()> {
        let Position { segment, offset } = self.position;
        let mut bytes = [segment.to_le_bytes(), offset.to_le_bytes()].concat();
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        self.saved.write_all_at(&bytes, 0)
    }

    /// Counts what a file holds, and cuts off what is not whole.
    fn scan(&self, number: u64) -> io::Result<Segment> {
        let mut file = OpenOptions::new().read(true).write(true).open(self.path(number))?;
        let (mut bytes, mut samples) = (0, 0);
        while let Some(record) = read_record(&mut file)? {
            let here = Position { segment: number, offset: bytes };
            bytes += (HEADER_BYTES + record.body.len()) as u64;
            samples += if here >= self.position { u64::from(record.samples) } else { 0 };
        }
        if file.metadata()?.len() > bytes {
            file.set_len(bytes)?;
        }
        Ok(Segment { number, bytes, samples })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}.seg"))
    }
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + record.body.len());
    let length = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(record.made_ms.to_le_bytes());
    bytes.extend(record.samples.to_le_bytes());
    bytes.extend(record.shard.to_le_bytes());
    bytes.extend(record.shards.to_le_bytes());
    bytes.extend(&record.body);
    let sum = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The record that is next; none at the end, and when what follows is damaged or not whole.
fn read_record(file: &mut impl Read) -> io::Result<Option<Record>> {
    let mut header = [0; HEADER_BYTES];
    if !fill(file, &mut header)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(part(&header, 0)) as usize;
    if length > BODY_BYTES_MAX {
        return Ok(None);
    }
    let mut body = vec![0; length];
    if !fill(file, &mut body)? {
        return Ok(None);
    }
    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[8..]), &body);
    let shards = u16::from_le_bytes(part(&header, 22));
    let shard = u16::from_le_bytes(part(&header, 20));
    if sum != u32::from_le_bytes(part(&header, 4)) || shard >= shards {
        return Ok(None);
    }
    Ok(Some(Record {
        made_ms: i64::from_le_bytes(part(&header, 8)),
        samples: u32::from_le_bytes(part(&header, 16)),
        shard,
        shards,
        body,
    }))
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_position(file: &File) -> Option<Position> {
    let mut bytes = [0; 20];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let sum = u32::from_le_bytes(part(&bytes, 16));
    let position = Position {
        segment: u64::from_le_bytes(part(&bytes, 0)),
        offset: u64::from_le_bytes(part(&bytes, 8)),
    };
    (crc32c::crc32c(&bytes[..16]) == sum).then_some(position)
}

#[cfg(test)]
mod tests;
