//! `watchkeep slo gate`: for the step of a pipeline that comes before a release.

use anyhow::bail;
use clap::Args;
use reqwest::StatusCode;
use serde_json::Value;

use super::super::{api::Node, service::segment};
use crate::out;

/// Arguments of `watchkeep slo gate`.
#[derive(Debug, Args)]
pub(crate) struct Gate {
    #[command(flatten)]
    node: Node,
    /// The service, or `openslo.` and the name of a document
    service: String,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
}

impl Gate {
    /// Says what the gate says; an error when it is shut.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/slo/{}/gate", segment(&self.service)?);
        let (status, answer): (_, Value) = self.node.api()?.ask(&path).await?;
        let said = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        if self.json {
            out::line(&answer);
        } else {
            out::line(format_args!("{}: {}: {}", self.service, said("verdict"), said("reason")));
        }
        if status == StatusCode::CONFLICT {
            bail!("{} is frozen: release nothing but what makes it better", self.service);
        }
        Ok(())
    }
}
