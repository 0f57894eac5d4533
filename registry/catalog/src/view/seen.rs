//! How an instance is, as far as the registry knows: the verdict, or before there is one the opinions.

use serde::Serialize;

use crate::{Drain, Instance, RoleHolders, Silence, Status, Time, Verdict, effective_role};

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
    /// The verdict's reason, or why it is critical without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why nobody is told that it is critical, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced: Option<Box<Silence>>,
    /// Why it is left out of answers although it may be well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<Box<Drain>>,
    /// The role that it says of itself; who has it is said by a failover's promotion, if there was one.
    #[serde(skip)]
    pub declared_role: String,
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
        let suspicion = suspected.then_some("no verdict yet; a collector finds it critical");
        let reason = verdict.map(|v| v.reason.as_str()).or(suspicion).map(str::to_owned);
        let since = verdict.map(|v| v.since);
        let silenced = verdict.and_then(|v| v.silenced.clone()).map(Box::new);
        let (drained, declared_role) = (None, instance.role.clone());
        Self { instance, status, since, reason, silenced, drained, declared_role, lease }
    }

    /// The same with what failovers have moved: its role, and whether it is drained.
    #[must_use]
    pub fn moved(mut self, holders: Option<&RoleHolders>, drained: Option<&Drain>) -> Self {
        let role = effective_role(&self.instance.id, &self.declared_role, holders);
        self.instance.role = role.to_owned();
        self.drained = drained.cloned().map(Box::new);
        self
    }

    /// Whether clients are to be sent there: it is well, and nobody has drained it.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.status == Health::Passing && self.drained.is_none()
    }

    /// Whether `healthy=true` finds it: nothing speaks against it.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status != Health::Critical && self.drained.is_none()
    }
}
