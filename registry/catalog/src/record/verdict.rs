//! What is believed of an instance: opinions, the verdict on them, and why nobody was told.

use serde::{Deserialize, Serialize};

use crate::Time;

/// Is it well?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It answers as it should.
    Passing,
    /// It does not.
    Critical,
}

impl Status {
    /// The word in JSON and in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Critical => "critical",
        }
    }
}

/// What one collector believes of one check. Written only when it changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opinion {
    /// Its belief.
    pub status: Status,
    /// When the belief was formed.
    pub since: Time,
    /// Start of the first probe of the run that formed it: for `critical`, the first failure.
    pub first_seen: Time,
    /// The last probe's outcome in words: `connect to 127.0.0.1:80: connection refused`.
    pub reason: String,
    /// Whether the check flaps: then no opinion becomes `passing`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flapping: bool,
    /// W3C `traceparent` of the forming of it, a child of the probe that tipped the scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
}

/// What Watchkeep holds to be true of an instance: the quorum of opinions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The service.
    pub service: String,
    /// The instance.
    pub instance: String,
    /// The verdict.
    pub status: Status,
    /// When it was decided.
    pub since: Time,
    /// Start of the first failed probe behind a `critical` verdict (or the first good one behind `passing`).
    pub first_seen: Time,
    /// One opinion's reason, with the check's name.
    pub reason: String,
    /// Opinions that agree with it.
    pub agree: u32,
    /// Opinions heard.
    pub opinions: u32,
    /// W3C `traceparent` of the opinion that tipped the scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
    /// Of a critical one: why there is no incident and no failover for it. Missing: there is nothing to keep quiet about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<Silence>,
    /// Whether the instance has not passed once since it was registered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_passed: bool,
}

/// Why nobody is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Its kind.
    pub reason: SilenceReason,
    /// The maintenance window's id, or the service or instance that it depends on.
    pub by: String,
    /// The incident that tells of it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

/// Kinds of silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceReason {
    /// It is in a maintenance window.
    Maintenance,
    /// What it depends on is down.
    Dependency,
    /// What it depends on may be down: that is to be known first.
    Waiting,
}

impl SilenceReason {
    /// The word in JSON and in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Dependency => "dependency",
            Self::Waiting => "waiting",
        }
    }
}

/// A service so much of which seems critical at once that none of it is believed. The key is there as long as that is so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panic {
    /// The service.
    pub service: String,
    /// Since when.
    pub since: Time,
    /// Instances that seemed critical then.
    pub critical: u32,
    /// Of so many that are probed.
    pub instances: u32,
    /// The share that was exceeded.
    pub threshold_percent: u8,
    /// The incident that tells of it.
    pub incident: String,
}

/// A mark on the way from times to revisions: everything before its revision was written before `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// When the mark was made.
    pub time: Time,
}
