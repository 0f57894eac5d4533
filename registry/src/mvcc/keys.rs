//! Keys of the tables: ordered as bytes the way their parts are ordered.
//!
//! `history`: the user's key with each `00` written as `00 ff`, then `00 01`, then the revision at which the version
//! ceased to stand (8 bytes, big-endian). So `a` sorts before `a\0` sorts before `ab`, each with its versions in order:
//!
//! ```text
//! a     61 00 01 <revision>
//! a\0   61 00 ff 00 01 <revision>
//! ab    61 62 00 01 <revision>
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// A range of user keys as etcd writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    key: &'a [u8],
    end: &'a [u8],
}

impl<'a> Bounds<'a> {
    pub(crate) fn new(key: &'a [u8], end: &'a [u8]) -> Self {
        Self { key, end }
    }

    /// Whether it is one key, not a range.
    pub(crate) fn is_point(&self) -> bool {
        self.end.is_empty()
    }

    /// Whether no key can be in it. Not for a point.
    pub(crate) fn is_empty(&self) -> bool {
        self.to().is_some_and(|to| to <= self.key)
    }

    pub(crate) fn from(&self) -> &'a [u8] {
        self.key
    }

    /// First key behind the range; none: there is no end. Not for a point.
    pub(crate) fn to(&self) -> Option<&'a [u8]> {
        (self.end != b"\0").then_some(self.end)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        if self.is_point() {
            return key == self.key;
        }
        key >= self.key && self.to().is_none_or(|end| key < end)
    }

    /// The same range in the `history` table. Not for a point.
    pub(crate) fn history(&self) -> (Bytes, Option<Bytes>) {
        (escape(self.key), self.to().map(escape))
    }
}

fn escape(key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(key.len() + 2);
    for &byte in key {
        out.put_u8(byte);
        if byte == 0 {
            out.put_u8(0xff);
        }
    }
    out.freeze()
}

/// The part of a `history` key before the revision.
pub(crate) fn history_prefix(key: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&escape(key)[..]);
    out.put_slice(&[0, 1]);
    out.freeze()
}

/// The user's key in a prefix.
pub(crate) fn unescape(prefix: &[u8]) -> Bytes {
    let escaped = prefix.strip_suffix(&[0, 1]).unwrap_or(prefix);
    let mut out = BytesMut::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        out.put_u8(byte);
        if byte == 0 {
            bytes.next();
        }
    }
    out.freeze()
}

pub(crate) fn history_key(prefix: &[u8], revision: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(prefix.len() + 8);
    out.put_slice(prefix);
    out.put_u64(revision);
    out.freeze()
}

/// Splits a `history` key into its prefix and the revision.
pub(crate) fn split_history(key: &Bytes) -> Option<(Bytes, i64)> {
    let at = key.len().checked_sub(8)?;
    Some((key.slice(..at), be_i64(&key[at..])?))
}

/// The revision of a `history` key: where its version ceased to stand.
pub(crate) fn ended_at(key: &[u8]) -> Option<i64> {
    be_i64(&key[key.len().checked_sub(8)?..])
}

pub(crate) fn event_key(revision: i64, position: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(12);
    out.put_i64(revision);
    out.put_u32(position);
    out.freeze()
}

/// The revision of an `events` key.
pub(crate) fn event_revision(key: &[u8]) -> Option<i64> {
    be_i64(key.get(..8)?)
}

pub(crate) fn lease_key(lease: i64, key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + key.len());
    out.put_i64(lease);
    out.put_slice(key);
    out.freeze()
}

/// The lease of a `leases` key.
pub(crate) fn lease_of(key: &[u8]) -> Option<i64> {
    be_i64(key.get(..8)?)
}

fn be_i64(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}
