//! The shape of the file. Each room brings its own section; this is what holds them together.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use watchkeep_alerting::{AlertingConfig, slo::SloConfig};
use watchkeep_catalog::{Client, ClientError, ClientTlsConfig, Credentials};
use watchkeep_collector::CollectorConfig;
use watchkeep_registry::{InitialClusterState, PeerTlsConfig, RegistryConfig, TlsConfig};

use super::query::QueryConfig;
use crate::web::Demands;

/// How long history is kept where nothing is said: as far back as SLO reports look.
const HISTORY_MS: u64 = 30 * 24 * 3_600_000;

/// The whole file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// This process.
    pub(crate) node: Node,
    /// Where it listens.
    pub(crate) listen: Listen,
    /// Names of services.
    pub(crate) dns: DnsConfig,
    /// How others reach its HTTP listener; none: `http://{listen.http}`, with TLS `https://…`.
    pub(crate) external_url: Option<String>,
    /// The replicated store, or where it is.
    pub(crate) registry: Registry,
    /// Probes.
    pub(crate) collector: CollectorConfig,
    /// Failover, incidents, pages, on-call.
    pub(crate) alerting: AlertingConfig,
    /// What services promise when they do not say so themselves.
    pub(crate) slo: SloConfig,
    /// What a question in PromQL may cost.
    pub(crate) query: QueryConfig,
    /// Logs and traces.
    pub(crate) telemetry: Telemetry,
    /// The directory that rule files are meant from: the configuration file's.
    #[serde(skip)]
    pub(crate) rules_base: PathBuf,
    /// What the HTTP listener demands: as the web configuration said when it was read.
    #[serde(skip)]
    pub(crate) demands: Demands,
}

/// This process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Node {
    /// Number in the cluster.
    pub(crate) id: u64,
    /// Name; empty: `node-{id}`.
    pub(crate) name: String,
    /// Failure domain.
    pub(crate) zone: String,
    /// Where all data lies.
    pub(crate) data_dir: PathBuf,
    /// What runs here.
    pub(crate) roles: Vec<Role>,
}

/// One of the three rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// The replicated store.
    Registry,
    /// Probes.
    Collector,
    /// Decisions.
    Alerting,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "registry",
            Self::Collector => "collector",
            Self::Alerting => "alerting",
        })
    }
}

/// Listeners.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// The etcd v3 API.
    pub(crate) client: SocketAddr,
    /// The other members.
    pub(crate) peer: SocketAddr,
    /// Console, HTTP APIs, metrics.
    pub(crate) http: SocketAddr,
    /// Who may come to `http`, and how: exporter-toolkit's web configuration; none: everybody, without TLS.
    pub(crate) http_web_config: Option<PathBuf>,
    /// Names of services, UDP and TCP; none: nobody is answered.
    pub(crate) dns: Option<SocketAddr>,
}

/// What is answered on `listen.dns`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DnsConfig {
    /// The domain.
    pub(crate) domain: String,
    /// How long an answer may be remembered.
    pub(crate) ttl_seconds: u32,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { domain: "watchkeep".to_owned(), ttl_seconds: 0 }
    }
}

