//! A real etcd on free ports, killed at the end.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use watchkeep_catalog::Client;

use super::until;
use crate::ports;

pub(crate) struct Etcd {
    process: Child,
    pub(crate) client: Client,
    _data: TempDir,
}

impl Etcd {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let endpoint = format!("http://127.0.0.1:{}", ports::free());
        let peer = format!("http://127.0.0.1:{}", ports::free());
        let process = Command::new("etcd")
            .args(["--data-dir".as_ref(), data.path().as_os_str()])
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            // Leases of two seconds are refused with longer ones.
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (cargo xtask test installs it)");
        let client = Client::new(&[endpoint]).unwrap();
        let etcd = Self { process, client, _data: data };
        until("etcd's answer", async || etcd.client.get("x").await.ok()).await;
        etcd
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
