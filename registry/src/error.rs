//! Why a member does not start.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

use crate::config::Invalid;

/// Why a member does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error("registry settings: {}", .0.iter().map(|i| format!("{}: {}", i.path, i.message)).collect::<Vec<_>>().join("; "))]
    Config(Vec<Invalid>),
    /// A listener cannot be bound.
    #[error(
        "cannot listen on {address} for {what}s: {source}; stop what uses the port, or choose another with --{what}-listen"
    )]
    Bind {
        /// `client` or `peer`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data directory is somebody else's.
    #[error(
        "data directory {path} belongs to {found}, but this is {expected}: give --data-dir another directory, or start with the settings it was made with"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked.
        expected: String,
    },
    /// The data directory was made by a version that stores data differently.
    #[error(
        "data directory {path} is of format {found}, this version reads and writes format {expected}: start the version that made it, and copy its keys into a new directory with an etcd client"
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// This version's.
        expected: u32,
    },
    /// Another process has the data directory open.
    #[error(
        "data directory {0} is in use by another process: stop it, or give --data-dir another directory"
    )]
    InUse(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The member has been up before, with data that is not here now.
    #[error(
        "member {id} has been up before, says member {by}, but its data directory is empty: a member that has forgotten its votes must not come back under the same id; restore its directory, or add it as a new member"
    )]
    Amnesia {
        /// This member.
        id: u64,
        /// Who said so.
        by: u64,
    },
    /// Whoever is at a peer address belongs to another cluster.
    #[error(
        "member {by} at {address} belongs to cluster {found}, and this member would begin cluster {own}: to join that one, add this member to it (`watchkeep member add`) and start it with initial_cluster_state: existing; else correct initial_cluster"
    )]
    OtherCluster {
        /// Who answered.
        by: u64,
        /// Where.
        address: String,
        /// Its cluster, hexadecimal.
        found: String,
        /// The one that the settings make, hexadecimal.
        own: String,
    },
    /// A member that is to join was not announced.
    #[error(
        "member {id} is not one of cluster {cluster}, whose members are {members}: add it first (`watchkeep member add {address}` at a member that is up), and start it with the number that is answered as node id"
    )]
    NotAdded {
        /// This member.
        id: u64,
        /// The cluster, hexadecimal.
        cluster: String,
        /// Numbers and peer addresses.
        members: String,
        /// Its own peer address.
        address: String,
    },
    /// The cluster knows the member under another address.
    #[error(
        "member {id} was added to cluster {cluster} with the peer address {known}, but initial_cluster says {given}: make them equal, here or with `watchkeep member update {id} {given}`"
    )]
    OtherAddress {
        /// This member.
        id: u64,
        /// The cluster, hexadecimal.
        cluster: String,
        /// What the cluster knows.
        known: String,
        /// What the settings say.
        given: String,
    },
    /// Its number belonged to a member that was removed.
    #[error(
        "member {id} was removed from cluster {cluster}, and its number is not given again: remove its data directory, add it as a new member (`watchkeep member add`), and start it with the number that is answered and initial_cluster_state: existing"
    )]
    Removed {
        /// This member.
        id: u64,
        /// The cluster, hexadecimal.
        cluster: String,
    },
    /// Nobody of the cluster to be joined answers.
    #[error(
        "no member of the cluster to join answers at {addresses}: start one, or correct initial_cluster"
    )]
    NobodyToJoin {
        /// Who was asked.
        addresses: String,
    },
    /// The member has been up before, and its log is not there.
    #[error(
        "{}: the Raft log is missing, although this member has been up before: without it nobody knows what it has acknowledged and for whom it has voted. Put the log back. If it is gone: remove member {id} from the cluster, delete {} and add it as a new member (docs/members.md); a cluster of one begins anew from a backup (docs/backup.md)",
        log_dir.display(), data_dir.display()
    )]
    LogLost {
        /// This member.
        id: u64,
        /// Where the log should be.
        log_dir: PathBuf,
        /// The registry's data.
        data_dir: PathBuf,
    },
    /// Log or state are damaged, or Raft does not start.
    #[error("{0}")]
    State(String),
    /// A metric's name is taken.
    #[error("metrics: {0}")]
    Metrics(prometheus::Error),
}

impl StartError {
    pub(crate) fn bind(what: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Bind { what, address, source }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }

    pub(crate) fn state(error: impl std::fmt::Display) -> Self {
        Self::State(error.to_string())
    }

    pub(crate) fn raft(error: impl std::fmt::Display) -> Self {
        Self::State(format!("raft: {error}"))
    }
}
