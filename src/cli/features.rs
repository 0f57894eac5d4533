//! Which PromQL commands mean that judge rules away from a node: a node's by its configuration, or promtool's flag.

use std::path::PathBuf;

use clap::Args;

use crate::{config, rules::PromQl};

/// As Prometheus and promtool call it.
const EXPERIMENTAL: &str = "promql-experimental-functions";

/// What of PromQL is switched on.
#[derive(Debug, Args)]
pub(crate) struct Features {
    /// A node's configuration: its query.experimental counts
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Switch on promql-experimental-functions, as promtool's flag does
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    enable_feature: Vec<String>,
}

impl Features {
    /// The PromQL that is meant. A feature that is not known is said, and counts for nothing, as with promtool.
    pub(super) fn promql(&self) -> anyhow::Result<PromQl> {
        let mut promql = PromQl::default();
        if let Some(file) = &self.config {
            promql = config::promql(file)?;
        }
        for feature in self.enable_feature.iter().map(|feature| feature.trim()) {
            match feature {
                EXPERIMENTAL => promql.experimental = true,
                "" => {}
                other => {
                    eprintln!(
                        "--enable-feature {other}: not known, and ignored; known: {EXPERIMENTAL}"
                    );
                }
            }
        }
        Ok(promql)
    }
}
