//! Reading a range in pages: keys in their order, at one revision, each page of about so many bytes.

use bytes::Bytes;

use super::{
    keys::Bounds,
    range::{at_revision, latest},
    refusal::Refusal,
    view::{View, ViewError},
};
use crate::schema::KeyValue;

/// What is read.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    /// First key.
    pub(crate) key: Bytes,
    /// End, as in [`crate::schema::Range`].
    pub(crate) range_end: Bytes,
    /// As of; never 0.
    pub(crate) revision: i64,
    /// Leave the values out.
    pub(crate) keys_only: bool,
}

/// One page.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// In the order of the keys.
    pub(crate) kvs: Vec<KeyValue>,
    /// Where the next begins; none: this is the last.
    pub(crate) next: Option<Bytes>,
}

/// Reads keys until `bytes` are reached or passed, or there are `keys`. A page has at least one key unless there is none
/// left. `current` and `compacted` are the store's revisions in this view.
pub(crate) fn page(
    view: &impl View,
    wanted: &Pages,
    (current, compacted): (i64, i64),
    keys: usize,
    bytes: usize,
) -> Result<Result<Page, Refusal>, ViewError> {
    if wanted.revision > current {
        return Ok(Err(Refusal::FutureRevision));
    }
    if wanted.revision < compacted {
        return Ok(Err(Refusal::Compacted));
    }
    let bounds = Bounds::new(&wanted.key, &wanted.range_end);
    let rows = match wanted.revision < current {
        true => at_revision(view, bounds, wanted.revision),
        false => latest(view, bounds),
    };
    let (mut kvs, mut size) = (Vec::new(), 0);
    for row in rows {
        let mut kv = row?;
        if size >= bytes || kvs.len() >= keys {
            return Ok(Ok(Page { kvs, next: Some(kv.key) }));
        }
        if wanted.keys_only {
            kv.value = Bytes::new();
        }
        size += kv.key.len() + kv.value.len();
        kvs.push(kv);
    }
    Ok(Ok(Page { kvs, next: None }))
}

/// How many keys there are from `wanted.key` on.
pub(crate) fn count(
    view: &impl View,
    wanted: &Pages,
    revisions: (i64, i64),
) -> Result<Result<i64, Refusal>, ViewError> {
    let (current, compacted) = revisions;
    let range = crate::schema::Range {
        key: wanted.key.clone(),
        range_end: wanted.range_end.clone(),
        revision: wanted.revision,
        count_only: true,
        ..crate::schema::Range::default()
    };
    Ok(super::range(view, &range, current, compacted)?.map(|found| found.count))
}
