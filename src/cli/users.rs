//! `watchkeep user`, `watchkeep role`, `watchkeep auth`: who may do what in the registry. Works with an etcd as well.

use clap::{Args, ValueEnum};
use serde_json::Value;
use watchkeep_catalog::Client;

use crate::out;

mod auth;
mod role;
mod user;

pub(crate) use auth::Auth;
pub(crate) use role::Role;
pub(crate) use user::User;

/// Where the registry is, and how to answer.
#[derive(Debug, Args)]
struct Way {
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
    output: Output,
    #[command(flatten)]
    login: super::login::Login,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For machines
    Json,
}

impl Way {
    fn client(&self) -> anyhow::Result<Client> {
        self.login.client(&self.endpoints)
    }

    /// Says one or the other.
    fn answer(&self, json: &Value, text: impl std::fmt::Display) {
        match self.output {
            Output::Text => out::line(text),
            Output::Json => out::line(json),
        }
    }

    /// Says names, one a line.
    fn names(&self, json: &Value, names: &[String]) {
        match self.output {
            Output::Text => names.iter().for_each(out::line),
            Output::Json => out::line(json),
        }
    }
}
