//! Three nodes as child processes of this program, in a directory of their own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context;
use tokio::process::{Child, Command};

use crate::{cli::Api, config::Config};

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) name: String,
    /// Client URL of its registry.
    pub(super) endpoint: String,
    pub(super) api: Api,
    child: Child,
}

impl Node {
    /// SIGKILL, and wait until it is dead.
    pub(super) async fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill().await
    }
}

/// Starts nodes 1 to `count`; each one's configuration is `template` with its own addresses.
///
/// # Errors
/// When ports, files or processes cannot be had.
pub(super) fn start(dir: &Path, count: u64, template: &Config) -> anyhow::Result<Vec<Node>> {
    let ids: Vec<u64> = (1..=count).collect();
    let ports = free_ports(3 * ids.len())?;
    let address = |at: usize| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[at]));
    let members: BTreeMap<_, _> =
        ids.iter().enumerate().map(|(at, id)| (*id, address(3 * at + 1).to_string())).collect();
    let mut nodes = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let mut config = template.clone();
        config.node.id = *id;
        config.node.name = format!("node-{id}");
        config.node.data_dir = dir.join(&config.node.name);
        config.listen.client = address(3 * at);
        config.listen.peer = address(3 * at + 1);
        config.listen.http = address(3 * at + 2);
        config.registry.initial_cluster.clone_from(&members);
        nodes.push(spawn(dir, &config)?);
    }
    Ok(nodes)
}

fn spawn(dir: &Path, config: &Config) -> anyhow::Result<Node> {
    let name = config.node.name.clone();
    let file = dir.join(format!("{name}.yaml"));
    fs::write(&file, serde_saphyr::to_string(config)?)
        .with_context(|| file.display().to_string())?;
    let mut command = Command::new(own_executable()?);
    command.arg("serve").arg("--config").arg(&file).arg("--until-stdin-closes");
    let log = File::create(dir.join(format!("{name}.log")))?;
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    Ok(Node {
        id: config.node.id,
        name,
        endpoint: format!("http://{}", config.listen.client),
        api: Api::new(&config.url())?,
        child,
    })
}

/// This program, for children.
pub(super) fn own_executable() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("where is this program?")
}

/// Ports that are free now. All are held until the last is found, so that they differ.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<_> =
        (0..count).map(|_| bind()).collect::<Result<_, _>>().context("no free port")?;
    Ok(held
        .iter()
        .map(TcpListener::local_addr)
        .map(|a| a.map(|a| a.port()))
        .collect::<Result<_, _>>()?)
}
