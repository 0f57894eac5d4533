//! The Raft log: a segmented, checksummed, prewritten write-ahead log behind openraft's log traits.
//!
//! It keeps what Raft must not forget (entries, vote, committed and purged ids) and promises two things: what was
//! acknowledged is still there when the log opens again, or opening fails loudly and names file and offset; and
//! nothing is acknowledged before `fdatasync` returned.
//!
//! One thread writes. All that is queued when it wakes becomes one **frame**: one write, one `fdatasync`, then every
//! callback. The next frame is written only after that, so a crash can tear the last frame and no other. Files:
//!
//! ```text
//! tail                      the salt of this log, and how far it is known to be durable (two slots, see `tail`)
//! 0000000000000001.wal      segment 1: header, frame 1, frame 2, … zeros
//! 0000000000000002.wal      segment 2: header, frame 3 (which begins with the state so far), …
//! 0000000000000003.wal      prepared ahead: zeros, or what a recycled segment held
//! lock, spare               held while open; a purged segment waiting to be used again
//! ```
//!
//! What a flipped byte does (see `recovery`): in any frame but the last, a later frame proves that it was durable, so it
//! is damage. In the last frame the `tail` file proves it. That file is written after each `fdatasync` without one
//! of its own (the idle log syncs it within a second): after a **power failure** it may be older than the last frame,
//! and then, only then, a last frame that is damaged as well cannot be told from a torn one and is cut.
//!
//! It may not interpret commands, know other nodes, or take part in decisions of Raft.

mod error;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod log;
mod metrics;
mod preparer;
mod read;
mod recovery;
mod schema;
mod segment;
mod state;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use openraft::alias::{EntryOf, LogIdOf, VoteOf};

pub(crate) use error::WalError;
pub(crate) use metrics::WalMetrics;
pub(crate) use store::LogStore;

use crate::raft::types::TypeConfig;

type Entry = EntryOf<TypeConfig>;
type LogId = LogIdOf<TypeConfig>;
type Vote = VoteOf<TypeConfig>;

/// Smallest segment: room for its header, the state that every segment begins with, and an entry.
const SEGMENT_BYTES_MIN: u64 = 1 << 10;
/// Largest segment: offsets within it fit 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// How the log is kept.
#[derive(Debug, Clone)]
pub(crate) struct WalOptions {
    /// Size of a segment file, 1 KiB to 1 GiB. A change takes effect with the next segment. An entry that does not
    /// fit gets a larger segment of its own.
    pub(crate) segment_bytes: u64,
    /// Most requests (appends, votes, truncations, purges) that wait for the writer; further ones wait to enter.
    pub(crate) queue_max: usize,
    /// Newest entries kept in memory; older ones are read back from the files.
    pub(crate) cache_bytes: usize,
    /// Seeds every checksum of a log that is created now, so that no client can forge a frame inside a value:
    /// any random number. An existing log keeps its own.
    pub(crate) salt: u64,
}

impl WalOptions {
    /// The defaults: segments of 64 MiB, 4,096 requests queued, 16 MiB of entries in memory: seconds of what a follower may be
    /// behind at the highest rates. One that is further behind reads files, which the page cache mostly has.
    pub(crate) fn new(salt: u64) -> Self {
        WalOptions { segment_bytes: 64 << 20, queue_max: 4096, cache_bytes: 16 << 20, salt }
    }

    fn validate(&self) -> Result<(), WalError> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(WalError::Options(format!(
                "segment_bytes is {}; it must lie between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX}",
                self.segment_bytes
            )));
        }
        if self.queue_max == 0 {
            return Err(WalError::Options("queue_max is 0; it must be at least 1".into()));
        }
        Ok(())
    }
}
