//! openraft's type parameters: what an entry carries, what applying it answers, how a member is described.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::schema::Outcome;

/// A member of the cluster as the Raft membership knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// `host:port` of its peer listener.
    pub address: String,
    /// Added as a voter: it gets its vote as soon as it has caught up. Means nothing once it votes.
    #[serde(default)]
    pub arriving: bool,
}

impl Peer {
    /// A member from the beginning, or a learner that stays one.
    pub(crate) fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), arriving: false }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// A command in the log: an encoded `schema::Command`, opaque to Raft and to the log's files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Encoded(pub Bytes);

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.0.len())
    }
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry answers. It never leaves the process in this form: only the node that took the
/// request reads it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The outcome; none of a blank entry.
    #[serde(skip)]
    pub outcome: Option<Outcome>,
}

openraft::declare_raft_types!(
    /// The registry's Raft.
    pub(crate) TypeConfig:
        D = Encoded,
        R = Reply,
        NodeId = u64,
        Node = Peer,
);

pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot =
    openraft::type_config::alias::SnapshotOf<TypeConfig, super::SnapshotData>;
pub(crate) type Raft = openraft::Raft<TypeConfig, super::StateMachine>;
pub(crate) type RaftStanding = openraft::metrics::RaftServerMetrics<TypeConfig>;
