//! `watchkeep service register | deregister | report | list | set | forget`: over the HTTP API of a node; registrations and
//! reports straight into the registry, too.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use watchkeep_catalog::{Check, Client, HttpCheck, Instance, Scrape};

use super::{
    api::{Api, Listener},
    login::Login,
    report::Report,
    serve::stop_token,
};
use crate::out;

mod list;
mod set;

/// `watchkeep service …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Register an instance
    Register(Box<Register>),
    /// Remove an instance
    Deregister(Deregister),
    /// Say how an instance is, for a check of kind ttl
    Report(Box<Report>),
    /// List services, or the instances of one
    List(list::List),
    /// Say what a service promises, depends on and is for; what is not named stays as it is
    Set(Box<set::Set>),
    /// Remove what was said of a service; its instances stay
    Forget(set::Forget),
}

/// Where registrations go.
#[derive(Debug, Args)]
pub(super) struct Way {
    #[command(flatten)]
    listener: Listener,
    /// Client URLs of the registry (or of any etcd), instead of a node's HTTP API
    #[arg(long, value_name = "URL,…", value_delimiter = ',')]
    endpoints: Vec<String>,
    #[command(flatten)]
    login: Login,
}

/// Arguments of `watchkeep service register`.
#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    way: Way,
    /// The service
    #[arg(long)]
    service: String,
    /// The instance's id, unique within the service
    #[arg(long)]
    id: String,
    /// Host name or IP address
    #[arg(long)]
    address: String,
    /// Port
    #[arg(long)]
    port: u16,
    /// Probe this path by HTTP
    #[arg(long, value_name = "PATH", conflicts_with = "tcp")]
    http_path: Option<String>,
    /// Probe by connecting
    #[arg(long)]
    tcp: bool,
    /// Fetch its own metrics from this path, such as /metrics
    #[arg(long, value_name = "PATH")]
    scrape_path: Option<String>,
    /// A check of any kind as JSON, as docs/checks.md has it; may be given again
    #[arg(long = "check", value_name = "JSON", value_parser = check)]
    checks: Vec<Check>,
    /// Milliseconds from probe to probe
    #[arg(long, default_value_t = 5000)]
    interval_ms: u64,
    /// Milliseconds after which a probe has failed
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
    /// Successes in a row until it passes
    #[arg(long, default_value_t = 1)]
    rise: u32,
    /// Failures in a row until it is critical
    #[arg(long, default_value_t = 2)]
    fall: u32,
    /// `primary`, `standby` or a word of your own
    #[arg(long, default_value = "")]
    role: String,
    /// Failure domain
    #[arg(long, default_value = "")]
    zone: String,
    /// Share of the load, relative to the other instances
    #[arg(long, default_value_t = 1)]
    weight: u32,
    /// A tag; may be given again
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Anything else; may be given again
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Seconds until the registration vanishes without a heartbeat; without it, it stays
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<i64>,
    /// Stay, and send the heartbeats; the registration is removed at the end
    #[arg(long, requires = "ttl")]
    keep: bool,
}

/// Arguments of `watchkeep service deregister`.
#[derive(Debug, Args)]
pub(crate) struct Deregister {
    #[command(flatten)]
    way: Way,
    /// The service
    #[arg(long)]
    service: String,
    /// The instance's id
    #[arg(long)]
    id: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn check(text: &str) -> Result<Check, String> {
    let check: Check = serde_json::from_str(text).map_err(|e| e.to_string())?;
    check.validate().map_err(|e| e.to_string())?;
    watchkeep_collector::judge(&check)?;
    Ok(check)
}

impl Service {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Register(register) => register.run().await,
            Self::Deregister(deregister) => {
                deregister.way.deregister(&deregister.service, &deregister.id).await?;
                out::line(format_args!("{}/{} removed", deregister.service, deregister.id));
                Ok(())
            }
            Self::Report(report) => report.run().await,
            Self::List(list) => list.run().await,
            Self::Set(set) => set.run().await,
            Self::Forget(forget) => forget.run().await,
        }
    }
}