/// The registry: the server's own settings (when it runs here) and where its clients find it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Registry {
    /// Members by number: peer `host:port`. Empty: this node alone.
    pub(crate) initial_cluster: BTreeMap<u64, String>,
    /// Whether the first start begins a cluster or joins one.
    pub(crate) initial_cluster_state: InitialClusterState,
    /// What collector and alerting connect to. Empty: the registry in this process.
    pub(crate) endpoints: Vec<String>,
    /// The client URL told to other members and to clients; none: `http://{listen.client}`, with `tls` `https://…`.
    pub(crate) client_url: Option<String>,
    /// TLS of the client listener.
    pub(crate) tls: Option<TlsConfig>,
    /// TLS between members.
    pub(crate) peer_tls: Option<PeerTlsConfig>,
    /// TLS of this node's own rooms when they connect to the registry.
    pub(crate) client_tls: Option<ClientTlsConfig>,
    /// Milliseconds between a leader's heartbeats.
    pub(crate) heartbeat_interval_ms: u64,
    /// Milliseconds without a heartbeat until an election.
    pub(crate) election_timeout_ms: u64,
    /// Log entries kept behind a snapshot, and between two snapshots.
    pub(crate) log_entries_kept: u64,
    /// Size of one file of the log.
    pub(crate) log_segment_bytes: u64,
    /// Milliseconds after which what is left of a long lease is noted.
    pub(crate) lease_checkpoint_interval_ms: u64,
    /// Milliseconds after which a quiet watcher that asked for it is told the revision.
    pub(crate) watch_progress_interval_ms: u64,
    /// Milliseconds after which history is compacted; 0: never by age.
    pub(crate) auto_compaction_retention_ms: u64,
    /// Newest revisions whose history is kept; 0: any number.
    pub(crate) auto_compaction_revisions: u64,
    /// Requests under way at once.
    pub(crate) requests_max: usize,
    /// Milliseconds between two comparisons of a part of the members' data; 0: never.
    pub(crate) corrupt_check_interval_ms: u64,
    /// Free space below which the alarm NOSPACE is raised; 0: never.
    pub(crate) nospace_free_bytes: u64,
    /// How tokens are made: `simple`, or `jwt,sign-method=…,…`.
    pub(crate) auth_token: String,
    /// bcrypt's cost of a password's hash.
    pub(crate) bcrypt_cost: u32,
    /// Who collector, alerting and the HTTP API are in the registry; none: nobody in particular.
    pub(crate) username: Option<String>,
    /// Holds that user's password.
    pub(crate) password_file: Option<PathBuf>,
}

/// Logs, traces, and metrics by OTLP.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// Where traces go by OTLP over gRPC; none: nowhere.
    pub(crate) otlp_endpoint: Option<String>,
    /// Share of the traces that begin here which are kept.
    pub(crate) sampling_ratio: f64,
    /// Whether metrics go there, too.
    pub(crate) otlp_metrics: bool,
    /// Seconds between two of those.
    pub(crate) otlp_metrics_interval_seconds: u64,
    /// Form of the log lines.
    pub(crate) log_format: LogFormat,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            sampling_ratio: 1.0,
            otlp_metrics: false,
            otlp_metrics_interval_seconds: 15,
            log_format: LogFormat::Text,
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            id: 1,
            name: String::new(),
            zone: String::new(),
            data_dir: PathBuf::from("./watchkeep-data"),
            roles: vec![Role::Registry, Role::Collector, Role::Alerting],
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            client: local(2379),
            peer: local(2380),
            http: local(8480),
            http_web_config: None,
            dns: None,
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        let server = RegistryConfig::default();
        Self {
            initial_cluster: BTreeMap::new(),
            initial_cluster_state: InitialClusterState::New,
            endpoints: Vec::new(),
            client_url: None,
            tls: None,
            peer_tls: None,
            client_tls: None,
            heartbeat_interval_ms: server.heartbeat_interval_ms,
            election_timeout_ms: server.election_timeout_ms,
            log_entries_kept: server.log_entries_kept,
            log_segment_bytes: server.log_segment_bytes,
            lease_checkpoint_interval_ms: server.lease_checkpoint_interval_ms,
            watch_progress_interval_ms: server.watch_progress_interval_ms,
            auto_compaction_retention_ms: HISTORY_MS,
            auto_compaction_revisions: server.auto_compaction_revisions,
            requests_max: server.requests_max,
            corrupt_check_interval_ms: server.corrupt_check_interval_ms,
            nospace_free_bytes: server.nospace_free_bytes,
            auth_token: server.auth_token,
            bcrypt_cost: server.bcrypt_cost,
            username: None,
            password_file: None,
        }
    }
}

