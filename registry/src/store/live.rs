//! The state as the one task that writes it sees it: point reads without taking a snapshot.

use bytes::Bytes;

use super::{Store, overlay_key};
use crate::mvcc::{Item, Table, View, ViewError};

/// Reads for applying. A row missing from the overlay is in the engine already, since it leaves the overlay only
/// after it was committed.
pub(crate) struct Live<'s>(pub(super) &'s Store);

impl View for Live<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let waiting = self.0.inner.lock().get(&overlay_key(table, key));
        match waiting {
            Some(value) => Ok(value),
            None => self.0.inner.engine.get(table, key),
        }
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a> {
        // Few commands scan (revoke, ranges in a transaction); they take a view and copy what they need.
        let rows: Vec<Item> = self.0.view().scan(table, from, to).collect();
        Box::new(rows.into_iter())
    }

    fn last(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, ViewError> {
        self.0.view().last(table, from, to)
    }
}
