//! `watchkeep dashboards list | export | check`: the Grafana dashboards that are in the binary.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{dashboards, out};

mod board;
mod check;

/// `watchkeep dashboards …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Dashboards {
    /// List them
    List,
    /// Write them to a folder, from which Grafana can be provisioned
    Export(Export),
    /// Ask a Prometheus, or a node, everything that the dashboards ask: which panels have data?
    Check(Box<check::Check>),
}

/// Arguments of `watchkeep dashboards export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder; it is made if it is not there
    folder: PathBuf,
}

impl Dashboards {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List => list(),
            Self::Export(export) => export.run(),
            Self::Check(check) => check.run().await,
        }
    }
}

fn list() -> anyhow::Result<()> {
    let mut rows = vec![["file", "title", "answers"].map(str::to_owned).to_vec()];
    for (name, board) in all()? {
        let said = |field: &str| board[field].as_str().unwrap_or_default().to_owned();
        rows.push(vec![name.clone(), said("title"), said("description")]);
    }
    out::table(&rows);
    Ok(())
}

/// All of them: file name and content.
fn all() -> anyhow::Result<Vec<(String, Value)>> {
    let read = |name: String| {
        let file = dashboards::file(&name).unwrap_or_default();
        let board = serde_json::from_slice(&file).with_context(|| name.clone())?;
        Ok((name, board))
    };
    dashboards::names().into_iter().map(read).collect()
}

impl Export {
    fn run(self) -> anyhow::Result<()> {
        let shown = self.folder.display();
        fs::create_dir_all(&self.folder).with_context(|| format!("{shown}: cannot be made"))?;
        for name in dashboards::names() {
            let path = self.folder.join(&name);
            fs::write(&path, dashboards::file(&name).unwrap_or_default())
                .with_context(|| format!("{}: cannot be written", path.display()))?;
            out::line(path.display());
        }
        Ok(())
    }
}
