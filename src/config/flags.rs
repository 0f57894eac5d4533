//! Flags of `watchkeep serve` that beat the file.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use clap::Args;
use watchkeep_registry::InitialClusterState;

use super::{
    alertmanager_flags::AlertmanagerFlags,
    file::{Config, Role},
};

/// What can be said on the command line instead of in the file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Flags {
    /// Where this node keeps its data [default: ./watchkeep-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// What runs here [default: registry,collector,alerting]
    #[arg(long, value_name = "ROLE,…", value_delimiter = ',')]
    pub(crate) roles: Option<Vec<Role>>,
    /// The etcd v3 API, gRPC and JSON [default: 127.0.0.1:2379]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) client_listen: Option<SocketAddr>,
    /// The other members of the registry [default: 127.0.0.1:2380]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) peer_listen: Option<SocketAddr>,
    /// Console and HTTP APIs [default: 127.0.0.1:8480]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http_listen: Option<SocketAddr>,
    /// What clients are told to connect to [default: http://IP:PORT of --client-listen]
    #[arg(long, value_name = "URL")]
    pub(crate) client_url: Option<String>,
    /// As --http-listen, in Alertmanager's words: [HOST]:PORT
    #[arg(long = "web.listen-address", value_name = "[HOST]:PORT", value_parser = listen_address, conflicts_with = "http_listen")]
    pub(crate) web_listen_address: Vec<SocketAddr>,
    /// As --data-dir, in Alertmanager's words
    #[arg(long = "storage.path", value_name = "DIR", conflicts_with = "data_dir")]
    pub(crate) storage_path: Option<PathBuf>,
    /// Where links in notifications and mails lead, in Alertmanager's words: alerting.external_url [default: http://IP:PORT]
    #[arg(long = "web.external-url", value_name = "URL")]
    pub(crate) web_external_url: Option<String>,
    /// An alertmanager.yml, whatever its name: this node is an Alertmanager, too. (Watchkeep's own file goes with --config)
    #[arg(long = "config.file", value_name = "FILE")]
    pub(crate) alertmanager_config: Option<PathBuf>,
    /// Who may come to the HTTP listener, and how: exporter-toolkit's web configuration (TLS, users), as listen.http_web_config
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub(crate) web_config: Option<String>,
    #[command(flatten)]
    pub(crate) alertmanager: AlertmanagerFlags,
    /// This node's number in the cluster [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) node_id: Option<u64>,
    /// Every member's number and peer address: 1=10.0.0.1:2380,2=10.0.0.2:2380,3=10.0.0.3:2380
    #[arg(long, value_name = "ID=HOST:PORT,…", value_delimiter = ',', value_parser = member)]
    pub(crate) initial_cluster: Option<Vec<(u64, String)>>,
    /// `new`: the first start begins a cluster; `existing`: it joins one, after `watchkeep member add` [default: new]
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) initial_cluster_state: Option<InitialClusterState>,
}

/// `new` or `existing`.
fn state(text: &str) -> Result<InitialClusterState, String> {
    match text {
        "new" => Ok(InitialClusterState::New),
        "existing" => Ok(InitialClusterState::Existing),
        _ => Err("write new or existing".to_owned()),
    }
}

/// `host:port`, or `:port` for all addresses. Of a name's addresses the first of IPv4, as Alertmanager does it.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    if let Ok(address) = whole.parse() {
        return Ok(address);
    }
    let is_written_so = whole.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
    });
    if !is_written_so {
        return Err("write it as HOST:PORT, IP:PORT or :PORT".to_owned());
    }
    let found =
        whole.to_socket_addrs().map_err(|e| format!("{e}: name an address of this machine"))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| "the name has no address".to_owned())
}

/// This machine's name, for links to a listener on all of its addresses.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// `id=host:port`.
pub(crate) fn member(text: &str) -> Result<(u64, String), String> {
    let (id, address) = text.split_once('=').ok_or("write it as id=host:port")?;
    let id =
        id.trim().parse().map_err(|_| format!("{id:?} is not a number; write id=host:port"))?;
    Ok((id, address.trim().to_owned()))
}