impl Register {
    async fn run(self) -> anyhow::Result<()> {
        let instance = self.instance();
        let (service, id) = (&self.service, &self.id);
        let Some(ttl) = self.ttl.filter(|_| self.keep) else {
            self.way.register(&instance, self.ttl).await?;
            out::line(format_args!("{service}/{id} registered"));
            return Ok(());
        };
        let stop = stop_token(false)?;
        self.way.register(&instance, Some(ttl)).await?;
        out::line(format_args!(
            "{service}/{id} registered; heartbeats every {} s until Ctrl-C",
            pause(ttl)
        ));
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(pause(ttl)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.way.heartbeat(service, id).await {
                // Expired or lost: registering again mends both, and fails loudly when nothing does.
                eprintln!("{error:#}; registering again");
                if let Err(error) = self.way.register(&instance, Some(ttl)).await {
                    eprintln!("{error:#}");
                }
            }
        }
        self.way.deregister(service, id).await?;
        out::line(format_args!("{service}/{id} removed"));
        Ok(())
    }

    fn instance(&self) -> Instance {
        let http =
            self.http_path.clone().map(|path| Box::new(HttpCheck { path, ..HttpCheck::default() }));
        let tcp = self.tcp.then(Box::default);
        let check = Check {
            name: if http.is_some() { "http" } else { "tcp" }.to_owned(),
            interval_ms: self.interval_ms,
            timeout_ms: self.timeout_ms,
            rise: self.rise,
            fall: self.fall,
            http,
            tcp,
            ..Check::default()
        };
        let probed = check.kind().is_some();
        Instance {
            service: self.service.clone(),
            id: self.id.clone(),
            address: self.address.clone(),
            port: self.port,
            zone: self.zone.clone(),
            role: self.role.clone(),
            weight: self.weight,
            tags: self.tags.clone(),
            metadata: self.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
            checks: probed
                .then_some(check)
                .into_iter()
                .chain(self.checks.clone())
                .map(Arc::new)
                .collect(),
            scrape: self.scrape_path.clone().map(|path| Scrape { path, ..Scrape::default() }),
        }
    }
}

/// Seconds between heartbeats: a third of the TTL.
fn pause(ttl: i64) -> f64 {
    f64::from(u32::try_from(ttl).unwrap_or(u32::MAX).max(1)) / 3.0
}

impl Way {
    /// A node's API.
    pub(super) fn api(&self) -> anyhow::Result<Api> {
        self.listener.api(self.login.tls())
    }

    /// The registry, if its URLs were given.
    pub(super) fn registry(&self) -> anyhow::Result<Option<Client>> {
        if self.endpoints.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.login.client(&self.endpoints)?))
    }

    async fn register(&self, instance: &Instance, ttl: Option<i64>) -> anyhow::Result<()> {
        if let Some(client) = self.registry()? {
            watchkeep_catalog::register(&client, instance, ttl).await?;
            return Ok(());
        }
        let mut body = serde_json::to_value(instance)?;
        body["ttl_seconds"] = json!(ttl);
        let path = format!("/v1/services/{}/instances", segment(&instance.service)?);
        self.api()?.post::<Value>(&path, &body).await?;
        Ok(())
    }

    async fn heartbeat(&self, service: &str, id: &str) -> anyhow::Result<()> {
        if let Some(client) = self.registry()? {
            watchkeep_catalog::heartbeat(&client, service, id).await?;
            return Ok(());
        }
        let path =
            format!("/v1/services/{}/instances/{}/heartbeat", segment(service)?, segment(id)?);
        self.api()?.call::<Value>(Method::PUT, &path, None::<&()>).await?;
        Ok(())
    }

    async fn deregister(&self, service: &str, id: &str) -> anyhow::Result<()> {
        if let Some(client) = self.registry()? {
            watchkeep_catalog::deregister(&client, service, id).await?;
            return Ok(());
        }
        let path = format!("/v1/services/{}/instances/{}", segment(service)?, segment(id)?);
        self.api()?.call::<Value>(Method::DELETE, &path, None::<&()>).await?;
        Ok(())
    }
}

/// A name that may stand in a path.
pub(super) fn segment(name: &str) -> anyhow::Result<&str> {
    watchkeep_catalog::check_name("service, instance or check", name)?;
    Ok(name)
}
