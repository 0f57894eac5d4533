//! An etcd of one's own, on free ports and in a temporary directory; killed when it is dropped.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use watchkeep_catalog::Client;

use crate::ports;

pub(crate) struct Etcd {
    dir: TempDir,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Etcd {
    pub(crate) fn start() -> Self {
        let mut etcd = Self {
            dir: tempfile::tempdir().expect("tempdir"),
            client_port: ports::free(),
            peer_port: ports::free(),
            process: None,
        };
        etcd.restart();
        etcd
    }

    /// Starts it again on its data.
    pub(crate) fn restart(&mut self) {
        let client = format!("http://127.0.0.1:{}", self.client_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let cluster = format!("default={peer}");
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.dir.path().join("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster, "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.expect("etcd is not installed: apt-get install etcd-server"));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill");
            process.wait().expect("wait");
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&[format!("http://127.0.0.1:{}", self.client_port)]).expect("a client")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}
