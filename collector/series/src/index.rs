//! Which series there are: labels to id, id to head, and for each label value the ids that have it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{Labels, Matcher, head::Head};

/// A series in memory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) labels: Labels,
    pub(crate) head: Head,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    ids: HashMap<Labels, u64>,
    entries: HashMap<u64, Entry>,
    postings: HashMap<Arc<str>, HashMap<Arc<str>, BTreeSet<u64>>>,
    strings: HashSet<Arc<str>>,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn id(&self, labels: &Labels) -> Option<u64> {
        self.ids.get(labels).copied()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(crate) fn head(&mut self, id: u64) -> Option<&mut Head> {
        self.entries.get_mut(&id).map(|entry| &mut entry.head)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    pub(crate) fn heads(&mut self) -> impl Iterator<Item = (u64, &mut Head)> {
        self.entries.iter_mut().map(|(id, entry)| (*id, &mut entry.head))
    }

    /// Adds a series that is not there; answers with its labels as the index keeps them.
    pub(crate) fn insert(&mut self, id: u64, labels: &Labels, head: Head) -> Labels {
        let labels = labels.interned(&mut self.strings);
        for (name, value) in labels.pairs() {
            let values = self.postings.entry(name.clone()).or_default();
            values.entry(value.clone()).or_default().insert(id);
        }
        self.ids.insert(labels.clone(), id);
        self.entries.insert(id, Entry { labels: labels.clone(), head });
        labels
    }

    pub(crate) fn remove(&mut self, id: u64) {
        let Some(Entry { labels, .. }) = self.entries.remove(&id) else { return };
        self.ids.remove(&labels);
        for (name, value) in labels.pairs() {
            let Some(values) = self.postings.get_mut(name) else { continue };
            if let Some(ids) = values.get_mut(value) {
                ids.remove(&id);
                if ids.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
    }

    /// Forgets strings that no series has any more.
    pub(crate) fn forget_strings(&mut self) {
        self.strings.retain(|text| Arc::strong_count(text) > 1);
    }

    /// The series that all matchers mean. The rarest `name="value"` among them bounds the work.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<(u64, &Entry)> {
        let none = BTreeSet::new();
        let rarest = matchers
            .iter()
            .filter_map(|matcher| match matcher {
                Matcher::Equal(name, value) if !value.is_empty() => {
                    let values = self.postings.get(name.as_str());
                    Some(values.and_then(|v| v.get(value.as_str())).unwrap_or(&none))
                }
                _ => None,
            })
            .min_by_key(|ids| ids.len());
        let meant = |(_, entry): &(u64, &Entry)| matchers.iter().all(|m| m.matches(&entry.labels));
        match rarest {
            Some(ids) => {
                let found = ids.iter().filter_map(|id| Some((*id, self.entries.get(id)?)));
                found.filter(meant).collect()
            }
            None => self.iter().filter(meant).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn select_and_remove() {
        let mut index = Index::default();
        for (id, service) in [(1, "web"), (2, "db"), (3, "web")] {
            let zone = format!("z{id}");
            let labels = [("__name__", "up"), ("service", service), ("zone", &zone)];
            index.insert(id, &Labels::new(labels), Head::default());
        }
        let equal = |name: &str, value: &str| Matcher::Equal(name.into(), value.into());
        let ids = |index: &Index, matchers: &[Matcher]| {
            let mut ids: Vec<_> = index.select(matchers).into_iter().map(|(id, _)| id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(&index, &[]), [1, 2, 3]);
        assert_eq!(ids(&index, &[equal("service", "web")]), [1, 3]);
        assert_eq!(ids(&index, &[equal("service", "web"), equal("zone", "z3")]), [3]);
        assert_eq!(ids(&index, &[equal("zone", "z9")]), [0_u64; 0]);
        assert_eq!(ids(&index, &[equal("nothing", "")]), [1, 2, 3]);
        index.remove(3);
        index.forget_strings();
        assert_eq!(ids(&index, &[equal("service", "web")]), [1]);
        index.remove(1);
        index.remove(2);
        index.forget_strings();
        assert!(index.postings.is_empty() && index.ids.is_empty() && index.strings.is_empty());
    }
}
