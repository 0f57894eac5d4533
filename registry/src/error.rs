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
    #[error("cannot listen on {address} for {what}s: {source}; {}", remedy(source, what))]
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
        "member {id} has been up before, says member {by}, but its data directory is empty: a member that has forgotten its votes must not come back under the same number. Put the directory back; or, where it is lost, `watchkeep member remove {id}`, `watchkeep member add HOST:PORT`, and start it with the number that is answered and initial_cluster_state: existing (docs/members.md)"
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

/// What to do about a listener that cannot be bound.
fn remedy(source: &io::Error, what: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("stop what uses the port, or choose another (listen.{what}, --{what}-listen)")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "give an address that this machine has, or 0.0.0.0 for all of them (listen.{what}, --{what}-listen)"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "give a port of 1024 or more (listen.{what}, --{what}-listen), or the process the right to this one"
            )
        }
        _ => format!("choose another address (listen.{what}, --{what}-listen)"),
    }
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

/// Why a member cannot go on, and what an operator does about it.
pub(crate) fn with_remedy(reason: &str) -> String {
    // Either library passes the system's words on, and nothing but the words.
    let is_full = ["StorageFull", "No space left on device", "Disk quota exceeded"];
    let remedy = match is_full.iter().any(|words| reason.contains(words)) {
        true => {
            "make space on the file system of node.data_dir, then start the node again: what it has acknowledged is there"
        }
        false => "start the node again",
    };
    format!("{reason}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_faults() {
        let full =
            with_remedy("raft has ended: cannot write: No space left on device (os error 28)");
        assert!(full.contains("make space on the file system of node.data_dir"), "{full}");
        assert!(
            with_remedy("raft has ended: Input/output error").ends_with("; start the node again")
        );
    }

    #[test]
    fn why_a_port_cannot_be_had_says_what_to_do() {
        let said = |kind: io::ErrorKind| {
            let address = ([10, 0, 0, 1], 2379).into();
            StartError::Bind { what: "client", address, source: kind.into() }.to_string()
        };
        assert!(said(io::ErrorKind::AddrInUse).contains("stop what uses the port"));
        let absent = said(io::ErrorKind::AddrNotAvailable);
        assert!(absent.contains("an address that this machine has"), "{absent}");
        assert!(!absent.contains("stop what uses"), "{absent}");
    }
}
