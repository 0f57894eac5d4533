//! The segments on disk at one moment. A segment that was merged into others stays readable for as long as somebody
//! holds it here; reading takes no lock.

use bytes::Bytes;
use lsm_tree::{Table as Segment, table::filter::standard_bloom::Builder as Bloom};

use super::memtable::Row;

/// Beyond every turn: a segment has only the newest version of a row.
const NEWEST: u64 = u64::MAX;

/// Runs of segments, newer ones first; the segments of a run are sorted and disjoint.
#[derive(Default)]
pub(super) struct Segments {
    /// Number of the tree's version.
    pub(super) version: u64,
    /// Segments not merged yet.
    pub(super) unmerged: usize,
    runs: Vec<Vec<Segment>>,
}

impl Segments {
    pub(super) fn new(version: u64, unmerged: usize, runs: Vec<Vec<Segment>>) -> Self {
        Self { version, unmerged, runs }
    }

    /// The row; no value: it is deleted.
    pub(super) fn get(&self, key: &[u8]) -> lsm_tree::Result<Option<Option<Bytes>>> {
        let hash = Bloom::get_hash(key);
        for run in &self.runs {
            let at = run.partition_point(|segment| segment.metadata.key_range.max()[..] < *key);
            let Some(segment) = run.get(at) else { continue };
            if segment.metadata.key_range.min()[..] > *key {
                continue;
            }
            if let Some(found) = segment.get(key, NEWEST, hash)? {
                return Ok(Some((!found.is_tombstone()).then(|| Bytes::from(found.value))));
            }
        }
        Ok(None)
    }

    /// Of each run that has any, the rows with `from <= key < to`; newer runs first.
    pub(super) fn ranges<'s>(
        &'s self,
        from: &Bytes,
        to: &Bytes,
    ) -> impl Iterator<Item = impl Iterator<Item = lsm_tree::Result<Row>> + use<'s>> + use<'s> {
        let (from, to) = (from.clone(), to.clone());
        self.runs.iter().filter_map(move |run| {
            let first = run.partition_point(|s| s.metadata.key_range.max()[..] < from[..]);
            let behind = run.partition_point(|s| s.metadata.key_range.min()[..] < to[..]);
            let within = run.get(first..behind).filter(|within| !within.is_empty())?;
            let bounds = lsm_tree::Slice::from(from.clone())..lsm_tree::Slice::from(to.clone());
            let rows = within.iter().flat_map(move |segment| segment.range(bounds.clone()));
            Some(rows.map(|row| {
                let row = row?;
                let deleted = row.is_tombstone();
                Ok((Bytes::from(row.key.user_key), (!deleted).then(|| Bytes::from(row.value))))
            }))
        })
    }
}
