//! Hashes of what clients can see, for members to compare. Equal on all members that have applied up to the revision,
//! however far each one's compaction is: what it may forget is not in them.
//!
//! ```text
//! HashKV at r, compacted at c    every key as of c, every change in c+1 … r, every version that one of them ended, and
//!                                every key as of r
//! keys (corruption check)        every key of a range as of r
//! changes (corruption check)     every change in a+1 … r: which key, and whether it was deleted
//! ```

use bytes::Bytes;

use super::{
    events::changes,
    keys::{Bounds, ended_at},
    range::at_revision,
    view::{APPLIED, Table, View, ViewError},
};
use crate::schema::{Change, KeyValue};

/// How much one step may read; it ends behind the key or the revision that reaches one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Limits {
    pub(crate) const NONE: Self = Self { rows: u64::MAX, bytes: u64::MAX };
}

/// The hash of a range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) hash: u32,
    /// Where to go on; none at the end.
    pub(crate) next: Option<Bytes>,
}

/// The hash of a range of revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) hash: u32,
    /// The last revision that is in it.
    pub(crate) upto: i64,
}

/// CRC-32C over fields, each with its length or of fixed size.
#[derive(Debug, Default)]
struct Hasher {
    crc: u32,
    rows: u64,
    bytes: u64,
}

impl Hasher {
    fn raw(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes += bytes.len() as u64;
    }

    fn part(&mut self, bytes: &[u8]) {
        self.raw(&(bytes.len() as u64).to_be_bytes());
        self.raw(bytes);
    }

    fn row(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.part(key);
        self.part(value);
    }

    fn kv(&mut self, kv: &KeyValue) {
        self.row(&kv.key, &kv.value);
        for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
            self.raw(&number.to_be_bytes());
        }
    }

    fn change(&mut self, revision: i64, change: &Change) {
        self.row(&change.key, &[u8::from(change.deleted)]);
        self.raw(&revision.to_be_bytes());
        if let Some(kv) = &change.kv {
            self.kv(kv);
        }
    }

    fn is_over(&self, limits: Limits) -> bool {
        self.rows >= limits.rows || self.bytes >= limits.bytes
    }
}

/// `HashKV`: everything that can be read or watched at `revision` in a store compacted at `compacted`, which is not
/// above it.
pub(crate) fn hash_kv(view: &impl View, revision: i64, compacted: i64) -> Result<u32, ViewError> {
    let mut hasher = Hasher::default();
    kv_into(&mut hasher, view, revision, compacted)?;
    Ok(hasher.crc)
}

fn kv_into(
    hasher: &mut Hasher,
    view: &impl View,
    revision: i64,
    compacted: i64,
) -> Result<(), ViewError> {
    if compacted > 0 {
        keys_into(hasher, view, compacted)?;
    }
    changes_into(hasher, view, compacted, revision, Limits::NONE)?;
    for row in view.scan(Table::History, b"", None) {
        let (key, value) = row?;
        let ended =
            ended_at(&key).ok_or_else(|| ViewError::new(Table::History, "a key is too short"))?;
        if ended > compacted && ended <= revision {
            hasher.row(&key, &value);
        }
    }
    keys_into(hasher, view, revision)
}

/// Every key as of `revision`.
fn keys_into(hasher: &mut Hasher, view: &impl View, revision: i64) -> Result<(), ViewError> {
    for kv in at_revision(view, Bounds::new(b"", b"\0"), revision) {
        hasher.kv(&kv?);
    }
    Ok(())
}

/// `Hash`: all of [`hash_kv`], leases, and what else is known once; except how far the log is applied.
pub(crate) fn hash_all(view: &impl View, revision: i64, compacted: i64) -> Result<u32, ViewError> {
    let mut hasher = Hasher::default();
    kv_into(&mut hasher, view, revision, compacted)?;
    for table in [Table::Leases, Table::LeaseKeys, Table::Meta] {
        for row in view.scan(table, b"", None) {
            let (key, value) = row?;
            if (table, &key[..]) != (Table::Meta, APPLIED) {
                hasher.row(&key, &value);
            }
        }
    }
    Ok(hasher.crc)
}

/// The keys from `from` on and below `to` (none: to the end) as of `revision`, which is not compacted.
pub(crate) fn hash_keys(
    view: &impl View,
    from: &[u8],
    to: Option<&[u8]>,
    revision: i64,
    limits: Limits,
) -> Result<Keys, ViewError> {
    let bounds = Bounds::new(from, to.unwrap_or(b"\0"));
    let mut hasher = Hasher::default();
    for kv in at_revision(view, bounds, revision) {
        let kv = kv?;
        if hasher.is_over(limits) {
            return Ok(Keys { hash: hasher.crc, next: Some(kv.key) });
        }
        hasher.kv(&kv);
    }
    Ok(Keys { hash: hasher.crc, next: None })
}

/// The changes behind revision `after` up to `upto`; `after` is not below the compacted revision.
pub(crate) fn hash_events(
    view: &impl View,
    after: i64,
    upto: i64,
    limits: Limits,
) -> Result<Events, ViewError> {
    let mut hasher = Hasher::default();
    let upto = changes_into(&mut hasher, view, after, upto, limits)?;
    Ok(Events { hash: hasher.crc, upto })
}

/// Gives the last revision that it took in: a revision is never cut in two.
fn changes_into(
    hasher: &mut Hasher,
    view: &impl View,
    after: i64,
    upto: i64,
    limits: Limits,
) -> Result<i64, ViewError> {
    let mut seen = after;
    for change in changes(view, after + 1) {
        let (at, change) = change?;
        if at > upto {
            break;
        }
        if at > seen && hasher.is_over(limits) {
            return Ok(seen);
        }
        seen = at;
        hasher.change(at, &change);
    }
    Ok(upto)
}
