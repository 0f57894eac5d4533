//! Where a secret comes from. The secret itself is never in a record.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `{"file": "token"}` or `{"env": "WATCHKEEP_SECRET_TOKEN"}`, on the collector.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// A file below the collector's `files_dir`; white space at its end is no part of the secret.
    File(String),
    /// A variable of the collector's environment, whose name begins with `WATCHKEEP_SECRET_`.
    Env(String),
    /// The secret itself: only for what a local configuration file makes, never read from or written to a record.
    #[serde(skip)]
    Literal(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {path:?}"),
            Self::Env(name) => write!(f, "variable {name:?}"),
            Self::Literal(_) => f.write_str("***"),
        }
    }
}
