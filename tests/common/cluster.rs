//! One Watchkeep node or several that form a cluster.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

pub use super::node::{Node, START, Section, WATCHKEEP, decode, encode};
use super::{eventually, ports};

/// Nodes that know each other. Dropped, they are killed and their folders deleted.
pub struct Cluster {
    /// In the order of their ids.
    pub nodes: Vec<Node>,
    dir: TempDir,
}

impl Cluster {
    /// Lays out the nodes with all roles, and starts nothing.
    pub fn layout(count: usize, sections: &[Section<'_>]) -> Self {
        Self::layout_roles(&vec!["registry, collector, alerting"; count], None, sections)
    }

    /// Lays out one node per entry of `roles`; those with the role `registry` form the cluster, and the others
    /// use it, or the etcd at the address `registry`.
    pub fn layout_roles(
        roles: &[&str],
        registry: Option<String>,
        sections: &[Section<'_>],
    ) -> Self {
        let dir = TempDir::with_prefix("watchkeep-test-").expect("temporary folder");
        let mut nodes: Vec<Node> =
            (1..).zip(roles).map(|(id, roles)| Node::layout(id, roles, dir.path())).collect();
        let first = nodes.iter().find(|node| node.has_registry());
        let first = registry.or(first.map(|node| node.client.clone())).expect("a registry");
        for node in nodes.iter_mut().filter(|node| !node.has_registry()) {
            node.registry.clone_from(&first);
        }
        let members: Vec<&Node> = nodes.iter().filter(|node| node.has_registry()).collect();
        for node in &nodes {
            fs::write(node.config(), node.configuration(&members, sections))
                .expect("write configuration");
        }
        Self { nodes, dir }
    }

    /// Adds settings of the registry to each node's configuration.
    pub fn configure_registry(&self, settings: impl Fn(&Node) -> Value) {
        for node in &self.nodes {
            let text = fs::read_to_string(node.config()).expect("the configuration");
            let (mut lines, mut added) = (Vec::new(), false);
            for line in text.lines() {
                let Some(rest) = line.strip_prefix("registry: {") else {
                    lines.push(line.to_owned());
                    continue;
                };
                let settings = settings(node).to_string();
                let settings = settings.trim_start_matches('{').trim_end_matches('}');
                // What ends with an object keeps its own brace.
                let braces = settings.matches('{').count() - settings.matches('}').count();
                let secure = settings.contains("\"tls\"");
                let rest =
                    if secure { rest.replace("http://", "https://") } else { rest.to_owned() };
                lines.push(format!("registry: {{{settings}{}, {rest}", "}".repeat(braces)));
                added = true;
            }
            assert!(added, "{} has no registry", node.name);
            fs::write(node.config(), lines.join("\n") + "\n").expect("written");
        }
    }

    /// Lets each node answer DNS as well; their addresses.
    pub fn listen_for_dns(&self) -> Vec<(&'static str, u16)> {
        let of = |node: &Node| {
            let port = ports::free();
            let text = fs::read_to_string(node.config()).expect("the configuration");
            let listen = format!("listen: {{dns: \"127.0.0.1:{port}\", ");
            fs::write(node.config(), text.replace("listen: {", &listen)).expect("written");
            ("127.0.0.1", port)
        };
        self.nodes.iter().map(of).collect()
    }

    /// Starts all nodes and waits until each is [`Self::ready`].
    pub async fn run(mut self) -> Self {
        for node in &mut self.nodes {
            node.start();
        }
        self.ready().await;
        self
    }

    /// Lays out and starts the nodes, and waits until each answers a linearizable read.
    pub async fn start(count: usize, sections: &[Section<'_>]) -> Self {
        Self::layout(count, sections).run().await
    }

    /// Waits until each running node answers a linearizable read and its HTTP API.
    pub async fn ready(&mut self) {
        for node in &mut self.nodes {
            node.ready().await;
        }
    }

    /// Lays out one more node with all roles, which joins the registry as member `id` at its first start. Returns
    /// its place in `nodes`.
    pub fn joining(&mut self, id: usize, sections: &[Section<'_>]) -> usize {
        let node = Node::layout(id, "registry, collector, alerting", self.dir.path());
        self.nodes.push(node);
        let (node, others) = self.nodes.split_last().expect("just pushed");
        let members: Vec<&Node> =
            others.iter().filter(|other| other.is_running()).chain([node]).collect();
        let text = node.configuration(&members, sections);
        let text = text.replace("registry: {", "registry: {initial_cluster_state: existing, ");
        fs::write(node.config(), text).expect("write configuration");
        self.nodes.len() - 1
    }

    /// A folder for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The etcd endpoints of all nodes, as `etcdctl --endpoints` wants them.
    pub fn endpoints(&self) -> String {
        self.nodes.iter().map(|node| node.client.clone()).collect::<Vec<_>>().join(",")
    }

    /// The etcd endpoints of all nodes as URLs.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.client)).collect()
    }

    /// Which node holds the key `/watchkeep/alerting/leader`: an index into `nodes`.
    pub async fn alerting_leader(&self) -> usize {
        eventually("an alerting leader", START, async || {
            let node = self.nodes.iter().find(|node| node.is_running()).ok_or("no node runs")?;
            let record = node.get("/watchkeep/alerting/leader").await?.ok_or("nobody holds it")?;
            let found = self.nodes.iter().position(|node| record["id"] == node.name);
            found.ok_or_else(|| format!("the leader is {record}"))
        })
        .await
    }

    /// Which node leads Raft: an index into `nodes`.
    pub async fn raft_leader(&self) -> usize {
        eventually("a Raft leader", START, async || {
            for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
                let status = node.v3("maintenance/status", &json!({})).await?;
                let leader = status["leader"].as_str().unwrap_or("0");
                if leader != "0" && status["header"]["member_id"].as_str() == Some(leader) {
                    return Ok(at);
                }
            }
            Err("no node leads".to_owned())
        })
        .await
    }
}
