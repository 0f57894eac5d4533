//! A consistent view: memtables up to a moment, over the segments of that moment.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Layers,
    memtable::{Row, RowKey},
    row_key,
};
use crate::{
    mvcc::{Item, Table, View, ViewError},
    schema::Applied,
};

/// A consistent view of the whole state. As long as it lives it keeps the memtables and segments that it reads.
#[derive(Clone)]
pub(crate) struct StoreView {
    layers: Arc<Layers>,
    /// Rows below this number are seen.
    turn: u64,
    applied: Arc<Applied>,
}

impl StoreView {
    pub(super) fn new(layers: Arc<Layers>, turn: u64, applied: Arc<Applied>) -> Self {
        Self { layers, turn, applied }
    }

    /// How far the state machine was.
    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }
}

impl View for StoreView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let Layers { active, sealed, segments } = &*self.layers;
        let at = RowKey::below(row_key(table, key), self.turn);
        let in_memory =
            std::iter::once(active).chain(sealed).find_map(|memtable| memtable.get(&at));
        if let Some(value) = in_memory {
            return Ok(value);
        }
        let found = segments.get(&at.key).map_err(|e| ViewError::new(table, e))?;
        Ok(found.flatten())
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a> {
        let from = row_key(table, from);
        let to = to.map_or_else(|| Bytes::from(vec![table as u8 + 1]), |to| row_key(table, to));
        if to <= from {
            return Box::new(std::iter::empty());
        }
        let Layers { active, sealed, segments } = &*self.layers;
        let mut merge = Merge::default();
        for memtable in std::iter::once(active).chain(sealed) {
            merge.add(memtable.range(&from, &to, self.turn).map(Ok));
        }
        for rows in segments.ranges(&from, &to) {
            merge.add(rows);
        }
        Box::new(merge.filter_map(move |row| match row {
            Ok((key, value)) => value.map(|value| Ok((key.slice(1..), value))),
            Err(error) => Some(Err(ViewError::new(table, error))),
        }))
    }
}

type Rows<'a> = Box<dyn Iterator<Item = lsm_tree::Result<Row>> + 'a>;

/// Merges sorted rows: of equal keys that of the source added first counts.
#[derive(Default)]
struct Merge<'a> {
    /// Each with its next row.
    sources: Vec<(Row, Rows<'a>)>,
    failed: Option<lsm_tree::Error>,
}

impl<'a> Merge<'a> {
    fn add(&mut self, mut rows: impl Iterator<Item = lsm_tree::Result<Row>> + 'a) {
        match rows.next() {
            Some(Ok(row)) => self.sources.push((row, Box::new(rows))),
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
    }

    /// Takes a source's row and moves the source on.
    fn advance(&mut self, at: usize) -> Option<Row> {
        let (row, rows) = self.sources.get_mut(at)?;
        match rows.next() {
            Some(Ok(next)) => Some(std::mem::replace(row, next)),
            Some(Err(error)) => {
                self.failed = Some(error);
                None
            }
            None => Some(self.sources.remove(at).0),
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = lsm_tree::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut least = 0;
        for at in 1..self.sources.len() {
            if self.sources[at].0.0 < self.sources[least].0.0 {
                least = at;
            }
        }
        let row = if self.failed.is_none() { self.advance(least) } else { None };
        if let Some((key, _)) = &row {
            let mut at = least;
            while at < self.sources.len() {
                if self.sources[at].0.0 == *key {
                    let before = self.sources.len();
                    self.advance(at);
                    at += usize::from(self.sources.len() == before);
                } else {
                    at += 1;
                }
                if self.failed.is_some() {
                    break;
                }
            }
        }
        if let Some(error) = self.failed.take() {
            self.sources.clear();
            return Some(Err(error));
        }
        row.map(Ok)
    }
}
