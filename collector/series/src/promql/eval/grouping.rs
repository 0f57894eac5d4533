//! Which series belong together: `by`, `without`, `on`, `ignoring`. Labels are hashed once per series, and no label
//! set is built but one per group.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::{Labels, METRIC_NAME};

/// Part of a label set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grouping<'a> {
    /// Sorted, each once.
    names: &'a [String],
    without: bool,
}

impl<'a> Grouping<'a> {
    /// Only these labels.
    pub(super) fn by(names: &'a [String]) -> Self {
        Self { names, without: false }
    }

    /// All but these and the metric's name.
    pub(super) fn without(names: &'a [String]) -> Self {
        Self { names, without: true }
    }

    fn drops(&self, name: &str) -> bool {
        name == METRIC_NAME || self.names.binary_search_by(|n| n.as_str().cmp(name)).is_ok()
    }

    fn hash(&self, labels: &Labels) -> u64 {
        let mut hasher = DefaultHasher::new();
        if self.without {
            for (name, value) in labels.iter().filter(|(name, _)| !self.drops(name)) {
                name.hash(&mut hasher);
                value.hash(&mut hasher);
            }
        } else {
            for name in self.names {
                labels.get(name).unwrap_or_default().hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    fn same(&self, a: &Labels, b: &Labels) -> bool {
        if self.without {
            let mut a_kept = a.iter().filter(|(name, _)| !self.drops(name));
            let mut b_kept = b.iter().filter(|(name, _)| !self.drops(name));
            loop {
                match (a_kept.next(), b_kept.next()) {
                    (None, None) => return true,
                    (a, b) if a == b => {}
                    _ => return false,
                }
            }
        }
        self.names.iter().all(|name| a.get(name) == b.get(name))
    }

    /// That part as a label set.
    pub(super) fn labels(&self, labels: &Labels) -> Labels {
        let kept = |name: &str| {
            if self.without {
                !self.drops(name)
            } else {
                self.names.binary_search_by(|n| n.as_str().cmp(name)).is_ok()
            }
        };
        Labels::from_sorted(labels.iter().filter(|(name, _)| kept(name)))
    }
}

/// Numbers for groups, in the order in which they are first seen.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_hash: HashMap<u64, Vec<usize>>,
    /// The first member of each.
    members: Vec<Labels>,
}

impl Groups {
    /// The group of a series, and whether it is new.
    pub(super) fn of(&mut self, grouping: &Grouping<'_>, labels: &Labels) -> (usize, bool) {
        let same_hash = self.by_hash.entry(grouping.hash(labels)).or_default();
        let members = &self.members;
        if let Some(&group) = same_hash.iter().find(|g| grouping.same(&members[**g], labels)) {
            return (group, false);
        }
        let group = self.members.len();
        same_hash.push(group);
        self.members.push(labels.clone());
        (group, true)
    }

    /// The first member of each group.
    pub(super) fn members(&self) -> &[Labels] {
        &self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_as_their_label_sets_say() {
        let series = [
            Labels::new([("__name__", "up"), ("a", "1"), ("b", "1")]),
            Labels::new([("__name__", "down"), ("a", "1"), ("b", "1")]),
            Labels::new([("__name__", "up"), ("a", "1"), ("b", "2")]),
            Labels::new([("__name__", "up"), ("b", "1")]),
        ];
        let (a, name) = (["a".to_owned()], ["__name__".to_owned()]);
        for (grouping, expected) in [
            (Grouping::by(&a), vec![0, 0, 0, 1]),
            (Grouping::by(&[]), vec![0, 0, 0, 0]),
            (Grouping::by(&name), vec![0, 1, 0, 0]),
            (Grouping::without(&a), vec![0, 0, 1, 0]),
            (Grouping::without(&[]), vec![0, 0, 1, 2]),
        ] {
            let mut groups = Groups::default();
            let found: Vec<usize> = series.iter().map(|s| groups.of(&grouping, s).0).collect();
            assert_eq!(found, expected, "{grouping:?}");
            for (labels, group) in series.iter().zip(found) {
                let of_group = grouping.labels(&groups.members()[group]);
                assert_eq!(grouping.labels(labels), of_group, "{grouping:?}");
            }
        }
    }
}
