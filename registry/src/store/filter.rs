//! Says that a row is not in a memtable, without a search: most rows that are looked up are in none or in one of them.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::mvcc::Table;

/// Bits of a memtable's filter: 128 KiB, eleven for each row that a full memtable can have of these tables.
const BITS: usize = 1 << 20;
/// Bits of a row: one row of 200 or so is then looked for in vain.
const PROBES: u32 = 4;
/// The tables in which single rows are looked up. Of the others any row may be there.
const TABLES: [u8; 2] = [Table::Latest as u8, Table::Leases as u8];

/// A Bloom filter to which one task adds while any number ask. Who sees a row sees its bits, too: whatever lets it see the
/// row comes after both.
pub(super) struct Filter {
    hasher: RandomState,
    words: Box<[AtomicU64]>,
}

impl Filter {
    pub(super) fn new() -> Self {
        let words = (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: RandomState::new(), words }
    }

    pub(super) fn add(&self, row: &[u8]) {
        for (word, bit) in self.places(row).into_iter().flatten() {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// False: the row was not added.
    pub(super) fn may_have(&self, row: &[u8]) -> bool {
        let mut places = self.places(row).into_iter().flatten();
        places.all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// The row's bits; none of a row of another table.
    fn places(&self, row: &[u8]) -> Option<impl Iterator<Item = (&AtomicU64, u64)>> {
        let looked_up = row.first().is_some_and(|table| TABLES.contains(table));
        looked_up.then(|| {
            let hash = self.hasher.hash_one(row);
            let (first, step) = (hash as u32, (hash >> 32) as u32 | 1);
            (0..PROBES).map(move |probe| {
                let bit = first.wrapping_add(step.wrapping_mul(probe)) as usize % BITS;
                (&self.words[bit / 64], 1 << (bit % 64))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: Table, number: u32) -> Vec<u8> {
        [&[table as u8][..], format!("/services/{number}").as_bytes()].concat()
    }

    #[test]
    fn what_was_added_is_never_denied_and_little_else_is_not() {
        let filter = Filter::new();
        (0..100_000).for_each(|number| filter.add(&row(Table::Latest, number)));
        assert!((0..100_000).all(|number| filter.may_have(&row(Table::Latest, number))));
        let others = (100_000..200_000).map(|number| row(Table::Latest, number));
        let in_vain = others.filter(|row| filter.may_have(row)).count();
        assert!(in_vain < 2_500, "{in_vain} of 100,000");
    }

    #[test]
    fn of_other_tables_any_row_may_be_there() {
        for table in [Table::History, Table::Events, Table::LeaseKeys, Table::Meta] {
            assert!(Filter::new().may_have(&row(table, 1)), "{table:?}");
        }
        assert!(!Filter::new().may_have(&row(Table::Leases, 1)));
    }
}
