//! Which series, label names and values there are: for completion, without reading a sample.

use std::collections::BTreeSet;

use crate::{
    Labels, Matcher, SeriesError, head::Head, memory::Memory, postings::Id, store::SeriesStore,
};

/// Series that are looked at between two questions whether to stop.
const STRIDE: u32 = 4_096;

/// Asks now and then whether to stop: while the lock is held nothing is ingested.
struct Patience<'a> {
    stop: &'a dyn Fn() -> bool,
    left: u32,
}

impl<'a> Patience<'a> {
    fn new(stop: &'a dyn Fn() -> bool) -> Self {
        Self { stop, left: 0 }
    }

    /// Goes on by one series.
    fn tick(&mut self) -> Result<(), SeriesError> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None if (self.stop)() => return Err(SeriesError::Stopped),
            None => self.left = STRIDE - 1,
        }
        Ok(())
    }
}

impl SeriesStore {
    /// The labels of series that one of the selectors means (all, when there is none) and that have samples
    /// between two times, as far as is known without reading them; sorted, at most `limit`.
    ///
    /// # Errors
    /// [`SeriesError::Stopped`] when `stop` says so, which is asked every few thousand series.
    pub fn series(
        &self,
        selectors: &[Vec<Matcher>],
        (from_ms, to_ms): (i64, i64),
        limit: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Labels>, SeriesError> {
        let (memory, mut patience) = (self.read(), Patience::new(stop));
        let mut all = Vec::new();
        for id in meant(&memory, selectors) {
            patience.tick()?;
            let series = memory.index.get(id).filter(|s| s.head.spans(from_ms, to_ms));
            all.extend(series.map(|series| memory.index.labels(series)));
        }
        drop(memory);
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }

    /// The label names of such series, sorted, at most `limit`.
    ///
    /// # Errors
    /// As [`Self::series`].
    pub fn label_names(
        &self,
        selectors: &[Vec<Matcher>],
        (from_ms, to_ms): (i64, i64),
        limit: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<String>, SeriesError> {
        let (memory, mut patience) = (self.read(), Patience::new(stop));
        let index = &memory.index;
        let spans = |head: &Head| head.spans(from_ms, to_ms);
        let mut symbols = BTreeSet::new();
        if selectors.is_empty() {
            for (name, values) in index.postings.names() {
                'values: for value in values {
                    for id in index.postings.of(name, *value) {
                        patience.tick()?;
                        if index.get(*id).is_some_and(|s| spans(&s.head)) {
                            symbols.insert(name);
                            break 'values;
                        }
                    }
                }
            }
        } else {
            for id in meant(&memory, selectors) {
                patience.tick()?;
                if let Some(series) = index.get(id).filter(|series| spans(&series.head)) {
                    symbols.extend(series.labels.iter().map(|(name, _)| *name));
                }
            }
        }
        let names: BTreeSet<_> = symbols.into_iter().map(|name| index.symbols.text(name)).collect();
        Ok(names.into_iter().take(limit).map(str::to_owned).collect())
    }

    /// The values that such series have of a label, sorted, at most `limit`.
    ///
    /// # Errors
    /// As [`Self::series`].
    pub fn label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        (from_ms, to_ms): (i64, i64),
        limit: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<String>, SeriesError> {
        let (memory, mut patience) = (self.read(), Patience::new(stop));
        let index = &memory.index;
        let Some(name) = index.symbols.get(name) else { return Ok(Vec::new()) };
        let spans = |id: &Id| index.get(*id).filter(|s| s.head.spans(from_ms, to_ms));
        let mut symbols = BTreeSet::new();
        if selectors.is_empty() {
            for value in index.postings.values(name).iter().copied() {
                for id in index.postings.of(name, value) {
                    patience.tick()?;
                    if spans(id).is_some() {
                        symbols.insert(value);
                        break;
                    }
                }
            }
        } else {
            for id in meant(&memory, selectors) {
                patience.tick()?;
                let value = spans(&id).and_then(|s| s.labels.iter().find(|(n, _)| *n == name));
                symbols.extend(value.map(|(_, value)| *value));
            }
        }
        let mut values: Vec<_> =
            symbols.into_iter().map(|value| index.symbols.text(value).to_owned()).collect();
        drop(memory);
        values.sort_unstable();
        values.truncate(limit);
        Ok(values)
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
