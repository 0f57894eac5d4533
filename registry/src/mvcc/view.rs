//! The state as the core reads it: sorted tables of bytes.

use bytes::Bytes;
use thiserror::Error;

/// A table. Its number leads its keys in the store and stands for it in snapshots: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Table {
    /// key → `KeyValue`: the newest version of each key that exists.
    Latest = 1,
    /// (key, revision at which it ceased to stand) → `KeyValue`: the versions that no longer stand.
    History = 2,
    /// (revision, position) → `Change`.
    Events = 3,
    /// lease → `Lease`.
    Leases = 4,
    /// (lease, key) → nothing.
    LeaseKeys = 5,
    /// What is known once: [`APPLIED`], members.
    Meta = 6,
}

impl Table {
    pub(crate) const ALL: [Self; 6] =
        [Self::Latest, Self::History, Self::Events, Self::Leases, Self::LeaseKeys, Self::Meta];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::History => "history",
            Self::Events => "events",
            Self::Leases => "leases",
            Self::LeaseKeys => "lease_keys",
            Self::Meta => "meta",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }
}

/// Key of `Applied` in [`Table::Meta`].
pub(crate) const APPLIED: &[u8] = b"applied";
/// Prefix of `MemberInfo` in [`Table::Meta`]; the id follows, big-endian.
pub(crate) const MEMBER: &[u8] = b"member/";
/// Prefix of raised alarms in [`Table::Meta`]; kind (1 byte) and member (8 bytes, big-endian) follow.
pub(crate) const ALARM: &[u8] = b"alarm/";

/// Key of `LastMemberId` in [`Table::Meta`].
pub(crate) const LAST_MEMBER_ID: &[u8] = b"last_member_id";

/// Reading failed: the storage engine's own words, or a record that cannot be decoded.
#[derive(Debug, Error)]
#[error("{table:?}: {message}")]
pub(crate) struct ViewError {
    pub(crate) table: &'static str,
    pub(crate) message: String,
}

impl ViewError {
    pub(crate) fn new(table: Table, error: impl ToString) -> Self {
        Self { table: table.name(), message: error.to_string() }
    }
}

/// A row, or why it could not be read.
pub(crate) type Item = Result<(Bytes, Bytes), ViewError>;

/// A consistent state.
pub(crate) trait View {
    /// The value at `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError>;

    /// Rows with `from <= key < to` in order; `to` none: to the end of the table.
    fn scan<'a>(
        &'a self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a>;

    /// The record at `key`.
    fn record<M: prost::Message + Default>(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<M>, ViewError> {
        self.get(table, key)?.map(|bytes| decode(table, bytes)).transpose()
    }
}

pub(crate) fn decode<M: prost::Message + Default>(
    table: Table,
    bytes: Bytes,
) -> Result<M, ViewError> {
    M::decode(bytes).map_err(|e| ViewError::new(table, e))
}
