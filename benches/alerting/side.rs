//! One of the two: nodes of ours, or Alertmanagers that gossip.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::json;

use super::common::{Cluster, eventually, http, ports, process::Process};

/// Debian's name of the program.
const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";
/// Clock ticks in a second of `/proc/<pid>/stat`: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;
/// Three Alertmanagers wait so long for each other at the start.
const START: Duration = Duration::from_secs(60);

/// One Alertmanager.
pub(crate) struct Peer {
    dir: PathBuf,
    address: String,
    gossip: String,
    others: Vec<String>,
    process: Option<Process>,
}

pub(crate) enum Side {
    Ours(Box<Cluster>),
    Theirs(Vec<Peer>),
}

impl Side {
    pub(crate) async fn ours(nodes: usize, configuration: &str) -> Self {
        let alerting = json!({"alertmanager_config": "am.yml"});
        let roles = vec!["registry, alerting"; nodes];
        let cluster = Cluster::layout_roles(&roles, None, &[("alerting", alerting)]);
        for node in &cluster.nodes {
            fs::write(node.dir.join("am.yml"), configuration).expect("written");
        }
        let cluster = cluster.run().await;
        cluster.alerting_leader().await;
        Self::Ours(Box::new(cluster))
    }

    pub(crate) async fn theirs(dir: &Path, nodes: usize, configuration: &str) -> Self {
        let address = || format!("127.0.0.1:{}", ports::free());
        let gossips: Vec<String> = (0..nodes).map(|_| address()).collect();
        let mut peers = Vec::new();
        for (at, gossip) in gossips.iter().enumerate() {
            let dir = dir.join(format!("alertmanager-{at}"));
            fs::create_dir(&dir).expect("folder");
            fs::write(dir.join("am.yml"), configuration).expect("written");
            let others = gossips.iter().filter(|other| *other != gossip).cloned().collect();
            let (address, gossip) = (address(), gossip.clone());
            let mut peer = Peer { dir, address, gossip, others, process: None };
            peer.start();
            peers.push(peer);
        }
        let side = Self::Theirs(peers);
        for address in side.addresses() {
            // With peers it is ready when gossip has settled.
            ready(&address).await;
        }
        side
    }

    /// `host:port` of each HTTP API.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match self {
            Self::Ours(cluster) => cluster.nodes.iter().map(|node| node.http.clone()).collect(),
            Self::Theirs(peers) => peers.iter().map(|peer| peer.address.clone()).collect(),
        }
    }

    /// Whether an alert has to be posted to every one of them.
    pub(crate) fn wants_all(&self) -> bool {
        matches!(self, Self::Theirs(_))
    }

    pub(crate) fn kill(&mut self, at: usize) {
        match self {
            Self::Ours(cluster) => cluster.nodes[at].kill(),
            Self::Theirs(peers) => drop(peers[at].process.take()),
        }
    }

    /// Starts it again, and waits until it answers.
    pub(crate) async fn start(&mut self, at: usize) {
        match self {
            Self::Ours(cluster) => {
                cluster.nodes[at].start();
                cluster.nodes[at].ready().await;
            }
            Self::Theirs(peers) => {
                peers[at].start();
                let url = format!("http://{}/-/healthy", peers[at].address);
                eventually("Alertmanager answers", START, async || {
                    http::text(http::client().get(&url)).await
                })
                .await;
            }
        }
    }

    /// User and system time of all processes so far.
    pub(crate) fn cpu_seconds(&mut self) -> f64 {
        let ids: Vec<u32> = match self {
            Self::Ours(cluster) => cluster.nodes.iter_mut().map(|n| n.process().id()).collect(),
            Self::Theirs(peers) => {
                peers.iter().filter_map(|peer| Some(peer.process.as_ref()?.id())).collect()
            }
        };
        ids.into_iter().map(cpu_seconds).sum()
    }
}

impl Peer {
    fn start(&mut self) {
        let mut command = Command::new(ALERTMANAGER);
        command
            .arg(format!("--config.file={}", self.dir.join("am.yml").display()))
            .arg(format!("--storage.path={}", self.dir.join("data").display()))
            .arg(format!("--web.listen-address={}", self.address))
            .arg("--log.level=warn");
        if self.others.is_empty() {
            command.arg("--cluster.listen-address=");
        } else {
            command
                .arg(format!("--cluster.listen-address={}", self.gossip))
                .arg(format!("--cluster.advertise-address={}", self.gossip));
        }
        for other in &self.others {
            command.arg(format!("--cluster.peer={other}"));
        }
        self.process = Some(Process::spawn("alertmanager", command, &self.dir.join("log")));
    }
}

async fn ready(address: &str) {
    let url = format!("http://{address}/-/ready");
    eventually("Alertmanager is ready", START, async || http::text(http::client().get(&url)).await)
        .await;
    let url = format!("http://{address}/api/v2/status");
    eventually("gossip has settled", START, async || {
        let status = http::get(&url).await?;
        let settled = matches!(status["cluster"]["status"].as_str(), Some("ready" | "disabled"));
        if settled { Ok(()) } else { Err(status["cluster"].to_string()) }
    })
    .await;
}

fn cpu_seconds(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    // Behind the name in parentheses: state is the first field, utime and stime the 12th and 13th.
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / TICKS
}