impl Flags {
    /// What is said and cannot be done, each with what to do instead.
    pub(super) fn refused(&self) -> Vec<(&'static str, String)> {
        let several = (self.web_listen_address.len() > 1).then(|| {
            let given: Vec<_> = self.web_listen_address.iter().map(ToString::to_string).collect();
            let remedy = format!(
                "{} are given, and a node listens on one: name one of them, or :PORT for all addresses of this machine",
                given.join(" and ")
            );
            ("--web.listen-address", remedy)
        });
        self.alertmanager.refused().into_iter().chain(several).collect()
    }

    /// Lays the flags over `config` and notes in `given` which path each one set.
    pub(super) fn apply(&self, config: &mut Config, given: &mut BTreeMap<String, &'static str>) {
        let mut note = |path: &str, flag| {
            given.insert(path.to_owned(), flag);
        };
        if let Some(dir) = &self.data_dir {
            config.node.data_dir.clone_from(dir);
            note("node.data_dir", "--data-dir");
        }
        if let Some(roles) = &self.roles {
            config.node.roles.clone_from(roles);
            note("node.roles", "--roles");
        }
        if let Some(id) = self.node_id {
            config.node.id = id;
            note("node.id", "--node-id");
        }
        for (flag, path, from, to) in [
            ("--client-listen", "listen.client", self.client_listen, &mut config.listen.client),
            ("--peer-listen", "listen.peer", self.peer_listen, &mut config.listen.peer),
            ("--http-listen", "listen.http", self.http_listen, &mut config.listen.http),
        ] {
            if let Some(address) = from {
                *to = address;
                note(path, flag);
            }
        }
        if let Some(url) = &self.client_url {
            config.registry.client_url = Some(url.clone());
            note("registry.client_url", "--client-url");
        }
        if let Some(dir) = &self.storage_path {
            config.node.data_dir.clone_from(dir);
            note("node.data_dir", "--storage.path");
        }
        if let Some(url) = &self.web_external_url {
            // Only links: it may be a proxy's or the whole cluster's, and the nodes ask each other by their own addresses.
            config.alerting.external_url.clone_from(url);
            note("alerting.external_url", "--web.external-url");
        }
        if let [address] = self.web_listen_address[..] {
            config.listen.http = address;
            note("listen.http", "--web.listen-address");
            if address.ip().is_unspecified() && config.external_url.is_none() {
                config.external_url =
                    host_name().map(|name| format!("http://{name}:{}", address.port()));
            }
        }
        if let Some(file) = &self.alertmanager_config {
            config.alerting.alertmanager_config = Some(file.clone());
            note("alerting.alertmanager_config", "--config.file");
        }
        // As exporter-toolkit has it, an empty one is none.
        if let Some(file) = self.web_config.as_ref().filter(|file| !file.is_empty()) {
            config.listen.http_web_config = Some(PathBuf::from(file));
            note("listen.http_web_config", "--web.config.file");
        }
        self.alertmanager.apply(config);
        if let Some(members) = &self.initial_cluster {
            config.registry.initial_cluster = members.iter().cloned().collect();
            note("registry.initial_cluster", "--initial-cluster");
        }
        if let Some(state) = self.initial_cluster_state {
            config.registry.initial_cluster_state = state;
            note("registry.initial_cluster_state", "--initial-cluster-state");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members() {
        assert_eq!(member("2=10.0.0.1:2380"), Ok((2, "10.0.0.1:2380".to_owned())));
        assert!(member("10.0.0.1:2380").is_err());
        assert!(member("x=10.0.0.1:2380").is_err());
    }

    #[test]
    fn listen_addresses_as_alertmanager_takes_them() {
        for (text, expected) in [
            (":9093", "0.0.0.0:9093"),
            ("127.0.0.1:9093", "127.0.0.1:9093"),
            ("[::1]:9093", "[::1]:9093"),
            ("localhost:9093", "127.0.0.1:9093"),
        ] {
            assert_eq!(listen_address(text).map(|a| a.to_string()), Ok(expected.to_owned()));
        }
        for (text, part) in [
            ("9093", "write it as HOST:PORT"),
            ("localhost", "write it as HOST:PORT"),
            ("http://localhost:9093", "write it as HOST:PORT"),
            ("localhost:http", "write it as HOST:PORT"),
            ("nowhere.invalid:9093", "name an address of this machine"),
        ] {
            let refused = listen_address(text).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
