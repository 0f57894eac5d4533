//! `watchkeep service report`: a service says how it is, for a check of kind `ttl`.

use chrono::Utc;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use watchkeep_catalog::ReportStatus;

use super::service::{Way, segment};
use crate::out;

/// Arguments of `watchkeep service report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    way: Way,
    /// The service
    #[arg(long)]
    service: String,
    /// The instance's id
    #[arg(long)]
    id: String,
    /// The check
    #[arg(long)]
    check: String,
    /// How it is
    #[arg(long, value_enum, default_value_t = Word::Passing)]
    status: Word,
    /// Why, in words; the first 4 KiB are kept
    #[arg(long, default_value = "")]
    output: String,
}

/// How a service is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    /// Well
    Passing,
    /// Well enough; counts as passing
    Warning,
    /// Not well
    Critical,
}

impl From<Word> for ReportStatus {
    fn from(word: Word) -> Self {
        match word {
            Word::Passing => Self::Passing,
            Word::Warning => Self::Warning,
            Word::Critical => Self::Critical,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Taken {
    ttl_ms: u64,
}

impl Report {
    /// Reports once.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (service, id, check) = (&*self.service, &*self.id, &*self.check);
        let status = ReportStatus::from(self.status);
        let ttl_ms = if let Some(client) = self.way.registry()? {
            let how = (status, &*self.output);
            watchkeep_catalog::report(&client, (service, id, check), how, Utc::now()).await?
        } else {
            let (service, id, check) = (segment(service)?, segment(id)?, segment(check)?);
            let path = format!("/v1/services/{service}/instances/{id}/checks/{check}");
            let body = json!({ "status": status, "output": self.output });
            self.way.api()?.post::<Taken>(&path, &body).await?.ttl_ms
        };
        let word = status.as_str();
        out::line(format_args!("{service}/{id}/{check} is {word} for {ttl_ms} ms"));
        Ok(())
    }
}
