//! For the fuzzer: keys of the tables, and a state in memory.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Bounds, Item, Table, View, ViewError, Write,
    keys::{
        event_key, event_revision, history_key, history_prefix, lease_key, lease_of, split_history,
        unescape,
    },
};

/// Tables in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory(BTreeMap<(Table, Bytes), Bytes>);

impl Memory {
    pub(crate) fn write(&mut self, writes: Vec<Write>) {
        for Write { table, key, value } in writes {
            match value {
                Some(value) => self.0.insert((table, key), value),
                None => self.0.remove(&(table, key)),
            };
        }
    }

    fn rows(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Vec<(Bytes, Bytes)> {
        let inside = self.0.iter().filter(|((of, key), _)| {
            *of == table && &key[..] >= from && to.is_none_or(|to| &key[..] < to)
        });
        inside.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }
}

impl View for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(&(table, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a> {
        Box::new(self.rows(table, from, to).into_iter().map(Ok))
    }
}

/// Any bytes as a key of each table, and two keys by the order of their forms in the tables.
pub(crate) fn keys(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = (event_revision(data), lease_of(data), split_history(&bytes), unescape(data));
    let (one, two) = data.split_at(data.len() / 2);
    let (first, second) = (history_prefix(one), history_prefix(two));
    assert_eq!(one.cmp(two), first.cmp(&second), "the table's order is the keys' order");
    let revision = i64::from_be_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
    let key = history_key(&first, revision.unsigned_abs());
    assert_eq!(split_history(&key), Some((first, revision)));
    assert_eq!(lease_of(&lease_key(-revision, one)), Some(-revision));
    assert_eq!(event_revision(&event_key(revision, 7)), Some(revision));
    assert_eq!(unescape(&history_prefix(one)), one);
    if two.is_empty() {
        return;
    }
    let bounds = Bounds::new(one, two);
    let (from, to) = bounds.history();
    let inside = key >= from && to.is_none_or(|to| key < to);
    assert_eq!(bounds.contains(one), inside, "{bounds:?}");
}
