//! What a compaction may forget, told by a row's key alone: each version that ceased to stand at or below the
//! revision, and each event below it. Events at the revision stay, since a watch may still begin there (etcd's
//! `key_index.go`, `compact`).

use super::{
    keys::{ended_at, event_revision},
    view::Table,
};

/// Whether nothing from `revision` on needs the row.
pub(crate) fn forgettable(table: Table, key: &[u8], revision: i64) -> bool {
    match table {
        Table::History => ended_at(key).is_some_and(|ended| ended <= revision),
        Table::Events => event_revision(key).is_some_and(|at| at < revision),
        Table::Latest | Table::Leases | Table::LeaseKeys | Table::Meta => false,
    }
}
