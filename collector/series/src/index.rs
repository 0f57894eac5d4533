//! Which series there are: labels to id, id to head, and for each label value the ids that have it.

use std::{borrow::Cow, cmp::Ordering, hash::BuildHasher, hash::Hasher};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::{
    Labels, Matcher,
    head::Head,
    postings::{self, Id, Postings},
    symbols::{Symbol, Symbols},
};

/// New series that queries sort by themselves; more are given their rank.
const UNRANKED_MAX: usize = 256;
const UNRANKED: u32 = u32::MAX;
/// About what a series takes beside its labels and samples: itself, its places in maps and lists.
const SERIES_BYTES: usize = size_of::<Series>() + 64;
/// What each of its labels takes: the pair of symbols, and its id in the list of those that have it.
const LABEL_BYTES: usize = 16;
/// What a text takes beside itself: its place, and that of the pair it is mostly the value of.
const SYMBOL_BYTES: usize = 96;

/// A series in memory.
#[derive(Debug)]
pub(crate) struct Series {
    /// Sorted by the names' texts.
    pub(crate) labels: Box<[(Symbol, Symbol)]>,
    hash: u32,
    /// Its place when all are sorted by labels.
    rank: u32,
    pub(crate) head: Head,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) symbols: Symbols,
    pub(crate) postings: Postings,
    series: HashMap<Id, Box<Series>>,
    /// Labels of all series together.
    labels: usize,
    /// Hash and id.
    table: HashTable<(u32, Id)>,
    hasher: DefaultHashBuilder,
    /// Sorted by labels; may hold ids of series that are gone.
    ranked: Vec<Id>,
    unranked: Vec<Id>,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.series.len() * SERIES_BYTES
            + self.labels * LABEL_BYTES
            + self.symbols.len() * SYMBOL_BYTES
            + self.symbols.bytes()
    }

    /// The hash of labels, for [`Self::find`] and [`Self::insert`].
    pub(crate) fn hash<'a>(&self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        for (name, value) in pairs {
            hasher.write(name.as_bytes());
            hasher.write(value.as_bytes());
        }
        hasher.finish() as u32
    }

    /// The series with these labels, sorted by name.
    pub(crate) fn find<'a>(
        &self,
        hash: u32,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Option<Id> {
        let is_it = |(known, id): &(u32, Id)| {
            *known == hash && self.series.get(id).is_some_and(|s| self.has(s, pairs.clone()))
        };
        self.table.find(spread(hash), is_it).map(|(_, id)| *id)
    }

    fn has<'a>(
        &self,
        series: &Series,
        mut pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> bool {
        let text = |symbol: Symbol| self.symbols.text(symbol);
        let same = series.labels.iter().all(|(name, value)| {
            pairs.next().is_some_and(|(n, v)| n == text(*name) && v == text(*value))
        });
        same && pairs.next().is_none()
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Series> {
        self.series.get(&id).map(|series| &**series)
    }

    pub(crate) fn head(&mut self, id: Id) -> Option<&mut Head> {
        self.series.get_mut(&id).map(|series| &mut series.head)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &Series)> {
        self.series.iter().map(|(id, series)| (*id, &**series))
    }

    pub(crate) fn heads(&mut self) -> impl Iterator<Item = (Id, &mut Head)> {
        self.series.iter_mut().map(|(id, series)| (*id, &mut series.head))
    }

    /// Adds a series that is not there; its id is higher than all before.
    pub(crate) fn insert<'a>(
        &mut self,
        id: Id,
        hash: u32,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        let symbols = &mut self.symbols;
        let labels: Box<[_]> = pairs.map(|(n, v)| (symbols.intern(n), symbols.intern(v))).collect();
        self.labels += labels.len();
        self.postings.insert(id, &labels);
        self.table.insert_unique(spread(hash), (hash, id), |(hash, _)| spread(*hash));
        let series = Series { labels, hash, rank: UNRANKED, head: Head::default() };
        self.series.insert(id, Box::new(series));
        self.unranked.push(id);
    }

    pub(crate) fn remove(&mut self, ids: &[Id]) {
        let mut dead = Vec::new();
        for id in ids {
            let Some(series) = self.series.remove(id) else { continue };
            let entry = self.table.find_entry(spread(series.hash), |(_, other)| other == id);
            if let Ok(entry) = entry {
                entry.remove();
            }
            self.labels -= series.labels.len();
            dead.push((*id, series.labels));
        }
        self.postings.remove(&dead);
        for (name, value) in dead.iter().flat_map(|(_, labels)| labels.iter()) {
            self.symbols.release(*name);
            self.symbols.release(*value);
        }
        let series = &self.series;
        self.unranked.retain(|id| series.contains_key(id));
    }

    /// A series' labels.
    pub(crate) fn labels(&self, series: &Series) -> Labels {
        let text = |symbol: Symbol| self.symbols.text(symbol);
        Labels::from_sorted(series.labels.iter().map(|(n, v)| (text(*n), text(*v))))
    }

    /// Gives new series their rank when they are more than a few.
    pub(crate) fn rank(&mut self) {
        if self.unranked.len() <= UNRANKED_MAX {
            return;
        }
        let mut new = std::mem::take(&mut self.unranked);
        new.sort_unstable_by(|a, b| self.order(*a, *b));
        let mut known = std::mem::take(&mut self.ranked);
        known.retain(|id| self.series.contains_key(id));
        let mut all = Vec::with_capacity(new.len() + known.len());
        let mut known = known.into_iter().peekable();
        for id in new {
            while let Some(before) = known.next_if(|k| self.order(*k, id).is_lt()) {
                all.push(before);
            }
            all.push(id);
        }
        all.extend(known);
        for (rank, id) in (0..).zip(&all) {
            if let Some(series) = self.series.get_mut(id) {
                series.rank = rank;
            }
        }
        self.ranked = all;
    }

    /// How two series are sorted.
    fn order(&self, a: Id, b: Id) -> Ordering {
        let (Some(a), Some(b)) = (self.series.get(&a), self.series.get(&b)) else {
            return a.cmp(&b);
        };
        let differ = a.labels.iter().zip(&b.labels).find(|(a, b)| a != b);
        differ.map_or(a.labels.len().cmp(&b.labels.len()), |(a, b)| {
            let text = |symbol: Symbol| self.symbols.text(symbol);
            (text(a.0), text(a.1)).cmp(&(text(b.0), text(b.1)))
        })
    }

    /// The series that all matchers mean, sorted by labels.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<Id> {
        let ids = self.matching(matchers);
        let mut ranked: Vec<(u32, Id)> = Vec::with_capacity(ids.len());
        let mut new = Vec::new();
        for id in ids {
            match self.series.get(&id).map(|series| series.rank) {
                Some(UNRANKED) => new.push(id),
                Some(rank) => ranked.push((rank, id)),
                None => {}
            }
        }
        ranked.sort_unstable();
        let mut sorted = ranked.into_iter().map(|(_, id)| id);
        if new.is_empty() {
            return sorted.collect();
        }
        new.sort_unstable_by(|a, b| self.order(*a, *b));
        let mut all = Vec::with_capacity(sorted.len() + new.len());
        let mut new = new.into_iter().peekable();
        for id in sorted.by_ref() {
            while let Some(before) = new.next_if(|n| self.order(*n, id).is_lt()) {
                all.push(before);
            }
            all.push(id);
        }
        all.extend(new);
        all
    }

    /// The same in the order of ids. What can be looked up is intersected, the rarest first; the other conditions
    /// are then asked once for each value that is left.
    pub(crate) fn matching(&self, matchers: &[Matcher]) -> Vec<Id> {
        let (mut lists, mut others) = (Vec::new(), Vec::new());
        for matcher in matchers {
            match self.looked_up(matcher) {
                Some(list) => lists.push(list),
                None => others.push(matcher),
            }
        }
        lists.sort_by_key(|list| list.len());
        let mut lists = lists.into_iter();
        let mut ids = match lists.next() {
            Some(rarest) => rarest.into_owned(),
            None => self.begin(&mut others),
        };
        lists.for_each(|list| postings::intersect(&mut ids, &list));
        others.into_iter().for_each(|matcher| self.filter(matcher, &mut ids));
        ids
    }

    fn looked_up(&self, matcher: &Matcher) -> Option<Cow<'_, [Id]>> {
        let texts = match matcher {
            Matcher::Equal(_, value) => std::slice::from_ref(value),
            Matcher::Regex(_, pattern) => pattern.texts()?,
            Matcher::NotEqual(..) | Matcher::NotRegex(..) => return None,
        };
        if texts.iter().any(String::is_empty) {
            return None;
        }
        let Some(name) = self.symbols.get(matcher.name()) else { return Some(Cow::default()) };
        let mut values = texts.iter().filter_map(|text| self.symbols.get(text));
        Some(match texts {
            [_] => Cow::Borrowed(values.next().map_or(&[], |v| self.postings.of(name, v))),
            _ => Cow::Owned(self.postings.any_of(name, values)),
        })
    }

    /// What to begin with when nothing can be looked up: the series that have a label which one of the
    /// conditions demands.
    fn begin(&self, others: &mut Vec<&Matcher>) -> Vec<Id> {
        let Some(at) = others.iter().position(|matcher| !matcher.means("")) else {
            return self.postings.all().to_vec();
        };
        let matcher = others.swap_remove(at);
        let Some(name) = self.symbols.get(matcher.name()) else { return Vec::new() };
        let values = self.postings.values(name).iter().copied();
        let meant = values.filter(|value| matcher.means(self.symbols.text(*value)));
        self.postings.any_of(name, meant)
    }

    fn filter(&self, matcher: &Matcher, ids: &mut Vec<Id>) {
        let none = matcher.means("");
        let Some(name) = self.symbols.get(matcher.name()) else {
            if !none {
                ids.clear();
            }
            return;
        };
        let mut known: HashMap<Symbol, bool> = HashMap::new();
        ids.retain(|id| {
            let Some(series) = self.series.get(id) else { return false };
            match series.labels.iter().find(|(n, _)| *n == name) {
                None => none,
                Some((_, value)) => {
                    *known.entry(*value).or_insert_with(|| matcher.means(self.symbols.text(*value)))
                }
            }
        });
    }
}

/// A hash for the table from the half of it that is kept.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests;
