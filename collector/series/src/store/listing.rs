//! Which series, label names and values there are: for completion, without reading a sample.

use std::collections::BTreeSet;

use crate::{Labels, Matcher, head::Head, memory::Memory, postings::Id, store::SeriesStore};

impl SeriesStore {
    /// The labels of series that one of the selectors means (all, when there is none) and that have samples
    /// between two times, as far as is known without reading them; sorted, at most `limit`.
    #[must_use]
    pub fn series(
        &self,
        selectors: &[Vec<Matcher>],
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> Vec<Labels> {
        let memory = self.read();
        let ids = meant(&memory, selectors).into_iter();
        let spanning =
            ids.filter_map(|id| memory.index.get(id).filter(|s| s.head.spans(from_ms, to_ms)));
        let mut all: Vec<_> = spanning.map(|series| memory.index.labels(series)).collect();
        all.sort_unstable();
        all.truncate(limit);
        all
    }

    /// The label names of such series, sorted, at most `limit`.
    #[must_use]
    pub fn label_names(
        &self,
        selectors: &[Vec<Matcher>],
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> Vec<String> {
        let memory = self.read();
        let index = &memory.index;
        let spans = |head: &Head| head.spans(from_ms, to_ms);
        let names: BTreeSet<_> = if selectors.is_empty() {
            let has = |value: &u32, name: u32| {
                let mut ids = index.postings.of(name, *value).iter();
                ids.any(|id| index.get(*id).is_some_and(|s| spans(&s.head)))
            };
            let names = index.postings.names();
            let names = names.filter(|(name, values)| values.iter().any(|value| has(value, *name)));
            names.map(|(name, _)| index.symbols.text(name)).collect()
        } else {
            let found = meant(&memory, selectors).into_iter().filter_map(|id| index.get(id));
            let found = found.filter(|series| spans(&series.head));
            let symbols: BTreeSet<_> =
                found.flat_map(|series| series.labels.iter().map(|(name, _)| *name)).collect();
            symbols.into_iter().map(|name| index.symbols.text(name)).collect()
        };
        names.into_iter().take(limit).map(str::to_owned).collect()
    }

    /// The values that such series have of a label, sorted, at most `limit`.
    #[must_use]
    pub fn label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> Vec<String> {
        let memory = self.read();
        let index = &memory.index;
        let Some(name) = index.symbols.get(name) else { return Vec::new() };
        let spans = |id: &Id| index.get(*id).is_some_and(|s| s.head.spans(from_ms, to_ms));
        let symbols: BTreeSet<_> = if selectors.is_empty() {
            let values = index.postings.values(name).iter().copied();
            values.filter(|value| index.postings.of(name, *value).iter().any(spans)).collect()
        } else {
            let ids = meant(&memory, selectors).into_iter().filter(|id| spans(id));
            let of = |id: Id| Some(index.get(id)?.labels.iter().find(|(n, _)| *n == name)?.1);
            ids.filter_map(of).collect()
        };
        let mut values: Vec<_> =
            symbols.into_iter().map(|value| index.symbols.text(value).to_owned()).collect();
        values.sort_unstable();
        values.truncate(limit);
        values
    }

    /// The first and the last time of all samples, as far as is known without reading them.
    #[must_use]
    pub fn times(&self) -> Option<(i64, i64)> {
        let memory = self.read();
        let heads = memory.index.iter().map(|(_, series)| &series.head);
        heads
            .filter_map(|head| Some((head.oldest_ms(), head.last_ms()?)))
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

/// The series that one of the selectors means; all, when there is none.
fn meant(memory: &Memory, selectors: &[Vec<Matcher>]) -> Vec<Id> {
    match selectors {
        [] => memory.index.postings.all().to_vec(),
        [one] => memory.index.matching(one),
        many => {
            let mut ids: Vec<_> = many.iter().flat_map(|m| memory.index.matching(m)).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        }
    }
}
