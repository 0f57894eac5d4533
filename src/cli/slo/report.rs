//! `watchkeep report`: a service's report over any span, in any of its forms.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::super::{api::Node, service::segment};
use crate::out;

/// Arguments of `watchkeep report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    node: Node,
    /// The service, or `openslo.` and the name of a document
    service: String,
    /// `24h`, `30d`, `month`, `last_month`, `quarter`, …; 30d when nothing is said
    #[arg(long)]
    window: Option<String>,
    /// From this moment or day on, instead of a window
    #[arg(long, conflicts_with = "window")]
    from: Option<String>,
    /// Up to this moment or day
    #[arg(long)]
    to: Option<String>,
    /// On whose calendar days and months are: an IANA name
    #[arg(long)]
    time_zone: Option<String>,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
    /// Write it to a file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Form of a report.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Markdown
    Md,
    /// JSON
    Json,
    /// A page
    Html,
    /// Days and months as CSV
    Csv,
}

impl Report {
    /// Prints or writes the report.
    pub(in super::super) async fn run(self) -> anyhow::Result<()> {
        let format = match self.format {
            Format::Md => "md",
            Format::Json => "json",
            Format::Html => "html",
            Format::Csv => "csv",
        };
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("format", format);
        for (name, value) in [
            ("window", &self.window),
            ("from", &self.from),
            ("to", &self.to),
            ("time_zone", &self.time_zone),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let path = format!("/v1/slo/{}/report?{}", segment(&self.service)?, query.finish());
        let text = self.node.api()?.text(&path).await?;
        match &self.output {
            Some(file) => std::fs::write(file, text).with_context(|| file.display().to_string()),
            None => {
                out::line(text.trim_end());
                Ok(())
            }
        }
    }
}
