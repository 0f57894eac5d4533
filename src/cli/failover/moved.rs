//! `watchkeep failover drains | drain | undrain | roles | release`: what failovers have moved, and taking it back.

use anyhow::bail;
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use watchkeep_catalog::{Drain, RoleHolder, Time, check_name};

use super::{Node, time};
use crate::out;

/// A node, and nothing else.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    node: Node,
}

/// Arguments of `watchkeep failover drains`.
#[derive(Debug, Args)]
pub(crate) struct Drains {
    #[command(flatten)]
    node: Node,
    /// Also those that ended because their instance was gone for long
    #[arg(long)]
    all: bool,
}

/// Arguments of `watchkeep failover drain`.
#[derive(Debug, Args)]
pub(crate) struct Drained {
    #[command(flatten)]
    node: Node,
    /// SERVICE/INSTANCE
    target: String,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// Arguments of `watchkeep failover undrain`.
#[derive(Debug, Args)]
pub(crate) struct Undrain {
    #[command(flatten)]
    node: Node,
    /// SERVICE/INSTANCE
    target: String,
}

/// Arguments of `watchkeep failover release`.
#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    node: Node,
    /// SERVICE/ROLE
    target: String,
}

/// A drain as the API shows it.
#[derive(Debug, Deserialize)]
struct Shown {
    #[serde(flatten)]
    drain: Drain,
    gone_since: Option<Time>,
    ends_at: Option<Time>,
    ended_at: Option<Time>,
}

#[derive(Debug, Deserialize)]
struct AllDrains {
    drains: Vec<Shown>,
}

#[derive(Debug, Deserialize)]
struct Roles {
    roles: Vec<RoleHolder>,
}

/// Two names with a slash between them.
fn pair(text: &str) -> anyhow::Result<&str> {
    match text.split_once('/') {
        Some((one, two)) => {
            check_name("service", one)?;
            check_name("name", two)?;
            Ok(text)
        }
        None => bail!("{text:?}: write it as SERVICE/NAME"),
    }
}

impl Drained {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/drains/{}", pair(&self.target)?);
        let body = json!({"by": self.by, "reason": self.reason});
        self.node.api()?.call::<Value>(Method::PUT, &path, Some(&body)).await?;
        out::line(format_args!("{} is drained by {}", self.target, self.by));
        Ok(())
    }
}

impl Undrain {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { node, target } = self;
        let path = format!("/v1/drains/{}", pair(&target)?);
        node.api()?.call::<Value>(Method::DELETE, &path, None::<&()>).await?;
        out::line(format_args!("{target} is not drained any more"));
        Ok(())
    }
}

impl Release {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { node, target } = self;
        let path = format!("/v1/roles/{}", pair(&target)?);
        node.api()?.call::<Value>(Method::DELETE, &path, None::<&()>).await?;
        out::line(format_args!("{target}: instances are what they say of themselves"));
        Ok(())
    }
}

impl Drains {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = if self.all { "/v1/drains?all=true" } else { "/v1/drains" };
        let answer: AllDrains = self.node.api()?.get(path).await?;
        let head = ["INSTANCE", "SINCE", "BY", "GONE SINCE", "ENDS", "REASON"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(answer.drains.into_iter().map(
            |Shown { drain, gone_since, ends_at, ended_at }| {
                let ended = ended_at.map(|at| format!("ended {}", time(at)));
                vec![
                    format!("{}/{}", drain.service, drain.instance),
                    time(drain.since),
                    drain.by,
                    gone_since.map(time).unwrap_or_default(),
                    ended.or(ends_at.map(time)).unwrap_or_default(),
                    drain.reason,
                ]
            },
        ));
        out::table(&rows);
        Ok(())
    }
}

impl Asked {
    pub(super) async fn roles(self) -> anyhow::Result<()> {
        let answer: Roles = self.node.api()?.get("/v1/roles").await?;
        let mut rows = vec![["ROLE", "INSTANCE", "SINCE", "FAILOVER"].map(str::to_owned).to_vec()];
        rows.extend(answer.roles.into_iter().map(|holder| {
            let role = format!("{}/{}", holder.service, holder.role);
            vec![role, holder.instance, time(holder.since), holder.failover]
        }));
        out::table(&rows);
        Ok(())
    }
}
