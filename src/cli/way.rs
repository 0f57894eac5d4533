//! Where a command that talks to the registry finds it, and in which form it answers.

use clap::{Args, ValueEnum};
use serde_json::Value;
use watchkeep_catalog::{Client, Time};

use crate::out;

/// Where the registry is, and how to answer.
#[derive(Debug, Args)]
pub(super) struct Way {
    /// Client URLs of the registry
    #[arg(
        long,
        value_name = "URL,…",
        value_delimiter = ',',
        env = "WATCHKEEP_ENDPOINTS",
        default_value = "http://127.0.0.1:2379"
    )]
    endpoints: Vec<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: Output,
    #[command(flatten)]
    login: super::login::Login,
}

/// A moment, as an argument says it.
pub(super) fn moment(text: &str) -> Result<Time, String> {
    let wrong = |_| "write it as 2026-01-05T09:00:00Z, or 2026-01-05T10:00:00+01:00".to_owned();
    text.parse().map_err(wrong)
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For machines
    Json,
}

impl Way {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        self.login.client(&self.endpoints)
    }

    /// Says one or the other.
    pub(super) fn answer(&self, json: &Value, text: impl std::fmt::Display) {
        match self.output {
            Output::Text => out::line(text),
            Output::Json => out::line(json),
        }
    }

    /// Says names, one a line.
    pub(super) fn names(&self, json: &Value, names: &[String]) {
        match self.output {
            Output::Text => names.iter().for_each(out::line),
            Output::Json => out::line(json),
        }
    }
}
