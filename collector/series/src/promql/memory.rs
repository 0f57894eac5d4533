//! A small [`Queryable`] in memory: for tests of rules and of the engine. Linear in its series; not for production.

use std::collections::BTreeMap;

use crate::{Labels, Matcher, Points, Queryable, SeriesError};

/// Series in memory.
#[derive(Debug, Clone, Default)]
pub struct MemorySeries(BTreeMap<Labels, Points>);

impl MemorySeries {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds points to the series of their labels; where a time is there already, the new sample replaces it.
    pub fn insert(&mut self, points: Points) {
        let entry = self
            .0
            .entry(points.labels.clone())
            .or_insert_with(|| Points { labels: points.labels.clone(), ..Points::default() });
        for float in points.floats {
            entry.histograms.retain(|h| h.timestamp_ms != float.timestamp_ms);
            put(&mut entry.floats, float, |s| s.timestamp_ms);
        }
        for histogram in points.histograms {
            entry.floats.retain(|s| s.timestamp_ms != histogram.timestamp_ms);
            put(&mut entry.histograms, histogram, |h| h.timestamp_ms);
        }
        for start in points.starts {
            put(&mut entry.starts, start, |s| s.timestamp_ms);
        }
    }

    /// All series, sorted by labels.
    pub fn iter(&self) -> impl Iterator<Item = &Points> {
        self.0.values()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Inserts in time order; appending, the usual case, is constant.
fn put<T>(items: &mut Vec<T>, item: T, time: impl Fn(&T) -> i64) {
    let at = time(&item);
    match items.last() {
        Some(last) if time(last) >= at => {
            match items.binary_search_by_key(&at, &time) {
                Ok(found) => items[found] = item,
                Err(gap) => items.insert(gap, item),
            };
        }
        _ => items.push(item),
    }
}

impl Queryable for MemorySeries {
    fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
        samples_max: usize,
        each: &mut dyn FnMut(&Labels, &mut Points) -> Result<(), SeriesError>,
    ) -> Result<(), SeriesError> {
        let mut left = samples_max;
        for (labels, points) in &self.0 {
            if !matchers.iter().all(|m| m.matches(labels)) {
                continue;
            }
            let mut found = Points {
                labels: labels.clone(),
                floats: within(&points.floats, from_ms, to_ms, |s| s.timestamp_ms),
                histograms: within(&points.histograms, from_ms, to_ms, |h| h.timestamp_ms),
                starts: within(&points.starts, from_ms, to_ms, |s| s.timestamp_ms),
            };
            let count = found.floats.len() + found.histograms.len();
            left = left.checked_sub(count).ok_or(SeriesError::SamplesMax(samples_max))?;
            if count > 0 {
                each(labels, &mut found)?;
            }
        }
        Ok(())
    }
}

fn within<T: Clone>(items: &[T], from_ms: i64, to_ms: i64, time: impl Fn(&T) -> i64) -> Vec<T> {
    let start = items.partition_point(|item| time(item) < from_ms);
    let end = items.partition_point(|item| time(item) <= to_ms).max(start);
    items[start..end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    #[test]
    fn adds_up_in_time_order() {
        let labels = Labels::new([("__name__", "up")]);
        let point = |timestamp_ms, value| Points {
            labels: labels.clone(),
            floats: vec![Sample { timestamp_ms, value }],
            ..Points::default()
        };
        let mut memory = MemorySeries::new();
        for (at, value) in [(10, 1.0), (30, 3.0), (20, 2.0), (30, 4.0)] {
            memory.insert(point(at, value));
        }
        let mut seen = Vec::new();
        let read = memory.select(&[], 20, 30, 2, &mut |_, points| {
            seen.extend(points.floats.iter().map(|s| s.value));
            Ok(())
        });
        assert!(read.is_ok());
        assert_eq!(seen, [2.0, 4.0]);
        let error = memory.select(&[], 0, 30, 2, &mut |_, _| Ok(()));
        assert!(matches!(error, Err(SeriesError::SamplesMax(2))));
    }
}
