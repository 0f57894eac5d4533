//! `watchkeep incident list | ack | resolve`.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use watchkeep_catalog::Incident as Record;

use super::api::Node;
use crate::out;

/// `watchkeep incident …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Incident {
    /// List incidents
    List(List),
    /// Take an incident: nobody else is needed
    Ack(Act),
    /// End an incident
    Resolve(Act),
}

/// Arguments of `watchkeep incident list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    node: Node,
    /// Only those that are `triggered`, `acknowledged` or `resolved`
    #[arg(long)]
    status: Option<String>,
}

/// Arguments of `watchkeep incident ack` and `resolve`.
#[derive(Debug, Args)]
pub(crate) struct Act {
    #[command(flatten)]
    node: Node,
    /// The incident
    id: String,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
}

#[derive(Debug, Deserialize)]
struct Incidents {
    incidents: Vec<Record>,
}

impl Incident {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Ack(act) => act.run("acknowledge", "acknowledged").await,
            Self::Resolve(act) => act.run("resolve", "resolved").await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let query = self.status.map(|s| format!("?status={s}")).unwrap_or_default();
        let path = format!("/v1/incidents{query}");
        let answer: Incidents = self.node.api()?.get(&path).await?;
        let mut rows = vec![["INCIDENT", "STATUS", "SINCE", "TITLE"].map(str::to_owned).to_vec()];
        rows.extend(answer.incidents.into_iter().map(|i| {
            let status = serde_json::to_value(i.status).unwrap_or_default();
            let since = i.started_at.format("%Y-%m-%d %H:%M:%SZ").to_string();
            vec![i.id, status.as_str().unwrap_or_default().to_owned(), since, i.title]
        }));
        out::table(&rows);
        Ok(())
    }
}

impl Act {
    async fn run(self, action: &str, done: &str) -> anyhow::Result<()> {
        watchkeep_catalog::check_name("incident", &self.id)?;
        let path = format!("/v1/incidents/{}", self.id);
        let body = json!({"action": action, "by": self.by});
        self.node.api()?.post::<Value>(&path, &body).await?;
        out::line(format_args!("{} {done} by {}", self.id, self.by));
        Ok(())
    }
}
