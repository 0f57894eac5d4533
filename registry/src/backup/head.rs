//! The first block of a backup.

use bytes::{Buf, BufMut};

use super::BLOCK_BYTES;

const MAGIC: &[u8; 8] = b"WKBACKUP";
/// The only format there is.
const FORMAT: u32 = 1;
/// What stands before the bytes that the checksum covers.
const UNCOVERED: usize = 16;

/// Where and when a backup was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) cluster: u64,
    pub(super) member: u64,
    pub(super) revision: i64,
    pub(super) compact_revision: i64,
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) taken_ms: i64,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let mut rest = &mut block[UNCOVERED..];
        rest.put_u64(self.cluster);
        rest.put_u64(self.member);
        rest.put_i64(self.revision);
        rest.put_i64(self.compact_revision);
        rest.put_u64(self.index);
        rest.put_u64(self.term);
        rest.put_i64(self.taken_ms);
        let checksum = crc32c::crc32c(&block[UNCOVERED..]);
        let mut start = &mut block[..UNCOVERED];
        start.put_slice(MAGIC);
        start.put_u32(FORMAT);
        start.put_u32(checksum);
        block
    }

    /// The head, or what is wrong and where in the block.
    pub(super) fn decode(block: &[u8; BLOCK_BYTES]) -> Result<Self, (u64, &'static str)> {
        let mut start = &block[..UNCOVERED];
        if start.split_to_magic() != MAGIC {
            return Err((0, "this is not a backup of Watchkeep"));
        }
        if start.get_u32() != FORMAT {
            return Err((8, "its format is another version's"));
        }
        if start.get_u32() != crc32c::crc32c(&block[UNCOVERED..]) {
            return Err((12, "the head's checksum does not fit"));
        }
        let mut rest = &block[UNCOVERED..];
        Ok(Self {
            cluster: rest.get_u64(),
            member: rest.get_u64(),
            revision: rest.get_i64(),
            compact_revision: rest.get_i64(),
            index: rest.get_u64(),
            term: rest.get_u64(),
            taken_ms: rest.get_i64(),
        })
    }
}

/// Takes the first eight bytes.
trait SplitMagic<'a> {
    fn split_to_magic(&mut self) -> &'a [u8];
}

impl<'a> SplitMagic<'a> for &'a [u8] {
    fn split_to_magic(&mut self) -> &'a [u8] {
        let (magic, rest) = self.split_at(MAGIC.len());
        *self = rest;
        magic
    }
}
