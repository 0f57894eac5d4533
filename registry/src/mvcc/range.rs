//! Reading: the newest state from `latest`, an older one from `latest` and `history` together.

use bytes::Bytes;

use super::{
    events::next_ended,
    keys::{Bounds, split_history, unescape},
    refusal::Refusal,
    view::{Item, Table, View, ViewError, decode},
};
use crate::schema::{KeyValue, Range, RangeOutcome};

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
        page.take(at_revision(view, bounds, request.revision), Ok)?;
    } else {
        page.take(latest_rows(view, bounds), |(key, value)| stored(key, value))?;
    }
    Ok(Ok(page.finish(current)))
}

/// The newest version of each key in the range.
pub(super) fn latest<'a>(
    view: &'a impl View,
    bounds: Bounds<'_>,
) -> Box<dyn Iterator<Item = Result<KeyValue, ViewError>> + 'a> {
    let rows = latest_rows(view, bounds);
    Box::new(rows.map(|row| row.and_then(|(key, value)| stored(key, value))))
}

fn latest_rows<'a>(view: &'a impl View, bounds: Bounds<'_>) -> Box<dyn Iterator<Item = Item> + 'a> {
    if bounds.is_point() {
        let key = Bytes::copy_from_slice(bounds.from());
        let row = view.get(Table::Latest, &key).transpose();
        return Box::new(row.map(|value| value.map(|value| (key, value))).into_iter());
    }
    if bounds.is_empty() {
        return Box::new(std::iter::empty());
    }
    view.scan(Table::Latest, bounds.from(), bounds.to())
}

/// A version from its row in `latest` or `history`.
pub(super) fn stored(key: Bytes, value: Bytes) -> Result<KeyValue, ViewError> {
    let kv: KeyValue = decode(Table::Latest, value)?;
    Ok(KeyValue { key, ..kv })
}

/// The state of each key in the range as of `revision`.
pub(super) fn at_revision<'a>(
    view: &'a impl View,
    bounds: Bounds<'_>,
    revision: i64,
) -> Box<dyn Iterator<Item = Result<KeyValue, ViewError>> + 'a> {
    if bounds.is_point() {
        let key = Bytes::copy_from_slice(bounds.from());
        return Box::new(version_at(view, &key, revision).transpose().into_iter());
    }
    if bounds.is_empty() {
        return Box::new(std::iter::empty());
    }
    let (from, to) = bounds.history();
    let mut ended = ended(view.scan(Table::History, &from, to.as_deref()), revision).peekable();
    let mut standing = latest(view, bounds).peekable();
    let next = move || {
        let ended_first = match (ended.peek(), standing.peek()) {
            (Some(Ok(old)), Some(Ok(new))) if old.key == new.key => {
                standing.next();
                true
            }
            (Some(Ok(old)), Some(Ok(new))) => old.key < new.key,
            (Some(_), None) | (Some(Err(_)), _) => true,
            (_, Some(_)) => false,
            (None, None) => return None,
        };
        if ended_first { ended.next() } else { standing.next() }
    };
    // A version that was made later says that the key was not there: no older one stood then.
    let made =
        move |kv: &Result<KeyValue, _>| kv.as_ref().map_or(true, |kv| kv.mod_revision <= revision);
    Box::new(std::iter::from_fn(next).filter(made))
}

fn version_at(view: &impl View, key: &Bytes, revision: i64) -> Result<Option<KeyValue>, ViewError> {
    let newest =
        view.get(Table::Latest, key)?.map(|value| stored(key.clone(), value)).transpose()?;
    let found = match newest {
        Some(kv) if kv.mod_revision <= revision => Some(kv),
        _ => next_ended(view, key, revision)?,
    };
    Ok(found.filter(|kv| kv.mod_revision <= revision))
}

/// Of each key in rows of `history` the oldest version that still stood at `revision` or was made after it.
fn ended<'a>(
    rows: impl Iterator<Item = Item> + 'a,
    revision: i64,
) -> impl Iterator<Item = Result<KeyValue, ViewError>> + 'a {
    let mut done = Bytes::new();
    rows.filter_map(move |row| {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        let Some((prefix, at)) = split_history(&key) else {
            return Some(Err(ViewError::new(Table::History, "a key is too short")));
        };
        if at <= revision || prefix == done {
            return None;
        }
        let kv = stored(unescape(&prefix), value);
        done = prefix;
        Some(kv)
    })
}

/// Collects what a range request wants.
struct Page<'r> {
    request: &'r Range,
    limit: usize,
    sorts: bool,
    /// How many of the keys that match, in the order of the keys, are looked at.
    kept_max: usize,
    /// Whether there are bounds on revisions.
    bounded: bool,
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
        let bounded = bounds != [0; 4];
        let needs_all = sorts && (request.sort_order != 0 || bounded);
        let kept_max = if needs_all || limit == 0 { usize::MAX } else { limit.saturating_add(1) };
        Self { request, limit, sorts, kept_max, bounded, kvs: Vec::new(), count: 0, matching: 0 }
    }

    /// Counts rows; decodes those that are asked for.
    fn take<R>(
        &mut self,
        rows: impl Iterator<Item = Result<R, ViewError>>,
        read: impl Fn(R) -> Result<KeyValue, ViewError>,
    ) -> Result<(), ViewError> {
        for row in rows {
            let row = row?;
            // etcd counts the whole range, whatever the bounds and the limit.
            self.count += 1;
            if self.request.count_only {
                continue;
            }
            let full = self.kvs.len() >= self.kept_max;
            if full && !self.bounded {
                self.matching += 1;
                continue;
            }
            let kv = read(row)?;
            if self.within(&kv) {
                self.matching += 1;
                if !full {
                    self.kvs.push(kv);
                }
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
