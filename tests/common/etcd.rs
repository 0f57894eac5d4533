//! A real etcd of one node or several: the oracle beside which we are held, and a registry already there.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{etcdctl, eventually, ports, process::Process, wait::ensure};

/// One etcd process. Dropped, it is killed.
pub struct Etcd {
    /// Its client address, `127.0.0.1:port`.
    pub client: String,
    name: String,
    args: Vec<String>,
    log: PathBuf,
    process: Process,
}

impl Etcd {
    /// Starts one with its data under `dir` and waits until it answers.
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[]).await
    }

    /// The same with more flags.
    pub async fn start_with(dir: &Path, flags: &[&str]) -> Self {
        Self::launch(dir, 1, flags).await.remove(0)
    }

    /// Starts a cluster with its data under `dir` and waits until each answers.
    pub async fn cluster(dir: &Path, count: usize) -> Vec<Self> {
        Self::launch(dir, count, &[]).await
    }

    async fn launch(dir: &Path, count: usize, flags: &[&str]) -> Vec<Self> {
        let url = || format!("http://127.0.0.1:{}", ports::free());
        let members: Vec<_> = (1..=count).map(|id| (format!("etcd-{id}"), url(), url())).collect();
        let initial: Vec<_> =
            members.iter().map(|(name, peer, _)| format!("{name}={peer}")).collect();
        let initial = initial.join(",");
        let start = |(name, peer, client): &(String, String, String)| {
            let data = dir.join(name).display().to_string();
            let args = [
                ["--name", name],
                ["--data-dir", &data],
                ["--listen-client-urls", client],
                ["--advertise-client-urls", client],
                ["--listen-peer-urls", peer],
                ["--initial-advertise-peer-urls", peer],
                ["--initial-cluster", &initial],
                ["--log-level", "error"],
            ];
            let args = args.as_flattened().iter().chain(flags).map(ToString::to_string);
            let args: Vec<String> = args.collect();
            let log = dir.join(format!("{name}.log"));
            let client = client.trim_start_matches("http://").to_owned();
            let process = spawn(name, &args, &log);
            Self { client, name: name.clone(), args, log, process }
        };
        let cluster: Vec<Self> = members.iter().map(start).collect();
        for etcd in &cluster {
            etcd.ready().await;
        }
        cluster
    }

    /// Waits until it answers a linearizable read.
    pub async fn ready(&self) {
        eventually("etcd", Duration::from_secs(20), async || {
            let output = etcdctl::run(&self.client, &["get", "health"], "");
            let why = || String::from_utf8_lossy(&output.stderr).into_owned();
            ensure(output.status.success(), why)
        })
        .await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Self::kill`]; it may not be [`Self::ready`] yet.
    pub fn start_again(&mut self) {
        self.process = spawn(&self.name, &self.args, &self.log);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

fn spawn(name: &str, args: &[String], log: &Path) -> Process {
    let mut command = Command::new("etcd");
    command.args(args);
    Process::spawn(name, command, log)
}
