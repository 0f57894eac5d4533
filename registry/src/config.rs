//! Settings of one registry member.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

mod members;
mod tls;

pub(crate) use members::{host_and_port, unreachable_members};
pub use tls::{PeerTlsConfig, TlsConfig};

use crate::{
    auth::Provider,
    tls::{Tls, remarks},
};

/// A setting that cannot be: where it stands and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Path within this configuration, such as `initial_cluster`.
    pub path: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// What a member with an empty data directory does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialClusterState {
    /// It begins a cluster with the others of `initial_cluster`.
    #[default]
    New,
    /// It joins a cluster that was told of it before, and is there.
    Existing,
}

/// Settings of one member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Its id: a number from 1 that no other member has.
    pub node_id: u64,
    /// Its name, for people.
    pub name: String,
    /// Where it keeps its log and its state.
    pub data_dir: PathBuf,
    /// Where clients connect (gRPC and JSON).
    pub client_listen: SocketAddr,
    /// Where other members connect.
    pub peer_listen: SocketAddr,
    /// What clients are told to connect to; none: `http://` (with TLS `https://`) and `client_listen`.
    pub client_url: Option<String>,
    /// TLS for clients; none: they connect without.
    pub tls: Option<TlsConfig>,
    /// TLS between members; none: they connect without.
    pub peer_tls: Option<PeerTlsConfig>,
    /// Every member the cluster begins with, itself included: id → `host:port` of its peer listener. A member that
    /// has been up knows better, and asks nobody here but to hear whether it was removed.
    pub initial_cluster: BTreeMap<u64, String>,
    /// Whether the first start begins a cluster or joins one.
    pub initial_cluster_state: InitialClusterState,
    /// How often the leader tells the others that it is there.
    pub heartbeat_interval_ms: u64,
    /// Silence after which a member calls an election; the actual time is drawn between this and its double.
    pub election_timeout_ms: u64,
    /// Log entries kept behind a snapshot, and between two snapshots.
    pub log_entries_kept: u64,
    /// Size of one file of the log.
    pub log_segment_bytes: u64,
    /// How often what is left of a long lease is noted for the next leader: the most by which a change of leader prolongs
    /// one.
    pub lease_checkpoint_interval_ms: u64,
    /// How often a quiet watcher that asked for it is told the revision.
    pub watch_progress_interval_ms: u64,
    /// History that is older than this is compacted; 0: never by age.
    pub auto_compaction_retention_ms: u64,
    /// Newest revisions of which the history is kept; 0: any number.
    pub auto_compaction_revisions: u64,
    /// Requests under way at once; more are told to come back.
    pub requests_max: usize,
    /// Pause between two steps in which the leader compares a part of the members' data; 0: it never does.
    pub corrupt_check_interval_ms: u64,
    /// Free space on the file system of `data_dir` below which this member raises NOSPACE; 0: it never does.
    pub nospace_free_bytes: u64,
    /// How tokens are made: `simple`, or `jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m`.
    pub auth_token: String,
    /// bcrypt's cost of a password's hash.
    pub bcrypt_cost: u32,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        let peer_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 2380));
        Self {
            node_id: 1,
            name: "node-1".to_owned(),
            data_dir: PathBuf::from("watchkeep-data/registry"),
            client_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 2379)),
            peer_listen,
            client_url: None,
            tls: None,
            peer_tls: None,
            initial_cluster: BTreeMap::from([(1, peer_listen.to_string())]),
            initial_cluster_state: InitialClusterState::New,
            heartbeat_interval_ms: 50,
            election_timeout_ms: 1_000,
            log_entries_kept: 50_000,
            log_segment_bytes: 64 << 20,
            lease_checkpoint_interval_ms: 60_000,
            watch_progress_interval_ms: 600_000,
            auto_compaction_retention_ms: 0,
            auto_compaction_revisions: 0,
            requests_max: 8_192,
            corrupt_check_interval_ms: 1_000,
            nospace_free_bytes: 256 << 20,
            auth_token: "simple".to_owned(),
            bcrypt_cost: 10,
        }
    }
}

