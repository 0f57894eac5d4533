//! A view with writes on top that are not anywhere else yet: what a transaction sees of itself.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::view::{Item, Table, View, ViewError};

/// One write; no value: delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) table: Table,
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// Writes over a view.
pub(super) struct Draft<'v, V> {
    base: &'v V,
    writes: BTreeMap<(Table, Bytes), Option<Bytes>>,
}

impl<'v, V: View> Draft<'v, V> {
    pub(super) fn new(base: &'v V) -> Self {
        Self { base, writes: BTreeMap::new() }
    }

    pub(super) fn put(&mut self, table: Table, key: Bytes, value: impl prost::Message) {
        self.writes.insert((table, key), Some(value.encode_to_vec().into()));
    }

    pub(super) fn put_bytes(&mut self, table: Table, key: Bytes, value: Bytes) {
        self.writes.insert((table, key), Some(value));
    }

    pub(super) fn delete(&mut self, table: Table, key: Bytes) {
        self.writes.insert((table, key), None);
    }

    pub(super) fn into_writes(self) -> Vec<Write> {
        self.writes.into_iter().map(|((table, key), value)| Write { table, key, value }).collect()
    }

    fn own(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Vec<(Bytes, Option<Bytes>)> {
        let start = (table, Bytes::copy_from_slice(from));
        self.writes
            .range(start..)
            .take_while(|((t, key), _)| *t == table && to.is_none_or(|to| &key[..] < to))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl<V: View> View for Draft<'_, V> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if !self.writes.is_empty()
            && let Some(value) = self.writes.get(&(table, Bytes::copy_from_slice(key)))
        {
            return Ok(value.clone());
        }
        self.base.get(table, key)
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a> {
        let own = self.own(table, from, to);
        let base = self.base.scan(table, from, to);
        if own.is_empty() { base } else { Box::new(merge(own.into_iter(), base)) }
    }
}

/// Merges sorted `top` over sorted `base`: of two equal keys the one of `top` counts, and its absence deletes.
fn merge<'a>(
    top: impl Iterator<Item = (Bytes, Option<Bytes>)> + 'a,
    base: impl Iterator<Item = Item> + 'a,
) -> impl Iterator<Item = Item> + 'a {
    let mut top = top.peekable();
    let mut base = base.peekable();
    std::iter::from_fn(move || {
        loop {
            let take_top = match (top.peek(), base.peek()) {
                (Some((key, _)), Some(Ok((below, _)))) => {
                    if key == below {
                        base.next();
                        true
                    } else {
                        key < below
                    }
                }
                (Some(_), None) => true,
                (_, Some(_)) => false,
                (None, None) => return None,
            };
            if !take_top {
                return base.next();
            }
            if let Some((key, Some(value))) = top.next() {
                return Some(Ok((key, value)));
            }
        }
    })
}
