//! The real Alertmanager in one process, and its command-line client.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use super::{eventually, http, ports, process::Process};

/// Debian's name of the program.
const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";

/// Alertmanager. Dropped, it is killed.
pub struct Alertmanager {
    /// `127.0.0.1:port`.
    pub address: String,
    process: Process,
}

impl Alertmanager {
    /// Starts it with this configuration, in a folder of its own under `dir`, and waits until it is ready.
    pub async fn start(dir: &Path, configuration: &str) -> Self {
        let dir = dir.join("alertmanager");
        fs::create_dir(&dir).expect("Alertmanager's folder");
        let file = dir.join("alertmanager.yml");
        fs::write(&file, configuration).expect("Alertmanager's configuration");
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new(ALERTMANAGER);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.path={}", dir.join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.arg("--cluster.listen-address=");
        let process = Process::spawn("alertmanager", command, &dir.join("log"));
        let alertmanager = Self { address, process };
        let url = format!("http://{}/-/ready", alertmanager.address);
        eventually("Alertmanager is ready", Duration::from_secs(20), async || {
            http::text(http::client().get(&url)).await
        })
        .await;
        alertmanager
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Runs `amtool` against an address; what it prints.
///
/// # Panics
/// When it fails.
pub fn amtool(address: &str, args: &[&str]) -> String {
    let output = amtool_output(address, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "amtool {args:?}: {}\n{text}{errors}", output.status);
    text
}

/// The same, whatever comes of it.
///
/// # Panics
/// When it cannot be started: the message says what to install.
pub fn amtool_output(address: &str, args: &[&str]) -> Output {
    Command::new("amtool")
        .arg(format!("--alertmanager.url=http://{address}"))
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("amtool: {e}; `cargo xtask peers` installs it"))
}
