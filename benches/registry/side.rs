//! One of the two sides: a cluster of ours or of etcd's, driven in the same way.

use std::{fs, path::Path, time::Duration};

use etcd_client::Client;

use super::common::{Cluster, etcd::Etcd};

/// Clock ticks in a second of `/proc/<pid>/stat`: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// A running cluster.
pub(crate) enum Side {
    /// Watchkeep's registry.
    Ours(Cluster),
    /// etcd.
    Theirs(Vec<Etcd>),
}

impl Side {
    /// Starts `nodes` registries, and nothing else in them: nobody probes beside the load.
    pub(crate) async fn ours(nodes: usize) -> Self {
        Self::Ours(Cluster::layout_roles(&vec!["registry"; nodes], None, &[]).run().await)
    }

    /// Starts an etcd of `nodes` with its data under `dir`.
    pub(crate) async fn theirs(dir: &Path, nodes: usize) -> Self {
        Self::Theirs(Etcd::cluster(dir, nodes).await)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        match self {
            Self::Ours(cluster) => cluster.urls(),
            Self::Theirs(all) => all.iter().map(|etcd| format!("http://{}", etcd.client)).collect(),
        }
    }

    pub(crate) fn processes(&mut self) -> Vec<u32> {
        match self {
            Self::Ours(cluster) => {
                cluster.nodes.iter_mut().map(|node| node.process().id()).collect()
            }
            Self::Theirs(all) => all.iter().map(Etcd::id).collect(),
        }
    }

    /// User and system time of all its processes so far.
    pub(crate) fn cpu_seconds(&mut self) -> f64 {
        let ticks = self.processes().into_iter().map(|id| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process runs");
            // Behind the name in parentheses: state is the first field, utime and stime the 12th and 13th.
            let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
            fields
                .skip(11)
                .take(2)
                .map(|field| field.parse::<f64>().expect("a number"))
                .sum::<f64>()
        });
        ticks.sum::<f64>() / TICKS
    }

    /// Resident memory of all its processes.
    pub(crate) fn resident_bytes(&mut self) -> u64 {
        let pages = self.processes().into_iter().map(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
            line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("kB")
        });
        pages.sum::<u64>() * 1024
    }

    /// The place of the leader among [`Self::urls`].
    pub(crate) async fn leader(&self) -> usize {
        loop {
            for (at, url) in self.urls().into_iter().enumerate() {
                let asked = async {
                    let mut client = Client::connect([url], None).await.ok()?;
                    let status = client.status().await.ok()?;
                    let own = status.header()?.member_id();
                    (status.leader() == own).then_some(at)
                };
                if let Ok(Some(at)) = tokio::time::timeout(Duration::from_secs(1), asked).await {
                    return at;
                }
            }
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, at: usize) {
        match self {
            Self::Ours(cluster) => cluster.nodes[at].kill(),
            Self::Theirs(all) => all[at].kill(),
        }
    }

    /// Starts a killed one again, without waiting for it.
    pub(crate) fn start_again(&mut self, at: usize) {
        match self {
            Self::Ours(cluster) => cluster.nodes[at].start(),
            Self::Theirs(all) => all[at].start_again(),
        }
    }

    /// Waits until it answers linearizable reads.
    pub(crate) async fn ready(&mut self, at: usize) {
        match self {
            Self::Ours(cluster) => cluster.nodes[at].ready().await,
            Self::Theirs(all) => all[at].ready().await,
        }
    }
}
