//! openraft's type parameters: what an entry carries, what applying it answers, how a member is described.

use std::{fmt, io::Cursor};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A member of the cluster as the Raft membership knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// `host:port` of its peer listener.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// A command in the log: an encoded `schema::Command`, opaque to Raft and to the log's files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded(pub Bytes);

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

/// What applying an entry answers. It never leaves the process: only the node that took the request reads it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reply(#[serde(skip)] pub Option<()>);

openraft::declare_raft_types!(
    /// The registry's Raft.
    pub TypeConfig:
        D = Encoded,
        R = Reply,
        NodeId = u64,
        Node = Peer,
);

/// Where a snapshot's bytes are read from and written to.
pub type SnapshotBytes = Cursor<Vec<u8>>;
