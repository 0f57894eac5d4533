//! What names a series: label names and values, sorted by name.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Labels, sorted by name, each name once, no value empty (in the Prometheus data model a label with an
/// empty value is one that is not there). Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Sorts the pairs; of two with one name the last holds, and empty values are dropped.
    #[must_use]
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut sorted = BTreeMap::new();
        for (name, value) in pairs {
            sorted.insert(Arc::<str>::from(name.as_ref()), Arc::<str>::from(value.as_ref()));
        }
        Self(sorted.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The same labels on another metric; the strings are shared.
    #[must_use]
    pub fn renamed(&self, metric: &str) -> Self {
        let name = (Arc::<str>::from(METRIC_NAME), Arc::<str>::from(metric));
        let at = self.0.binary_search_by(|(n, _)| (**n).cmp(METRIC_NAME));
        let mut pairs = self.0.to_vec();
        match at {
            Ok(at) => pairs[at].1 = name.1,
            Err(at) => pairs.insert(at, name),
        }
        Self(pairs.into())
    }

    /// A label's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// All labels, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The same labels on shared strings, so that a thousand series hold `collector="node-1"` once.
    pub(crate) fn interned(&self, strings: &mut HashSet<Arc<str>>) -> Self {
        let mut intern = |text: &Arc<str>| match strings.get(text) {
            Some(known) => known.clone(),
            None => {
                strings.insert(text.clone());
                text.clone()
            }
        };
        Self(self.0.iter().map(|(name, value)| (intern(name), intern(value))).collect())
    }

    /// From pairs that are sorted by name, each name once, no value empty.
    pub(crate) fn from_sorted(pairs: Vec<(Arc<str>, Arc<str>)>) -> Self {
        debug_assert!(pairs.is_sorted_by(|a, b| a.0 < b.0));
        Self(pairs.into())
    }

    /// The pairs, for an index that shares their strings.
    pub(crate) fn pairs(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.0
    }
}

impl fmt::Display for Labels {
    /// As PromQL writes it: `probe_success{service="web"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(METRIC_NAME).unwrap_or_default())?;
        f.write_str("{")?;
        let others = self.iter().filter(|(name, _)| *name != METRIC_NAME);
        for (at, (name, value)) in others.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_once_and_never_empty() {
        let labels =
            Labels::new([("service", "web"), ("__name__", "up"), ("zone", ""), ("service", "db")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("__name__", "up"), ("service", "db")]);
        assert_eq!(labels.get("service"), Some("db"));
        assert_eq!(labels.get("zone"), None);
        assert_eq!(labels.to_string(), r#"up{service="db"}"#);
        let renamed = Labels::new([("service", "db"), ("__name__", "down")]);
        assert_eq!(labels.renamed("down"), renamed);
        assert_eq!(Labels::new([("service", "db")]).renamed("down"), renamed);
    }

    #[test]
    fn interned_strings_are_shared() {
        let mut strings = HashSet::new();
        let one = Labels::new([("a", "x"), ("b", "x")]).interned(&mut strings);
        let two = Labels::new([("a", "x")]).interned(&mut strings);
        assert!(Arc::ptr_eq(&one.0[0].1, &two.0[0].1));
        assert!(Arc::ptr_eq(&one.0[0].1, &one.0[1].1));
        assert_eq!(strings.len(), 3);
    }
}
