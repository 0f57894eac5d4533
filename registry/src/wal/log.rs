//! The log in memory: what openraft reads. It runs ahead of the files by what is queued, and holds for each entry
//! where it lies and, for the newest ones, the entry itself.
//!
//! Worked example, entries 4 to 7, purged up to 3, cache full after 6 and 7, and 7 not yet written:
//!
//! ```text
//! state.first_index 4, state.last 7, cached_from 6
//! slots   4 {at: segment 1, 0x40} 5 {at: segment 1, 0x90} 6 {at: segment 2, 0x40, entry} 7 {entry}
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
    sync::Arc,
};

use openraft::EntryPayload;

use super::{
    Entry, LogId,
    segment::Segment,
    state::{Gap, State},
};
use crate::raft::types::Encoded;

/// What an entry costs in memory besides its command.
pub(super) const ENTRY_BYTES: usize = 96;

/// Where an entry's record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) bytes: u32,
}

#[derive(Debug)]
struct Slot {
    id: LogId,
    at: Option<Location>,
    entry: Option<Entry>,
}

/// An entry to read.
#[derive(Debug)]
pub(super) enum Source {
    /// It is in memory.
    Cached(Entry),
    /// It is in a file.
    Stored(LogId, Location),
}

/// The log as it will be when all that is queued is written.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) state: State,
    /// The files that locations point into.
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    slots: VecDeque<Slot>,
    /// Entries from this index on are in memory.
    cached_from: u64,
    cached_bytes: usize,
}

impl Log {
    /// A log whose entries, if any, are not known (yet): what a segment's first record says.
    pub(super) fn new(state: State) -> Log {
        Log { state, ..Log::default() }
    }

    /// Adds an entry that is not in a file yet.
    pub(super) fn append(&mut self, entry: Entry, cache_bytes: usize) -> Result<(), Gap> {
        self.push(Slot { id: entry.log_id, at: None, entry: None })?;
        self.cached_bytes += cost(&entry);
        if let Some(slot) = self.slots.back_mut() {
            slot.entry = Some(entry);
        }
        self.evict(cache_bytes);
        Ok(())
    }

    /// Adds an entry that lies in a file.
    pub(super) fn append_stored(&mut self, id: LogId, at: Location) -> Result<(), Gap> {
        self.push(Slot { id, at: Some(at), entry: None })?;
        self.cached_from = id.index + 1;
        Ok(())
    }

    fn push(&mut self, slot: Slot) -> Result<(), Gap> {
        let index = slot.id.index;
        self.state.append(slot.id)?;
        if self.slots.is_empty() {
            self.cached_from = index;
        }
        self.slots.push_back(slot);
        Ok(())
    }

    pub(super) fn truncate_after(&mut self, id: Option<LogId>) {
        self.state.truncate_after(id);
        let next = self.state.last.map_or(0, |last| last.index + 1);
        while self.slots.back().is_some_and(|slot| slot.id.index >= next) {
            let slot = self.slots.pop_back();
            self.uncache(slot);
        }
        self.cached_from = self.cached_from.min(next);
    }

    pub(super) fn purge(&mut self, id: LogId) {
        self.state.purge(id);
        while self.slots.front().is_some_and(|slot| slot.id.index <= id.index) {
            let slot = self.slots.pop_front();
            self.uncache(slot);
        }
    }

    /// Notes where an entry was written, unless it was replaced or dropped meanwhile.
    pub(super) fn locate(&mut self, id: LogId, at: Location) {
        if let Some(slot) = self.position(id.index).and_then(|i| self.slots.get_mut(i))
            && slot.id == id
        {
            slot.at = Some(at);
        }
    }

    /// Drops the oldest entries that can be read from a file, until the rest fits.
    pub(super) fn evict(&mut self, cache_bytes: usize) {
        let first = self.slots.front().map_or(0, |slot| slot.id.index);
        self.cached_from = self.cached_from.max(first);
        while self.cached_bytes > cache_bytes
            && let Some(slot) = self.position(self.cached_from).and_then(|i| self.slots.get_mut(i))
            && slot.at.is_some()
        {
            self.cached_bytes -= slot.entry.take().as_ref().map_or(0, cost);
            self.cached_from += 1;
        }
    }

    /// Entries that the state names and no segment held.
    pub(super) fn missing(&self) -> Option<RangeInclusive<u64>> {
        let last = self.state.last?.index;
        let known = self.slots.front().map_or(last + 1, |slot| slot.id.index);
        (self.state.first_index < known).then(|| self.state.first_index..=known - 1)
    }

    /// The entries from `start` to before `end`, until they come to more than `bytes_max` (one is always there).
    pub(super) fn sources(&self, start: u64, end: u64, bytes_max: usize) -> Vec<Source> {
        let first = self.slots.front().map_or(0, |slot| slot.id.index);
        let skip = start.saturating_sub(first) as usize;
        let mut bytes = 0;
        self.slots
            .iter()
            .skip(skip)
            .take_while(|slot| slot.id.index < end)
            .map_while(|slot| match (&slot.entry, slot.at) {
                (Some(entry), _) => Some((cost(entry), Source::Cached(entry.clone()))),
                (None, Some(at)) => Some((at.bytes as usize, Source::Stored(slot.id, at))),
                (None, None) => None, // never: an entry leaves the memory only after it got a location
            })
            .take_while(|(cost, _)| {
                let first = bytes == 0;
                bytes += cost;
                first || bytes <= bytes_max
            })
            .map(|(_, source)| source)
            .collect()
    }

    fn position(&self, index: u64) -> Option<usize> {
        let first = self.slots.front()?.id.index;
        index.checked_sub(first).map(|i| i as usize)
    }

    fn uncache(&mut self, slot: Option<Slot>) {
        let entry = slot.and_then(|slot| slot.entry);
        self.cached_bytes -= entry.as_ref().map_or(0, cost);
    }
}

/// Bytes an entry takes in memory, roughly.
pub(super) fn cost(entry: &Entry) -> usize {
    ENTRY_BYTES
        + match &entry.payload {
            EntryPayload::Normal(Encoded(command)) => command.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}
