//! How an instance is, as far as the registry knows: the verdict, or before there is one the opinions.

use serde::Serialize;

use crate::{Instance, Silence, Status, Time, Verdict};

/// A verdict's status, or the lack of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Verdict passing, or there is nothing to probe.
    Passing,
    /// Verdict critical, or no verdict yet and a critical opinion.
    Critical,
    /// Not judged yet.
    Unknown,
}

impl Health {
    /// The word in JSON, HTML and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

/// An instance and its state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    /// What was registered.
    #[serde(flatten)]
    pub instance: Instance,
    /// Its state.
    pub status: Health,
    /// Since when; with a verdict only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The verdict's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why nobody is told that it is critical, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced: Option<Silence>,
    /// The lease of its registration; 0: none.
    #[serde(skip)]
    pub lease: i64,
}

impl Seen {
    /// Puts together what is known of it; `suspected`: some collector's opinion on it is critical.
    #[must_use]
    pub fn judge(
        instance: Instance,
        lease: i64,
        verdict: Option<&Verdict>,
        suspected: bool,
    ) -> Self {
        let status = match verdict.map(|v| v.status) {
            Some(Status::Passing) => Health::Passing,
            Some(Status::Critical) => Health::Critical,
            None if suspected => Health::Critical,
            None if instance.checks.is_empty() => Health::Passing,
            None => Health::Unknown,
        };
        let (since, reason) = (verdict.map(|v| v.since), verdict.map(|v| v.reason.clone()));
        let silenced = verdict.and_then(|v| v.silenced.clone());
        Self { instance, status, since, reason, silenced, lease }
    }
}
