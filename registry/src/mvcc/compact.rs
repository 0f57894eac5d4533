//! What a compaction may forget: each version that a newer one not above the revision supersedes, and each
//! tombstone below the revision. A tombstone at the revision stays, since a watch may still begin there (etcd's
//! `key_index.go`, `compact`).

use bytes::Bytes;

use super::{
    draft::Write,
    keys::{event_key, history_prefix, split_history},
    view::{Table, View, ViewError, decode},
};
use crate::schema::{Event, Version};

/// Deletions for the `history` rows from `from` on, at most `rows_max` rows looked at; and where to go on, none
/// at the end of the table.
pub(crate) fn superseded(
    view: &impl View,
    from: &[u8],
    revision: i64,
    rows_max: usize,
) -> Result<(Vec<Write>, Option<Bytes>), ViewError> {
    let mut writes = Vec::new();
    let mut held: Option<(Bytes, Bytes, i64, Version)> = None;
    for (seen, row) in view.scan(Table::History, from, None).enumerate() {
        let (key, value) = row?;
        let Some((prefix, at)) = split_history(&key) else {
            return Err(ViewError::new(Table::History, "a key is too short"));
        };
        let same = held.as_ref().is_some_and(|(_, p, ..)| *p == prefix);
        if let Some((old, _, old_at, version)) = held.take()
            && ((same && at <= revision) || (version.deleted && old_at < revision))
        {
            forget(view, &mut writes, old, old_at, version)?;
        }
        if seen >= rows_max && !same {
            return Ok((writes, Some(key)));
        }
        let version: Version = decode(Table::History, value)?;
        held = (at <= revision).then_some((key, prefix, at, version));
    }
    if let Some((key, _, at, version)) = held
        && version.deleted
        && at < revision
    {
        forget(view, &mut writes, key, at, version)?;
    }
    Ok((writes, None))
}

fn forget(
    view: &impl View,
    writes: &mut Vec<Write>,
    history: Bytes,
    revision: i64,
    version: Version,
) -> Result<(), ViewError> {
    let mut forget_event = |position| {
        let key = event_key(revision, position);
        writes.push(Write { table: Table::Events, key, value: None });
    };
    forget_event(version.position);
    if version.again {
        let prefix = split_history(&history).map(|(prefix, _)| prefix);
        for position in 0..version.position {
            let event: Option<Event> =
                view.record(Table::Events, &event_key(revision, position))?;
            if event.is_some_and(|event| Some(history_prefix(&event.kv.key)) == prefix) {
                forget_event(position);
            }
        }
    }
    writes.push(Write { table: Table::History, key: history, value: None });
    Ok(())
}
