//! A view as a backup, piece by piece.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{BLOCK_BYTES, head::Head};
use crate::{
    mvcc::ViewError,
    store::{SnapshotReader, StoreView},
};

/// Who takes the backup, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
    pub(crate) taken_ms: i64,
}

enum Next {
    Head(Box<[u8; BLOCK_BYTES]>),
    Frame,
    Checksum,
    Nothing,
}

/// Turns a view into a backup.
pub(crate) struct BackupWriter {
    frames: SnapshotReader,
    hash: Sha256,
    length: u64,
    next: Next,
}

impl BackupWriter {
    pub(crate) fn new(view: StoreView, origin: Origin) -> Self {
        let applied = view.applied();
        let head = Head {
            cluster: origin.cluster,
            member: origin.member,
            revision: applied.revision,
            compact_revision: applied.compact_revision,
            index: applied.index,
            term: applied.term,
            taken_ms: origin.taken_ms,
        };
        let next = Next::Head(Box::new(head.encode()));
        Self { frames: SnapshotReader::new(view), hash: Sha256::new(), length: 0, next }
    }

    /// Whether the checksum was given out: nothing follows.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    /// The next piece; none behind the checksum.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Bytes>, ViewError> {
        let piece = match std::mem::replace(&mut self.next, Next::Frame) {
            Next::Head(block) => Bytes::copy_from_slice(&block[..]),
            Next::Frame => match self.frames.next_frame()? {
                Some(frame) => frame,
                None => {
                    self.next = Next::Checksum;
                    Bytes::from(vec![0; padding(self.length)])
                }
            },
            Next::Checksum => {
                self.next = Next::Nothing;
                return Ok(Some(Bytes::copy_from_slice(&self.hash.clone().finalize())));
            }
            Next::Nothing => {
                self.next = Next::Nothing;
                return Ok(None);
            }
        };
        self.hash.update(&piece);
        self.length += piece.len() as u64;
        Ok(Some(piece))
    }
}

/// Zeros up to the next whole block.
pub(super) fn padding(length: u64) -> usize {
    let over = (length % BLOCK_BYTES as u64) as usize;
    (BLOCK_BYTES - over) % BLOCK_BYTES
}
