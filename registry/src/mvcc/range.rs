//! Reading: the newest state from `latest`, an older one from `history` and `events`.

use bytes::Bytes;

use super::{
    keys::{Bounds, event_key, history_key, history_prefix, split_history},
    refusal::Refusal,
    view::{Table, View, ViewError, decode},
};
use crate::schema::{Event, KeyValue, Range, RangeOutcome, Version};

/// Reads a range. `current` and `compacted` are the store's revisions in this view.
pub(crate) fn range(
    view: &impl View,
    request: &Range,
    current: i64,
    compacted: i64,
) -> Result<Result<RangeOutcome, Refusal>, ViewError> {
    if request.revision > current {
        return Ok(Err(Refusal::FutureRevision));
    }
    if request.revision > 0 && request.revision < compacted {
        return Ok(Err(Refusal::Compacted));
    }
    let bounds = Bounds::new(&request.key, &request.range_end);
    let past = request.revision > 0 && request.revision < current;
    let limit = usize::try_from(request.limit).unwrap_or(0);
    let mut page = Page::new(request, limit);
    if past {
        page.take(at_revision(view, bounds, request.revision))?;
    } else {
        page.take(latest(view, bounds))?;
    }
    Ok(Ok(page.finish(current)))
}

/// The newest version of each key in the range.
pub(super) fn latest<'a>(
    view: &'a impl View,
    bounds: Bounds<'_>,
) -> Box<dyn Iterator<Item = Result<KeyValue, ViewError>> + 'a> {
    if bounds.is_point() {
        let key = Bytes::copy_from_slice(bounds.from());
        return match view.get(Table::Latest, &key) {
            Ok(Some(value)) => Box::new(std::iter::once(stored(key, value))),
            Ok(None) => Box::new(std::iter::empty()),
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
    }
    if bounds.to().is_some_and(|to| to <= bounds.from()) {
        return Box::new(std::iter::empty());
    }
    let rows = view.scan(Table::Latest, bounds.from(), bounds.to());
    Box::new(rows.map(|row| row.and_then(|(key, value)| stored(key, value))))
}

fn stored(key: Bytes, value: Bytes) -> Result<KeyValue, ViewError> {
    let kv: KeyValue = decode(Table::Latest, value)?;
    Ok(KeyValue { key, ..kv })
}

/// The state of each key in the range as of `revision`.
pub(crate) fn at_revision<'a>(
    view: &'a impl View,
    bounds: Bounds<'_>,
    revision: i64,
) -> Box<dyn Iterator<Item = Result<KeyValue, ViewError>> + 'a> {
    if bounds.is_point() {
        let found = version_at(view, &history_prefix(bounds.from()), revision);
        return Box::new(found.transpose().into_iter());
    }
    let (from, to) = bounds.history();
    if to.as_ref().is_some_and(|to| *to <= from) {
        return Box::new(std::iter::empty());
    }
    let mut rows = view.scan(Table::History, &from, to.as_deref()).peekable();
    Box::new(std::iter::from_fn(move || {
        loop {
            // The newest version of the next key that is not newer than `revision`.
            let mut newest = None;
            let (prefix, mut row) = match rows.next()? {
                Ok(row) => (split_history(&row.0)?.0, row),
                Err(error) => return Some(Err(error)),
            };
            loop {
                if split_history(&row.0).is_some_and(|(_, at)| at <= revision) {
                    newest = Some(row);
                }
                let same = matches!(rows.peek(), Some(Ok((key, _))) if key.len() == prefix.len() + 8 && key.starts_with(&prefix));
                match same.then(|| rows.next()).flatten() {
                    Some(Ok(next)) => row = next,
                    Some(Err(error)) => return Some(Err(error)),
                    None => break,
                }
            }
            match newest.map(|(key, value)| load(view, &key, value)).transpose() {
                Ok(Some(Some(kv))) => return Some(Ok(kv)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

fn version_at(
    view: &impl View,
    prefix: &[u8],
    revision: i64,
) -> Result<Option<KeyValue>, ViewError> {
    let to = history_key(prefix, revision.unsigned_abs() + 1);
    let row = view.last(Table::History, &history_key(prefix, 0), &to)?;
    row.map_or(Ok(None), |(key, value)| load(view, &key, value))
}

/// The version that a `history` row points to; none for a tombstone.
fn load(view: &impl View, key: &Bytes, value: Bytes) -> Result<Option<KeyValue>, ViewError> {
    let version: Version = decode(Table::History, value)?;
    if version.deleted {
        return Ok(None);
    }
    let Some((_, revision)) = split_history(key) else {
        return Err(ViewError::new(Table::History, "a key is too short"));
    };
    let event: Option<Event> =
        view.record(Table::Events, &event_key(revision, version.position))?;
    event
        .map(|event| Some(event.kv))
        .ok_or_else(|| ViewError::new(Table::Events, format!("revision {revision} is missing")))
}

/// Collects what a range request wants.
struct Page<'r> {
    request: &'r Range,
    limit: usize,
    sorts: bool,
    /// How many of the keys that match, in the order of the keys, are looked at.
    kept_max: usize,
    kvs: Vec<KeyValue>,
    count: i64,
    matching: usize,
}

impl<'r> Page<'r> {
    fn new(request: &'r Range, limit: usize) -> Self {
        let sorts = request.sort_order == 2 || (request.sort_target != 0);
        let bounds = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        // etcd (`rangeLimit`): with a target but no order, and no bounds, the limit cuts first, and what is left is
        // sorted.
        let needs_all = sorts && (request.sort_order != 0 || bounds != [0; 4]);
        let kept_max = if needs_all || limit == 0 { usize::MAX } else { limit.saturating_add(1) };
        Self { request, limit, sorts, kept_max, kvs: Vec::new(), count: 0, matching: 0 }
    }

    fn take(
        &mut self,
        rows: impl Iterator<Item = Result<KeyValue, ViewError>>,
    ) -> Result<(), ViewError> {
        for row in rows {
            let kv = row?;
            // etcd counts the whole range, whatever the bounds and the limit.
            self.count += 1;
            if self.request.count_only || !self.within(&kv) {
                continue;
            }
            self.matching += 1;
            if self.kvs.len() < self.kept_max {
                self.kvs.push(kv);
            }
        }
        Ok(())
    }

    fn within(&self, kv: &KeyValue) -> bool {
        let r = self.request;
        let bound =
            |min: i64, max: i64, at: i64| (min == 0 || at >= min) && (max == 0 || at <= max);
        bound(r.min_mod_revision, r.max_mod_revision, kv.mod_revision)
            && bound(r.min_create_revision, r.max_create_revision, kv.create_revision)
    }

    fn finish(mut self, revision: i64) -> RangeOutcome {
        if self.sorts {
            // What ties keeps the order of the keys, descending too, as in etcd.
            let (target, descends) = (self.request.sort_target, self.request.sort_order == 2);
            self.kvs.sort_by(|a, b| {
                let order = match target {
                    1 => a.version.cmp(&b.version),
                    2 => a.create_revision.cmp(&b.create_revision),
                    3 => a.mod_revision.cmp(&b.mod_revision),
                    4 => a.value.cmp(&b.value),
                    _ => a.key.cmp(&b.key),
                };
                if descends { order.reverse() } else { order }
            });
        }
        if self.limit > 0 {
            self.kvs.truncate(self.limit);
        }
        if self.request.keys_only {
            self.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeOutcome {
            more: self.limit > 0 && self.matching > self.limit,
            kvs: self.kvs,
            count: self.count,
            revision,
        }
    }
}
