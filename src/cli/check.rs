//! `watchkeep check`: the configuration is judged as `serve` would, and nothing is started.

use std::path::PathBuf;

use clap::Args;

use crate::{
    config::{self, Flags},
    out,
};

/// Arguments of `watchkeep check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file
    #[arg(long, value_name = "FILE", default_value = "watchkeep.yaml")]
    config: PathBuf,
    /// An alertmanager.yml to check, and nothing else
    #[arg(long = "config.file", value_name = "FILE", conflicts_with = "config")]
    alertmanager_config: Option<PathBuf>,
    /// Print the whole configuration, defaults included
    #[arg(long)]
    print: bool,
}

impl Check {
    /// Prints `FILE: ok`, and what is remarkable as warnings; or fails with everything that is wrong.
    pub(super) fn run(self) -> anyhow::Result<()> {
        if let Some(file) = self.alertmanager_config {
            config::alertmanager::load(&file)?;
            out::line(format_args!("{}: ok", file.display()));
            return Ok(());
        }
        let (config, remarks) = config::load_with_remarks(Some(&self.config), &Flags::default())?;
        for remark in remarks {
            eprintln!("warning: {remark}");
        }
        if self.print {
            out::line(serde_saphyr::to_string(&config)?.trim_end());
        } else {
            out::line(format_args!("{}: ok", self.config.display()));
        }
        Ok(())
    }
}