impl Config {
    /// Fills in what follows from other values. `is_given` says whether a path was written by the user.
    pub(super) fn settle(&mut self, is_given: impl Fn(&str) -> bool) {
        if self.node.name.is_empty() {
            self.node.name = format!("node-{}", self.node.id);
        }
        if self.demands.tls && !is_given("external_url") {
            // A flag may have made one of the address.
            let url = self.external_url.as_mut().filter(|url| url.starts_with("http://"));
            if let Some(url) = url {
                url.insert(4, 's');
            }
        }
        if !is_given("registry.initial_cluster") {
            let alone = (self.node.id, self.listen.peer.to_string());
            self.registry.initial_cluster = BTreeMap::from([alone]);
        }
        if !is_given("alerting.opinions_min") {
            let vantage_points = u32::try_from(self.collector.vantage_points).unwrap_or(u32::MAX);
            self.alerting.opinions_min = self.alerting.opinions_min.min(vantage_points.max(1));
        }
        if self.registry.endpoints.is_empty() && self.runs(Role::Registry) {
            self.registry.endpoints = vec![self.own_endpoint()];
        }
    }

    /// The client listener of this process, as the process itself reaches it.
    pub(crate) fn own_endpoint(&self) -> String {
        let scheme = if self.registry.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reachable(self.listen.client))
    }

    /// A client of the registry.
    pub(crate) fn client(&self) -> Result<Client, ClientError> {
        let tls = self.registry.client_tls.clone().unwrap_or_default();
        Client::with_tls(&self.registry.endpoints, &tls)
    }

    /// Whether `role` runs in this process.
    pub(crate) fn runs(&self, role: Role) -> bool {
        self.node.roles.contains(&role)
    }

    /// Base URL of this node's HTTP listener, as others reach it, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        match &self.external_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let scheme = if self.demands.tls { "https" } else { "http" };
                format!("{scheme}://{}", self.listen.http)
            }
        }
    }

    /// Who this node's rooms are in the registry.
    ///
    /// # Errors
    /// When the password file cannot be read.
    pub(crate) fn credentials(&self) -> std::io::Result<Option<Credentials>> {
        let (user, file) = (&self.registry.username, &self.registry.password_file);
        user.as_ref()
            .zip(file.as_ref())
            .map(|(user, file)| Credentials::read(user, file))
            .transpose()
    }

    /// The registry's part, for a node that runs it.
    pub(crate) fn registry_config(&self) -> RegistryConfig {
        RegistryConfig {
            node_id: self.node.id,
            name: self.node.name.clone(),
            data_dir: self.node.data_dir.join("registry"),
            client_listen: self.listen.client,
            peer_listen: self.listen.peer,
            client_url: self.registry.client_url.clone(),
            tls: self.registry.tls.clone(),
            peer_tls: self.registry.peer_tls.clone(),
            initial_cluster: self.registry.initial_cluster.clone(),
            initial_cluster_state: self.registry.initial_cluster_state,
            heartbeat_interval_ms: self.registry.heartbeat_interval_ms,
            election_timeout_ms: self.registry.election_timeout_ms,
            log_entries_kept: self.registry.log_entries_kept,
            log_segment_bytes: self.registry.log_segment_bytes,
            lease_checkpoint_interval_ms: self.registry.lease_checkpoint_interval_ms,
            watch_progress_interval_ms: self.registry.watch_progress_interval_ms,
            auto_compaction_retention_ms: self.registry.auto_compaction_retention_ms,
            auto_compaction_revisions: self.registry.auto_compaction_revisions,
            requests_max: self.registry.requests_max,
            corrupt_check_interval_ms: self.registry.corrupt_check_interval_ms,
            nospace_free_bytes: self.registry.nospace_free_bytes,
            auth_token: self.registry.auth_token.clone(),
            bcrypt_cost: self.registry.bcrypt_cost,
        }
    }
}

/// An address that a client on this machine can connect to: the unspecified one becomes loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), listen.port())
        }
        _ => listen,
    }
}
