//! Copying a state: pages of the source at one revision, beside what the target has there; what differs is written.

use std::collections::BTreeMap;

use bytes::Bytes;
use watchkeep_api::{
    etcdserverpb::{RangeRequest, RangeResponse},
    mvccpb::KeyValue,
};

use super::{
    MigrateError, Progress, Span,
    batch::{Batches, Write},
    leases::Leases,
    source, target,
    target::Target,
};
use crate::{Client, ClientError};

/// Keys of a page, at most and at first.
const PAGE_KEYS: (i64, i64) = (2_000, 200);
/// A page larger than this is followed by smaller ones, one smaller than a quarter by larger ones.
const PAGE_BYTES: usize = 4 << 20;

/// Where a side stands.
pub(super) struct Head {
    pub(super) cluster_id: u64,
    pub(super) revision: i64,
}

/// Where a side stands. It is asked for a key of what is copied: its user may read no other.
pub(super) async fn head(
    of: &Client,
    spans: &[Span],
    failed: fn(ClientError) -> MigrateError,
) -> Result<Head, MigrateError> {
    let key = spans.first().map_or(Bytes::from_static(b"\0"), |(key, _)| key.clone());
    let request = RangeRequest { key, ..Default::default() };
    let header = of.raw_range("read the revision", request).await.map_err(failed)?.header;
    let header = header.unwrap_or_default();
    Ok(Head { cluster_id: header.cluster_id, revision: header.revision })
}

/// Keys in a span.
pub(super) async fn count(from: &Client, (key, end): &Span) -> Result<i64, MigrateError> {
    let request = RangeRequest {
        key: key.clone(),
        range_end: end.clone(),
        count_only: true,
        ..Default::default()
    };
    Ok(from.raw_range("count keys", request).await.map_err(source)?.count)
}

/// Reads a span page by page at one revision.
pub(super) struct Pages<'c> {
    client: &'c Client,
    /// The next page's first key; none behind the last.
    from: Option<Bytes>,
    end: Bytes,
    revision: i64,
    keys: i64,
}

/// A page: its keys, and the span that it covers.
pub(super) struct Page {
    pub(super) kvs: Vec<KeyValue>,
    span: Span,
}

impl<'c> Pages<'c> {
    /// At `revision`; 0: at the newest, which the first page settles.
    pub(super) fn new(client: &'c Client, span: &Span, revision: i64) -> Self {
        let (from, end) = span.clone();
        Self { client, from: Some(from), end, revision, keys: PAGE_KEYS.1 }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Page>, ClientError> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let request = RangeRequest {
            key: from.clone(),
            range_end: self.end.clone(),
            limit: self.keys,
            revision: self.revision,
            ..Default::default()
        };
        let answer: RangeResponse = self.client.raw_range("read a page", request).await?;
        if self.revision == 0 {
            self.revision = answer.header.map_or(0, |header| header.revision);
        }
        let size: usize = answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        if size > PAGE_BYTES {
            self.keys = (self.keys / 2).max(1);
        } else if size < PAGE_BYTES / 4 {
            self.keys = (self.keys * 2).min(PAGE_KEYS.0);
        }
        let behind = answer.kvs.last().filter(|_| answer.more).map(|kv| after(&kv.key));
        let span = (from, behind.clone().unwrap_or_else(|| self.end.clone()));
        self.from = behind;
        Ok(Some(Page { kvs: answer.kvs, span }))
    }
}

/// The key behind `key`.
fn after(key: &Bytes) -> Bytes {
    [&key[..], b"\0"].concat().into()
}

/// Copies the newest state; afterwards the target is to follow from there.
pub(super) async fn copy(
    from: &Client,
    to: &mut Target,
    leases: &Leases,
    spans: &[Span],
    tell: &mut impl FnMut(Progress),
) -> Result<(), MigrateError> {
    let revision = head(from, spans, source).await?.revision;
    let mut keys = 0;
    for span in spans {
        let mut pages = Pages::new(from, span, revision);
        while let Some(page) = pages.next().await.map_err(source)? {
            keys += page.kvs.len() as u64;
            let there = read(to.client(), &page.span).await?;
            let mut batches = Batches::default();
            for (key, write) in differences(page.kvs, there) {
                batches.push(vec![(key, write)]);
            }
            for batch in batches.finish() {
                to.write(batch, None, Some(leases)).await?;
            }
            tell(Progress::Copying { revision, keys });
        }
    }
    to.note(revision).await
}

/// What the target has in a span, by key: value and lease.
async fn read(client: &Client, span: &Span) -> Result<BTreeMap<Bytes, (Bytes, i64)>, MigrateError> {
    let mut found = BTreeMap::new();
    let mut pages = Pages::new(client, span, 0);
    while let Some(page) = pages.next().await.map_err(target)? {
        found.extend(page.kvs.into_iter().map(|kv| (kv.key, (kv.value, kv.lease))));
    }
    Ok(found)
}

/// What makes `there` equal to `here`.
fn differences(
    here: Vec<KeyValue>,
    mut there: BTreeMap<Bytes, (Bytes, i64)>,
) -> Vec<(Bytes, Write)> {
    let mut writes = Vec::new();
    for kv in here {
        let known = there.remove(&kv.key);
        if known.is_none_or(|known| known != (kv.value.clone(), kv.lease)) {
            writes.push((kv.key, Write::Put(kv.value, kv.lease)));
        }
    }
    writes.extend(there.into_keys().map(|key| (key, Write::Delete)));
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let kv = |key: &'static str, value: &'static str, lease| KeyValue {
            key: key.into(),
            value: value.into(),
            lease,
            ..Default::default()
        };
        let here = vec![kv("a", "1", 0), kv("b", "2", 7), kv("c", "3", 0), kv("d", "4", 0)];
        let there = [("a", "1", 0), ("b", "2", 8), ("c", "x", 0), ("e", "5", 0)];
        let there =
            there.map(|(key, value, lease)| (Bytes::from(key), (Bytes::from(value), lease)));
        let put = |value: &'static str, lease| Write::Put(value.into(), lease);
        let expected = [
            (Bytes::from("b"), put("2", 7)),
            ("c".into(), put("3", 0)),
            ("d".into(), put("4", 0)),
            ("e".into(), Write::Delete),
        ];
        assert_eq!(differences(here, there.into()), expected);
    }
}