impl RegistryConfig {
    /// Checks what can be checked without touching the system.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let mut invalid = Vec::new();
        members::check(self, &mut invalid);
        let mut check = |ok: bool, path: &str, message: String| {
            if !ok {
                invalid.push(Invalid { path: path.to_owned(), message });
            }
        };
        check(
            (10..=10_000).contains(&self.heartbeat_interval_ms),
            "heartbeat_interval_ms",
            format!("{} is out of range: give 10 to 10000", self.heartbeat_interval_ms),
        );
        check(
            self.election_timeout_ms >= 3 * self.heartbeat_interval_ms
                && self.election_timeout_ms <= 60_000,
            "election_timeout_ms",
            format!(
                "{} is out of range: give at least three heartbeat intervals ({}) and at most 60000",
                self.election_timeout_ms,
                3 * self.heartbeat_interval_ms
            ),
        );
        check(
            self.log_entries_kept >= 1_000,
            "log_entries_kept",
            format!("{} is too few: give at least 1000", self.log_entries_kept),
        );
        check(
            (1 << 20..=1 << 30).contains(&self.log_segment_bytes),
            "log_segment_bytes",
            format!(
                "{} is out of range: give 1048576 (1 MiB) to 1073741824 (1 GiB)",
                self.log_segment_bytes
            ),
        );
        check(
            (100..=86_400_000).contains(&self.lease_checkpoint_interval_ms),
            "lease_checkpoint_interval_ms",
            format!(
                "{} is out of range: give 100 to 86400000 (a day)",
                self.lease_checkpoint_interval_ms
            ),
        );
        check(
            (100..=86_400_000).contains(&self.watch_progress_interval_ms),
            "watch_progress_interval_ms",
            format!(
                "{} is out of range: give 100 to 86400000 (a day)",
                self.watch_progress_interval_ms
            ),
        );
        check(
            self.auto_compaction_retention_ms == 0
                || (1_000..=31_536_000_000).contains(&self.auto_compaction_retention_ms),
            "auto_compaction_retention_ms",
            format!(
                "{} is out of range: give 1000 to 31536000000 (a year), or 0 to keep all history",
                self.auto_compaction_retention_ms
            ),
        );
        check(
            self.requests_max > 0,
            "requests_max",
            "0 lets no request in: give at least 1".to_owned(),
        );
        check(
            self.corrupt_check_interval_ms == 0
                || (10..=86_400_000).contains(&self.corrupt_check_interval_ms),
            "corrupt_check_interval_ms",
            format!(
                "{} is out of range: give 10 to 86400000 (a day), or 0 to compare nothing",
                self.corrupt_check_interval_ms
            ),
        );
        let token = Provider::new(&self.auth_token);
        check(token.is_ok(), "auth_token", token.err().map(|e| e.to_string()).unwrap_or_default());
        check(
            (4..=31).contains(&self.bcrypt_cost),
            "bcrypt_cost",
            format!(
                "{} is out of range: give 4 to 31, each step takes twice the time",
                self.bcrypt_cost
            ),
        );
        if let Some(tls) = &self.tls {
            tls.check(&mut invalid);
        }
        if let Some(tls) = &self.peer_tls {
            tls.check(&mut invalid);
        }
        if invalid.is_empty() { Ok(()) } else { Err(invalid) }
    }

    /// Checks the files of TLS by reading them. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn check_files(&self) -> Result<(), Vec<Invalid>> {
        Tls::load(self).map(drop)
    }

    /// What can be, and will most likely not do what is meant: certificates that have ended, end soon or are for another
    /// host, members whom nobody can reach. `now_seconds` is Unix time. Blocks: reads the certificates.
    #[must_use]
    pub fn remarks(&self, now_seconds: i64) -> Vec<Invalid> {
        let mut remarks = unreachable_members(self);
        remarks.extend(remarks::of_certificates(self, now_seconds));
        remarks
    }

    /// What clients are told to connect to.
    #[must_use]
    pub fn client_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.client_url.clone().unwrap_or_else(|| format!("{scheme}://{}", self.client_listen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_each_fault_is_named() {
        assert_eq!(RegistryConfig::default().validate(), Ok(()));
        let wrong = RegistryConfig {
            node_id: 2,
            initial_cluster: BTreeMap::from([(1, "nowhere".to_owned())]),
            election_timeout_ms: 100,
            ..RegistryConfig::default()
        };
        let paths: Vec<_> = wrong.validate().unwrap_err().into_iter().map(|i| i.path).collect();
        assert_eq!(paths, ["initial_cluster", "initial_cluster", "election_timeout_ms"]);
    }

    #[test]
    fn half_of_tls_is_refused() {
        let pem = || Some(PathBuf::from("x.pem"));
        let auth = TlsConfig { cert: pem(), key: pem(), client_cert_auth: true, client_ca: None };
        for (tls, peer_tls, expected) in [
            (Some(TlsConfig { cert: pem(), ..TlsConfig::default() }), None, vec!["tls.key"]),
            (Some(TlsConfig { key: pem(), ..TlsConfig::default() }), None, vec!["tls.cert"]),
            (Some(auth.clone()), None, vec!["tls.client_cert_auth"]),
            (Some(TlsConfig { client_ca: pem(), ..auth }), None, vec![]),
            (
                None,
                Some(PeerTlsConfig { cert: pem(), ..PeerTlsConfig::default() }),
                vec!["peer_tls.key", "peer_tls.ca"],
            ),
            (None, Some(PeerTlsConfig { cert: pem(), key: pem(), ca: pem() }), vec![]),
        ] {
            let config = RegistryConfig { tls, peer_tls, ..RegistryConfig::default() };
            let invalid = config.validate().err().unwrap_or_default();
            let paths: Vec<_> = invalid.iter().map(|i| i.path.as_str()).collect();
            assert_eq!(paths, expected);
        }
    }
}
