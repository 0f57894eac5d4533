//! For each label value, the series that have it: sorted lists of ids, and sets made of them.

use hashbrown::{HashMap, HashSet};

use crate::symbols::Symbol;

/// Names a series; rises with every new one and never comes again.
pub(crate) type Id = u32;

/// A series' labels.
pub(crate) type Pairs = Box<[(Symbol, Symbol)]>;

#[derive(Debug, Default)]
pub(crate) struct Postings {
    all: Vec<Id>,
    /// The values of each name.
    names: HashMap<Symbol, Vec<Symbol>>,
    pairs: HashMap<(Symbol, Symbol), Ids>,
}

/// Most pairs are of few series, and many of one.
#[derive(Debug)]
enum Ids {
    One(Id),
    Many(Vec<Id>),
}

impl Ids {
    fn as_slice(&self) -> &[Id] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

impl Postings {
    /// Adds a series; its id is higher than those of all others.
    pub(crate) fn insert(&mut self, id: Id, labels: &[(Symbol, Symbol)]) {
        self.all.push(id);
        for pair in labels {
            match self.pairs.get_mut(pair) {
                Some(Ids::Many(ids)) => ids.push(id),
                Some(one @ Ids::One(_)) => {
                    let ids = [one.as_slice(), &[id]].concat();
                    *one = Ids::Many(ids);
                }
                None => {
                    self.names.entry(pair.0).or_default().push(pair.1);
                    self.pairs.insert(*pair, Ids::One(id));
                }
            }
        }
    }

    /// Removes series with their labels.
    pub(crate) fn remove(&mut self, dead: &[(Id, Pairs)]) {
        let ids: HashSet<_> = dead.iter().map(|(id, _)| *id).collect();
        self.all.retain(|id| !ids.contains(id));
        let touched: HashSet<_> = dead.iter().flat_map(|(_, labels)| labels.iter()).collect();
        let mut emptied: HashMap<Symbol, HashSet<Symbol>> = HashMap::new();
        for pair in touched {
            let is_empty = match self.pairs.get_mut(pair) {
                Some(Ids::One(id)) => ids.contains(id),
                Some(Ids::Many(many)) => {
                    many.retain(|id| !ids.contains(id));
                    many.shrink_to_fit();
                    many.is_empty()
                }
                None => continue,
            };
            if is_empty {
                self.pairs.remove(pair);
                emptied.entry(pair.0).or_default().insert(pair.1);
            }
        }
        for (name, values) in emptied {
            if let Some(all) = self.names.get_mut(&name) {
                all.retain(|value| !values.contains(value));
                if all.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
    }

    /// All series.
    pub(crate) fn all(&self) -> &[Id] {
        &self.all
    }

    /// The series with this label.
    pub(crate) fn of(&self, name: Symbol, value: Symbol) -> &[Id] {
        self.pairs.get(&(name, value)).map_or(&[], Ids::as_slice)
    }

    /// The values of a label, in no order.
    pub(crate) fn values(&self, name: Symbol) -> &[Symbol] {
        self.names.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Every label name with its values, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Symbol, &[Symbol])> {
        self.names.iter().map(|(name, values)| (*name, values.as_slice()))
    }

    /// The series that have any of the values: a series has one of a name, so the lists are disjoint.
    pub(crate) fn any_of(&self, name: Symbol, values: impl Iterator<Item = Symbol>) -> Vec<Id> {
        let mut ids: Vec<_> = values.flat_map(|value| self.of(name, value)).copied().collect();
        // They are sorted runs, which this sort uses.
        ids.sort();
        ids
    }
}

/// Leaves in `ids` what is in `others`, too; both are sorted. Work grows with the shorter list: it is looked up
/// in the longer one by galloping.
pub(crate) fn intersect(ids: &mut Vec<Id>, others: &[Id]) {
    let mut rest = others;
    ids.retain(|id| {
        let mut step = 1;
        while step < rest.len() && rest[step] < *id {
            step *= 2;
        }
        let within = &rest[..rest.len().min(step + 1)];
        rest = &rest[within.partition_point(|other| other < id)..];
        rest.first() == Some(id)
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn intersections(
            a in prop::collection::btree_set(0..500_u32, 0..60),
            b in prop::collection::btree_set(0..500_u32, 0..400),
        ) {
            let expected: Vec<_> = a.intersection(&b).copied().collect();
            for (a, b) in [(&a, &b), (&b, &a)] {
                let mut ids: Vec<_> = a.iter().copied().collect();
                intersect(&mut ids, &b.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(&ids, &expected);
            }
        }

        #[test]
        fn what_is_removed_is_gone(
            series in prop::collection::vec((0..3_u32, 0..30_u32), 1..60),
            dead in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let dead: BTreeSet<_> = dead.iter().map(|at| at.index(series.len())).collect();
            let (mut postings, mut expected) = (Postings::default(), Postings::default());
            for (id, pair) in series.iter().enumerate() {
                postings.insert(id as Id, &[*pair]);
                if !dead.contains(&id) {
                    expected.insert(id as Id, &[*pair]);
                }
            }
            let dead: Vec<_> =
                dead.iter().map(|id| (*id as Id, Box::from([series[*id]]))).collect();
            postings.remove(&dead);
            prop_assert_eq!(postings.all(), expected.all());
            prop_assert_eq!(postings.names.len(), expected.names.len());
            prop_assert_eq!(postings.pairs.len(), expected.pairs.len());
            for (name, value) in series {
                prop_assert_eq!(postings.of(name, value), expected.of(name, value));
                prop_assert_eq!(postings.values(name).len(), expected.values(name).len());
            }
        }
    }
}
