//! Which series labels name, for those who hand over the same [`Labels`] again and again: found by where they lie, so that
//! they need neither be hashed nor compared. A copy of them is kept here, so that nothing else can come to lie there.

use hashbrown::{HashTable, hash_table::Entry};

use crate::{Labels, postings::Id};

/// Labels that are remembered at most; further ones are looked up each time.
const HINTS_MAX: usize = 1_000_000;
/// About what one takes: its place in the table, which is never full.
const HINT_BYTES: usize = 2 * size_of::<(Labels, Id)>();

#[derive(Debug, Default)]
pub(super) struct Hints(HashTable<(Labels, Id)>);

impl Hints {
    /// The series that they named last; it may be gone.
    pub(super) fn get(&self, labels: &Labels) -> Option<Id> {
        let address = labels.address();
        let found = self.0.find(spread(address), |(known, _)| known.address() == address);
        found.map(|(_, id)| *id)
    }

    /// Remembers them, if somebody keeps them, so that they may come again.
    pub(super) fn put(&mut self, labels: &Labels, id: Id) {
        // One of the copies is in the batch.
        if labels.copies() < 2 || self.0.len() >= HINTS_MAX {
            return;
        }
        let address = labels.address();
        let is_it = |(known, _): &(Labels, Id)| known.address() == address;
        match self.0.entry(spread(address), is_it, |(known, _)| spread(known.address())) {
            Entry::Occupied(mut known) => known.get_mut().1 = id,
            Entry::Vacant(place) => {
                place.insert((labels.clone(), id));
            }
        }
    }

    /// Forgets those that nobody else keeps.
    pub(super) fn forget(&mut self) {
        self.0.retain(|(labels, _)| labels.copies() > 1);
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * HINT_BYTES
    }
}

/// A hash: all bits of an address count.
fn spread(address: usize) -> u64 {
    let mixed = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_somebody_keeps_are_known_by_where_they_lie() {
        let (mut hints, kept) = (Hints::default(), Labels::new([("a", "b")]));
        hints.put(&kept, 7);
        assert_eq!(hints.get(&kept), None, "there is no copy");
        let copy = kept.clone();
        hints.put(&copy, 7);
        assert_eq!((hints.get(&kept), hints.get(&copy)), (Some(7), Some(7)));
        assert_eq!(hints.get(&Labels::new([("a", "b")])), None, "they lie elsewhere");
        hints.put(&copy, 8);
        assert_eq!((hints.get(&kept), hints.0.len()), (Some(8), 1));
        hints.forget();
        assert_eq!(hints.get(&kept), Some(8));
        drop((kept, copy));
        hints.forget();
        assert_eq!(hints.bytes(), 0);
    }
}
