//! What the demo watches and how its nodes are told to.

use std::process::Stdio;

use anyhow::Context;
use chrono::{Duration, Utc};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use watchkeep_alerting::config::{Notify, Pages, Person, Receiver, Schedule, SmtpConfig, SmtpTls};

use super::{cluster::own_executable, service::State};
use crate::{cli::Api, config::Config};

/// The service of the demo.
pub(super) const SERVICE: &str = "db";
/// Who is on call.
pub(super) const PERSON: &str = "alice";
/// Where mail reaches her.
pub(super) const MAIL: &str = "alice@example.org";
/// Between probes.
pub(super) const INTERVAL_MS: u64 = 1000;
/// Failures in a row until a check is critical.
pub(super) const FALL: u32 = 2;

/// A demo service as a child process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: &'static str,
    role: &'static str,
    port: u16,
    api: Api,
    child: Child,
}

impl Server {
    /// Starts it on a free port.
    pub(super) async fn start(id: &'static str, role: &'static str) -> anyhow::Result<Self> {
        let mut command = Command::new(own_executable()?);
        command.args(["demo-service", "--name", id, "--role", role]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {id}"))?;
        let stdout = child.stdout.take().context("a child without standard output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let address = line.with_context(|| format!("{id} ended before it listened"))?;
        let port = address.parse::<std::net::SocketAddr>()?.port();
        let api = Api::new(&format!("http://127.0.0.1:{port}"))?;
        Ok(Self { id, role, port, api, child })
    }

    /// The body that registers it.
    pub(super) fn registration(&self) -> Value {
        json!({
            "id": self.id, "address": "127.0.0.1", "port": self.port, "role": self.role,
            "checks": [{
                "name": "http", "interval_ms": INTERVAL_MS, "timeout_ms": INTERVAL_MS,
                "rise": 1, "fall": FALL, "http": {"path": "/"},
            }],
        })
    }

    /// What it says of itself.
    pub(super) async fn state(&self) -> Option<State> {
        self.api.get("/state").await.ok()
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> std::io::Result<()> {
        self.child.start_kill()
    }
}

/// A node's configuration; the addresses are the cluster's to fill in.
pub(super) fn config(smtp_port: u16, hook_port: u16, standby: &Server) -> anyhow::Result<Config> {
    let hook = format!("http://127.0.0.1:{hook_port}/page");
    let mut config = Config::default();
    config.alerting.smtp = Some(SmtpConfig {
        host: "127.0.0.1".to_owned(),
        port: smtp_port,
        tls: SmtpTls::None,
        ca_file: None,
        username: None,
        password_file: None,
        from: "watchkeep@example.org".to_owned(),
    });
    config.alerting.people = vec![Person {
        name: PERSON.to_owned(),
        email: Some(MAIL.to_owned()),
        webhook: None,
        secret_file: None,
        secret_next_file: None,
        notify: Notify::default(),
    }];
    config.alerting.receivers = vec![Receiver {
        name: "ops-hook".to_owned(),
        email: None,
        webhook: Some(hook),
        secret_file: None,
        secret_next_file: None,
    }];
    let yesterday = Utc::now() - Duration::days(1);
    config.alerting.schedules = vec![Schedule {
        name: "primary".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        handoff: Some("0 0 9 * * Mon *".to_owned()),
        start: Some(yesterday.date_naive()),
        rotation: vec![PERSON.to_owned()],
        layers: Vec::new(),
    }];
    config.alerting.pages = Pages {
        schedule: Some("primary".to_owned()),
        receivers: vec!["ops-hook".to_owned()],
        ..Pages::default()
    };
    let policy = json!({
        "name": "db",
        "when": {"service": SERVICE, "role": "primary"},
        "callback": {"url": format!("http://127.0.0.1:{}/promote", standby.port)},
    });
    config.alerting.failover = vec![serde_json::from_value(policy)?];
    Ok(config)
}
