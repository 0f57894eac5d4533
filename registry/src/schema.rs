//! Every record that is replicated or kept on disk by the state machine, each with explicit field numbers.
//! A field's number is never used again for something else; `schema/tests.rs` fails when a record changes
//! its bytes unnoticed. (The log's own framing is in `wal/schema.rs`.)
//!
//! These are also the core's own types: the etcd messages stop at `etcd/`.

use bytes::Bytes;

mod auth;
mod command;
mod outcome;

pub(crate) use auth::{
    Auth, AuthAction, AuthOutcome, AuthState, Login, Permission, Role, RolePermission, User,
    UserPassword, UserRole,
};
pub(crate) use command::{
    Alarm, Body, Command, Compact, Compare, Delete, Grant, LeaseCheckpoint, LeaseRest, MemberInfo,
    Op, OpKind, Put, Range, Revoke, Target, Txn,
};
pub(crate) use outcome::{
    DeleteOutcome, OpOutcome, OpOutcomeKind, Outcome, PutOutcome, RangeOutcome, TxnOutcome,
};

/// In the `meta` table: ids up to this one belong to members, or did.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct LastMemberId {
    /// The highest id that a member ever had.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// A key as it stands or stood. In the `latest` and `history` tables the key itself is left out: it is in the row's key.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeyValue {
    /// Key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Revision of its creation.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// Revision of its last change.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// Puts since its creation.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// Value.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// Lease; 0: none.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

/// One change: the core's own, never encoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// A tombstone: `kv` has only key and mod revision.
    pub deleted: bool,
    /// The key afterwards.
    pub kv: KeyValue,
}

/// One change, in the `events` table under (revision, position in the revision).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Change {
    /// A tombstone.
    #[prost(bool, tag = "1")]
    pub deleted: bool,
    /// Key.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// The key afterwards, without the key itself, when the same revision changed it once more: no other table has it.
    #[prost(message, optional, tag = "3")]
    pub kv: Option<KeyValue>,
}

/// In the `leases` table.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Lease {
    /// Seconds to live, as granted.
    #[prost(int64, tag = "1")]
    pub ttl_seconds: i64,
    /// When it was granted, by the proposer's clock.
    #[prost(int64, tag = "2")]
    pub granted_ms: i64,
    /// What was left of it when a leader last noted it, in milliseconds; 0: nothing is noted, it has its whole TTL.
    #[prost(int64, tag = "3")]
    pub left_ms: i64,
}

/// In the `meta` table: how far the state machine is. Written with every batch.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Applied {
    /// Log index; with term and leader the log id.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Leader.
    #[prost(uint64, tag = "3")]
    pub leader: u64,
    /// The store's revision.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// Revisions up to here are compacted.
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    /// openraft's stored membership as JSON.
    #[prost(bytes = "bytes", tag = "6")]
    pub membership: Bytes,
    /// False before the first entry: then index 0 is not an applied entry.
    #[prost(bool, tag = "7")]
    pub any: bool,
    /// Keys that exist.
    #[prost(int64, tag = "8")]
    pub keys: i64,
    /// Which alarms are raised, whoever's: bit 1 (value 2) no space, bit 2 (value 4) corrupt.
    #[prost(uint32, tag = "40")]
    pub alarms: u32,
}

#[cfg(test)]
mod tests;
