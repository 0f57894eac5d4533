//! `watchkeep slo check`: OpenSLO documents, judged as `serve` judges them. Fails (status 1) when one is wrong.

use std::path::Path;

use anyhow::bail;
use clap::Args;
use watchkeep_alerting::slo::openslo::{self, Slo};

use crate::{cli::features::Features, out, rules::PromQl};

/// Arguments of `watchkeep slo check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files of OpenSLO v1 documents, and folders of them; judged together
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    features: Features,
}

impl Check {
    /// Prints a line for each objective, or everything that is wrong.
    pub(super) fn run(self) -> anyhow::Result<()> {
        for slo in read(&self.files, self.features.promql()?)? {
            let target = format!("{:.6}", slo.target * 100.0);
            let target = target.trim_end_matches('0').trim_end_matches('.');
            out::line(format_args!("{}: ok, {target} % of {}", slo.name, slo.service));
        }
        Ok(())
    }
}

/// The objectives of these files and folders.
pub(super) fn read(files: &[String], promql: PromQl) -> anyhow::Result<Vec<Slo>> {
    match openslo::load(Path::new(""), files, &promql) {
        Ok(slos) => Ok(slos),
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            bail!("{}", lines.join("\n"))
        }
    }
}
