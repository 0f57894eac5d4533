//! Which metrics and labels make so many series.

use super::Memory;
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

    /// For an error: the metric with most series and the label with most values.
    pub(crate) fn culprits(&self) -> String {
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
