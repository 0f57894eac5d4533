//! Which metrics and labels make so many series.

use super::{CULPRITS_MS, Memory};
use crate::{METRIC_NAME, symbols::Symbol};

/// A name and how much of it there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// A metric, a label, or `label=value`.
    pub name: String,
    /// How many, or how many bytes.
    pub value: u64,
}

/// What takes most room in the index, each list with the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Label pairs there are.
    pub label_pairs: usize,
    /// Metrics by how many series they have.
    pub series_by_metric: Vec<Count>,
    /// Labels by how many values they have.
    pub values_by_label: Vec<Count>,
    /// Labels by the bytes of all their values.
    pub bytes_by_label: Vec<Count>,
    /// `label=value` by how many series have it.
    pub series_by_pair: Vec<Count>,
}

impl Memory {
    /// The `limit` largest of each kind.
    pub(crate) fn cardinality(&self, limit: usize) -> Cardinality {
        let (symbols, postings) = (&self.index.symbols, &self.index.postings);
        let text = |symbol: Symbol| symbols.text(symbol);
        let series = |name, value| postings.of(name, value).len() as u64;
        let metric = symbols.get(METRIC_NAME);
        let metrics = metric.into_iter().flat_map(|name| {
            postings.values(name).iter().map(move |value| (series(name, *value), (name, *value)))
        });
        let labels = |size: &dyn Fn(&[Symbol]) -> u64| {
            let all = postings.names().map(|(name, values)| (size(values), name));
            top(all, limit, |name| text(*name).to_owned())
        };
        let pairs = postings.names().flat_map(|(name, values)| {
            values.iter().map(move |value| (series(name, *value), (name, *value)))
        });
        Cardinality {
            label_pairs: postings.names().map(|(_, values)| values.len()).sum(),
            series_by_metric: top(metrics, limit, |(_, value)| text(*value).to_owned()),
            values_by_label: labels(&|values| values.len() as u64),
            bytes_by_label: labels(&|values| values.iter().map(|v| text(*v).len() as u64).sum()),
            series_by_pair: top(pairs, limit, |(n, v)| format!("{}={}", text(*n), text(*v))),
        }
    }

    /// [`Self::culprits`] as they were when they were last looked for.
    pub(super) fn culprits_at(&mut self, now_ms: i64) -> String {
        let is_fresh = |at: i64| now_ms.abs_diff(at) < CULPRITS_MS.unsigned_abs();
        if let Some((_, text)) = self.culprits.as_ref().filter(|(at, _)| is_fresh(*at)) {
            return text.clone();
        }
        let text = self.culprits();
        self.culprits = Some((now_ms, text.clone()));
        text
    }

    /// For an error: the metric with most series and the label with most values.
    fn culprits(&self) -> String {
        let most = self.cardinality(1);
        let of = |counts: &[Count]| {
            counts.first().map_or((String::new(), 0), |c| (c.name.clone(), c.value))
        };
        let ((metric, series), (label, values)) =
            (of(&most.series_by_metric), of(&most.values_by_label));
        format!("metric {metric:?} has {series} series, label {label:?} has {values} values")
    }
}

fn top<T: Ord>(
    all: impl Iterator<Item = (u64, T)>,
    limit: usize,
    name: impl Fn(&T) -> String,
) -> Vec<Count> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.truncate(limit);
    all.iter().map(|(value, what)| Count { name: name(what), value: *value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Sample, SeriesError, schema::Meta};

    /// Looking at all series for each request that is refused would leave no time for those that are taken.
    #[test]
    fn culprits_are_looked_for_once_a_minute() {
        let options = Options { series_max: 1, retention_ms: i64::MAX, ..Options::default() };
        let mut memory = Memory::new(options, Meta::default());
        let refused = |memory: &mut Memory, now_ms| {
            let sample = [Sample { timestamp_ms: now_ms, value: 1.0 }];
            let pairs = [("a", "1"), ("a", "2")];
            let once = std::iter::once;
            let batch = pairs.iter().map(|pair| (None, once(*pair), &sample[..], &[][..]));
            let SeriesError::SeriesMax { culprits, .. } = memory.append(batch, now_ms).unwrap_err()
            else {
                panic!()
            };
            culprits
        };
        let first = refused(&mut memory, 0);
        assert!(first.contains("label \"a\" has 1 values"), "{first}");
        memory.culprits = Some((0, "known".to_owned()));
        assert_eq!(refused(&mut memory, CULPRITS_MS - 1), "known");
        assert_eq!(refused(&mut memory, CULPRITS_MS), first);
    }
}
