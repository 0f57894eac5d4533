//! What happened, from the `events` table: it names the key, whose value is in `latest` or `history`.

use bytes::Bytes;

use super::{
    keys::{event_key, event_revision, history_key, history_prefix},
    range::stored,
    view::{Table, View, ViewError, decode},
};
use crate::schema::{Change, Event, KeyValue};

/// What changed from revision `from` on, each change with its revision.
pub(crate) fn changes(
    view: &impl View,
    from: i64,
) -> impl Iterator<Item = Result<(i64, Change), ViewError>> {
    view.scan(Table::Events, &event_key(from, 0), None).map(|row| {
        let (key, change) = row?;
        let revision = event_revision(&key)
            .ok_or_else(|| ViewError::new(Table::Events, "a key is too short"))?;
        Ok((revision, decode(Table::Events, change)?))
    })
}

/// A change with its value. Its revision must not be below the view's compact revision.
pub(crate) fn event(view: &impl View, revision: i64, change: Change) -> Result<Event, ViewError> {
    let Change { deleted, key, kv } = change;
    if deleted {
        let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
        return Ok(Event { deleted, kv });
    }
    let found = match kv {
        Some(kv) => Some(KeyValue { key, ..kv }),
        None => version_of(view, &key, revision)?,
    };
    let missing =
        || ViewError::new(Table::Events, format!("the value of revision {revision} is missing"));
    Ok(Event { deleted, kv: found.ok_or_else(missing)? })
}

/// The version of `key` that `revision` made.
fn version_of(view: &impl View, key: &Bytes, revision: i64) -> Result<Option<KeyValue>, ViewError> {
    let newest =
        view.get(Table::Latest, key)?.map(|value| stored(key.clone(), value)).transpose()?;
    if let Some(kv) = newest.filter(|kv| kv.mod_revision == revision) {
        return Ok(Some(kv));
    }
    let next = next_ended(view, key, revision)?;
    Ok(next.filter(|kv| kv.mod_revision == revision))
}

/// The oldest version of `key` that still stood at `revision` or was made after it, and no longer stands.
pub(super) fn next_ended(
    view: &impl View,
    key: &Bytes,
    revision: i64,
) -> Result<Option<KeyValue>, ViewError> {
    let prefix = history_prefix(key);
    let from = history_key(&prefix, revision.unsigned_abs() + 1);
    let to = history_key(&prefix, u64::MAX);
    let row = view.scan(Table::History, &from, Some(&to)).next().transpose()?;
    row.map(|(_, value)| stored(key.clone(), value)).transpose()
}

/// The version of `key` that `revision` ended, by a put or a delete.
pub(crate) fn previous(
    view: &impl View,
    key: &Bytes,
    revision: i64,
) -> Result<Option<KeyValue>, ViewError> {
    let row = history_key(&history_prefix(key), revision.unsigned_abs());
    let found = view.get(Table::History, &row)?;
    found.map(|value| stored(key.clone(), value)).transpose()
}
