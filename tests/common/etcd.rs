//! A real etcd of one node or several: the oracle beside which we are held, and a registry already there.

use std::{path::Path, process::Command, time::Duration};

use super::{etcdctl, eventually, ports, process::Process, wait::ensure};

/// One etcd process. Dropped, it is killed.
pub struct Etcd {
    /// Its client address, `127.0.0.1:port`.
    pub client: String,
    process: Process,
}

impl Etcd {
    /// Starts one with its data under `dir` and waits until it answers.
    pub async fn start(dir: &Path) -> Self {
        Self::cluster(dir, 1).await.remove(0)
    }

    /// Starts a cluster with its data under `dir` and waits until each answers.
    pub async fn cluster(dir: &Path, count: usize) -> Vec<Self> {
        let url = || format!("http://127.0.0.1:{}", ports::free());
        let members: Vec<_> = (1..=count).map(|id| (format!("etcd-{id}"), url(), url())).collect();
        let initial: Vec<_> =
            members.iter().map(|(name, peer, _)| format!("{name}={peer}")).collect();
        let initial = initial.join(",");
        let start = |(name, peer, client): &(String, String, String)| {
            let mut command = Command::new("etcd");
            command.args(["--name", name, "--data-dir"]).arg(dir.join(name));
            command.args(["--listen-client-urls", client, "--advertise-client-urls", client]);
            command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
            command.args(["--initial-cluster", &initial, "--log-level", "error"]);
            let process = Process::spawn(name, command, &dir.join(format!("{name}.log")));
            Self { client: client.trim_start_matches("http://").to_owned(), process }
        };
        let cluster: Vec<Self> = members.iter().map(start).collect();
        for etcd in &cluster {
            eventually("etcd", Duration::from_secs(20), async || {
                let output = etcdctl::run(&etcd.client, &["get", "health"], "");
                let why = || String::from_utf8_lossy(&output.stderr).into_owned();
                ensure(output.status.success(), why)
            })
            .await;
        }
        cluster
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
