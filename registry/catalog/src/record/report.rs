//! What a service says of itself, for a check of kind `ttl`.

use serde::{Deserialize, Serialize};

use crate::Time;

/// How a service finds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportStatus {
    /// Well.
    Passing,
    /// Well enough, with something to say; counts as passing.
    Warning,
    /// Not well.
    Critical,
}

impl ReportStatus {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The last that a service said of itself. Lives under a lease of the check's `ttl_ms`, and is written anew only when
/// it says something else; otherwise the lease is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How it is.
    pub status: ReportStatus,
    /// In its own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Since when it says so.
    pub since: Time,
}
