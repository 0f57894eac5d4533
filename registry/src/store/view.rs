//! A consistent view: the overlay's rows over a snapshot of the engine.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;
use fjall::{Readable, Snapshot};

use super::{
    engine::{Engine, Tables},
    overlay::Rows,
    overlay_key,
};
use crate::{
    mvcc::{Item, Table, View, ViewError, merge},
    schema::Applied,
};

/// A consistent view of the whole state. It pins nothing but memory and, as long as it lives, old versions in the
/// engine.
#[derive(Clone)]
pub(crate) struct StoreView {
    rows: Rows,
    snapshot: Snapshot,
    tables: Arc<Tables>,
    applied: Arc<Applied>,
}

impl StoreView {
    pub(super) fn new(engine: &Engine, rows: &Rows, applied: Arc<Applied>) -> Self {
        Self { rows: rows.clone(), snapshot: engine.snapshot(), tables: engine.tables(), applied }
    }

    /// How far the state machine was.
    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }
}

impl View for StoreView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if !self.rows.is_empty()
            && let Some((_, value)) = self.rows.get(&overlay_key(table, key))
        {
            return Ok(value.clone());
        }
        let found = self.snapshot.get(self.tables.of(table), key);
        found.map(|value| value.map(Bytes::from)).map_err(|e| ViewError::new(table, e))
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a> {
        let base = engine_rows(&self.snapshot, &self.tables, table, from, to);
        if self.rows.is_empty() {
            return Box::new(base);
        }
        Box::new(merge(overlay_rows(&self.rows, table, from, to), base))
    }

    fn last(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, ViewError> {
        let newest = overlay_rows(&self.rows, table, from, Some(to)).next_back();
        let below = engine_rows(&self.snapshot, &self.tables, table, from, Some(to))
            .next_back()
            .transpose()?;
        match (newest, below) {
            (None, below) => Ok(below),
            (Some((key, Some(value))), below) => {
                Ok(Some(below.filter(|(other, _)| *other > key).unwrap_or((key, value))))
            }
            // Its last row is deleted in the overlay: look at all of them.
            (Some((_, None)), _) => self.scan(table, from, Some(to)).last().transpose(),
        }
    }
}

fn overlay_rows<'a>(
    rows: &'a Rows,
    table: Table,
    from: &[u8],
    to: Option<&[u8]>,
) -> impl DoubleEndedIterator<Item = (Bytes, Option<Bytes>)> + use<'a> {
    let start = overlay_key(table, from);
    let end = match to {
        Some(to) => overlay_key(table, to),
        None => Bytes::from(vec![table as u8 + 1]),
    };
    let bounds = (Bound::Included(start.clone()), Bound::Excluded(end.clone()));
    // A map panics on a range that ends before it begins.
    let rows = (start < end).then(|| rows.range(bounds));
    rows.into_iter().flatten().map(|(key, (_, value))| (key.slice(1..), value.clone()))
}

fn engine_rows(
    snapshot: &Snapshot,
    tables: &Tables,
    table: Table,
    from: &[u8],
    to: Option<&[u8]>,
) -> impl DoubleEndedIterator<Item = Item> + use<> {
    let bounds = (
        Bound::Included(from.to_vec()),
        to.map_or(Bound::Unbounded, |to| Bound::Excluded(to.to_vec())),
    );
    let rows = to.is_none_or(|to| from < to).then(|| snapshot.range(tables.of(table), bounds));
    rows.into_iter().flatten().map(move |guard| {
        let (key, value) = guard.into_inner().map_err(|e| ViewError::new(table, e))?;
        Ok((Bytes::from(key), Bytes::from(value)))
    })
}
