//! What applying a command answers.

use super::{AuthOutcome, KeyValue};

/// What applying a command answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Outcome {
    /// The store's revision afterwards.
    #[prost(int64, tag = "1")]
    pub revision: i64,
    /// Raft term of the entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Where the command stands in the log.
    #[prost(uint64, tag = "5")]
    pub index: u64,
    /// A refusal: [`crate::mvcc::Refusal`] as a number; 0: none.
    #[prost(uint32, tag = "3")]
    pub refusal: u32,
    /// The answer to a transaction.
    #[prost(message, optional, tag = "4")]
    pub txn: Option<TxnOutcome>,
    /// The answer to [`super::Alarm`]: it is raised now, or was until now.
    #[prost(bool, tag = "40")]
    pub alarm: bool,
    /// More about users and roles, where it is a matter of them.
    #[prost(message, optional, tag = "30")]
    pub auth: Option<AuthOutcome>,
}

/// The answer to a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TxnOutcome {
    /// Whether the conditions held.
    #[prost(bool, tag = "1")]
    pub succeeded: bool,
    /// One per operation.
    #[prost(message, repeated, tag = "2")]
    pub ops: Vec<OpOutcome>,
    /// The revision when it had run: a read in a transaction carries it too.
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

/// The answer to one operation.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OpOutcome {
    /// Which.
    #[prost(oneof = "OpOutcomeKind", tags = "1, 2, 3, 4")]
    pub kind: Option<OpOutcomeKind>,
}

/// The answer to one operation.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum OpOutcomeKind {
    /// Read.
    #[prost(message, tag = "1")]
    Range(RangeOutcome),
    /// Written.
    #[prost(message, tag = "2")]
    Put(PutOutcome),
    /// Deleted.
    #[prost(message, tag = "3")]
    Delete(DeleteOutcome),
    /// A transaction in the transaction.
    #[prost(message, tag = "4")]
    Txn(TxnOutcome),
}

/// The answer to a read.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RangeOutcome {
    /// What was found.
    #[prost(message, repeated, tag = "1")]
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut it.
    #[prost(bool, tag = "2")]
    pub more: bool,
    /// Keys in the range.
    #[prost(int64, tag = "3")]
    pub count: i64,
    /// The store's revision.
    #[prost(int64, tag = "4")]
    pub revision: i64,
}

/// The answer to a write.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PutOutcome {
    /// What was there.
    #[prost(message, optional, tag = "1")]
    pub prev: Option<KeyValue>,
    /// The store's revision.
    #[prost(int64, tag = "2")]
    pub revision: i64,
}

/// The answer to a deletion.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DeleteOutcome {
    /// Keys deleted.
    #[prost(int64, tag = "1")]
    pub deleted: i64,
    /// What was there.
    #[prost(message, repeated, tag = "2")]
    pub prev: Vec<KeyValue>,
    /// The store's revision.
    #[prost(int64, tag = "3")]
    pub revision: i64,
}
