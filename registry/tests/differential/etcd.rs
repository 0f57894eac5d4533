//! An etcd of one member, on free ports and in a temporary directory; killed when it is dropped.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::ports;

/// Where data lies: in memory where there is a place for that, since disks are not what is compared.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary directory")
}

pub(crate) struct Etcd {
    /// `http://127.0.0.1:port`.
    pub(crate) endpoint: String,
    dir: TempDir,
    process: Child,
}

impl Etcd {
    /// Starts one. It does not answer at once.
    pub(crate) fn start() -> Self {
        let dir = folder();
        let url = || format!("http://127.0.0.1:{}", ports::free());
        let (client, peer) = (url(), url());
        let log = File::create(dir.path().join("log")).expect("etcd's log");
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
            // Watchkeep's own timing: the least TTL of a lease follows from it.
            .args(["--heartbeat-interval", "100", "--election-timeout", "500"])
            // A password takes as little time as it can.
            .args(["--bcrypt-cost", "4"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = process.unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!(
                "etcd is not installed, and this test compares with it: apt-get install etcd-server"
            ),
            _ => panic!("etcd does not start: {error}"),
        });
        Self { endpoint: client, dir, process }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Why it has ended, if it has: the end of its log.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok()??;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        Some(format!(
            "etcd has ended ({status}):\n{}",
            lines[lines.len().saturating_sub(30)..].join("\n")
        ))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
