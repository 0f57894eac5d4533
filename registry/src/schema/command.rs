//! Commands of the log: what clients and members ask of the state machine.

use bytes::Bytes;

use super::Auth;

/// A command in the log.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Command {
    /// The proposer's clock in milliseconds since 1970; applying never reads a clock of its own.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// What to do.
    #[prost(oneof = "Body", tags = "2, 3, 4, 5, 6, 8, 9, 12")]
    pub body: Option<Body>,
    /// W3C `traceparent` of the request; empty: not traced.
    #[prost(string, tag = "7")]
    pub trace_parent: String,
    /// The user whose request it is; empty: nobody in particular.
    #[prost(string, tag = "10")]
    pub auth_user: String,
    /// Revision of users and roles at which they asked; 0: the member itself, which is not checked.
    #[prost(uint64, tag = "11")]
    pub auth_revision: u64,
}

/// What a command does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Body {
    /// Read and write keys at one revision. A lone put or delete is a transaction of one.
    #[prost(message, tag = "2")]
    Txn(Txn),
    /// Grant a lease.
    #[prost(message, tag = "3")]
    Grant(Grant),
    /// Revoke a lease, asked for or run out.
    #[prost(message, tag = "4")]
    Revoke(Revoke),
    /// Forget superseded versions up to a revision.
    #[prost(message, tag = "5")]
    Compact(Compact),
    /// A member says what it is called and where clients find it.
    #[prost(message, tag = "6")]
    Publish(MemberInfo),
    /// Raise or end a member's alarm.
    #[prost(message, tag = "8")]
    Alarm(Alarm),
    /// Change users, roles or permissions, or log in.
    #[prost(message, tag = "9")]
    Auth(Auth),
    /// Note what is left of leases, or take such notes back.
    #[prost(message, tag = "12")]
    LeaseCheckpoint(LeaseCheckpoint),
}

/// A transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Txn {
    /// Conditions; all must hold for `success`.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// Run when they hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<Op>,
    /// Run when one does not.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<Op>,
}

/// One condition on a key or on every key of a range.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Compare {
    /// `etcdserverpb.Compare.CompareResult`: 0 equal, 1 greater, 2 less, 3 not equal.
    #[prost(int32, tag = "1")]
    pub result: i32,
    /// Key.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// End of the range, as in a range request.
    #[prost(bytes = "bytes", tag = "3")]
    pub range_end: Bytes,
    /// What is compared, with what.
    #[prost(oneof = "Target", tags = "4, 5, 6, 7, 8")]
    pub target: Option<Target>,
}

/// What is compared, with what.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Target {
    /// Version.
    #[prost(int64, tag = "4")]
    Version(i64),
    /// Create revision.
    #[prost(int64, tag = "5")]
    Create(i64),
    /// Mod revision.
    #[prost(int64, tag = "6")]
    Mod(i64),
    /// Value.
    #[prost(bytes = "bytes", tag = "7")]
    Value(Bytes),
    /// Lease.
    #[prost(int64, tag = "8")]
    Lease(i64),
}

/// One operation of a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Op {
    /// Which.
    #[prost(oneof = "OpKind", tags = "1, 2, 3, 4")]
    pub kind: Option<OpKind>,
}

/// Which operation.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum OpKind {
    /// Read.
    #[prost(message, tag = "1")]
    Range(Range),
    /// Write.
    #[prost(message, tag = "2")]
    Put(Put),
    /// Delete.
    #[prost(message, tag = "3")]
    Delete(Delete),
    /// A transaction in the transaction.
    #[prost(message, tag = "4")]
    Txn(Txn),
}

/// A read.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Range {
    /// Key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End: empty: the key alone; `"\0"`: everything from `key` on.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Most keys; 0: all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// As of; 0: now.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// `SortOrder`: 0 none, 1 ascending, 2 descending.
    #[prost(int32, tag = "5")]
    pub sort_order: i32,
    /// `SortTarget`: 0 key, 1 version, 2 create, 3 mod, 4 value.
    #[prost(int32, tag = "6")]
    pub sort_target: i32,
    /// Leave the values out.
    #[prost(bool, tag = "7")]
    pub keys_only: bool,
    /// Only count.
    #[prost(bool, tag = "8")]
    pub count_only: bool,
    /// Bounds; 0: none.
    #[prost(int64, tag = "9")]
    pub min_mod_revision: i64,
    /// Bounds; 0: none.
    #[prost(int64, tag = "10")]
    pub max_mod_revision: i64,
    /// Bounds; 0: none.
    #[prost(int64, tag = "11")]
    pub min_create_revision: i64,
    /// Bounds; 0: none.
    #[prost(int64, tag = "12")]
    pub max_create_revision: i64,
}

/// A write.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Put {
    /// Key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Lease; 0: none.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Answer with what was there.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Keep the value.
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Keep the lease.
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
}

/// A deletion.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Delete {
    /// Key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// End, as in [`Range`].
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Answer with what was there.
    #[prost(bool, tag = "3")]
    pub prev_kv: bool,
}

/// Grant a lease.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Grant {
    /// Its id, chosen by the client or the proposer.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Seconds to live.
    #[prost(int64, tag = "2")]
    pub ttl_seconds: i64,
}

/// Revoke a lease.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Revoke {
    /// Its id.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// The term in which its leader saw it run out; 0: a client asked. A later leader knows of renewals that the
    /// former one does not, so the command counts only in that term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// Note what is left of leases.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LeaseCheckpoint {
    /// Of which.
    #[prost(message, repeated, tag = "1")]
    pub rests: Vec<LeaseRest>,
    /// The term of the leader that says so: like a revocation it counts only in that term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// What is left of one lease.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct LeaseRest {
    /// Its id.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Milliseconds; 0: the note is taken back.
    #[prost(int64, tag = "2")]
    pub left_ms: i64,
}

/// Forget superseded versions.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Compact {
    /// Up to this revision.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// Raise or end a member's alarm.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Alarm {
    /// Raise it; else end it.
    #[prost(bool, tag = "1")]
    pub raise: bool,
    /// Whose it is; 0: nobody's in particular.
    #[prost(uint64, tag = "2")]
    pub member: u64,
    /// `AlarmType`: 1 no space, 2 corrupt.
    #[prost(uint32, tag = "3")]
    pub kind: u32,
}

/// What a member says of itself.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MemberInfo {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where clients find it.
    #[prost(string, repeated, tag = "3")]
    pub client_urls: Vec<String>,
}
