//! `watchkeep slo rules`: what Watchkeep evaluates about promises, as a rule file for a Prometheus.

use clap::Args;
use watchkeep_alerting::{config::slo_rules, slo::openslo};

use crate::{out, rules::PromQl};

/// Arguments of `watchkeep slo rules`.
#[derive(Debug, Args)]
pub(crate) struct Rules {
    /// Files of OpenSLO v1 documents, and folders of them
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Only those of the documents: leave out the alerts on what every service promises
    #[arg(long)]
    documents_only: bool,
}

impl Rules {
    /// Prints the rule file.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let slos = match self.files.is_empty() {
            true => Vec::new(),
            // They are for a Prometheus, which knows itself what is switched on there.
            false => super::check::read(&self.files, PromQl { experimental: true })?,
        };
        let documents = openslo::rules(&slos);
        let text = match self.documents_only {
            true => documents,
            false => {
                let rest = documents.strip_prefix("groups:\n").unwrap_or_default();
                format!("groups:\n{}{rest}", slo_rules())
            }
        };
        out::line(text.trim_end());
        Ok(())
    }
}
