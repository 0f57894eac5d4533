//! The records under `/watchkeep/`: JSON, the same in every language.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Time,
    name::{NameError, check_name},
};

mod check;
mod failover;
mod incident;
mod member;

pub use check::{Check, CheckError, CheckKind, HttpCheck, IpProtocol, Kind, Scheme, TcpCheck};
pub use failover::{Attempt, Failover, FailoverState};
pub use incident::{Incident, IncidentStatus, Note, Page, PageKind, PageState};
pub use member::{Collector, Member};

/// What a service promises; where a field is missing, the configured default holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SloTarget {
    /// Share of probes that must succeed, between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
    /// An answer later than this is too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
}

/// What is known of a service apart from its instances. Optional: instances alone make a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name; the key's last segment.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its own promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloTarget>,
}

/// One running copy of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The service it belongs to.
    #[serde(default)]
    pub service: String,
    /// Unique within the service.
    pub id: String,
    /// Host name or IP address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Failure domain, such as a data centre.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// `primary`, `standby` or what the users call it; a `standby` does not count against the SLO.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Share of the load, relative to the other instances.
    #[serde(default = "one")]
    pub weight: u32,
    /// For selection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How it is probed. Empty: it counts as passing while it is registered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

fn one() -> u32 {
    1
}

/// Why an instance is refused.
#[derive(Debug, Error, PartialEq)]
pub enum InstanceError {
    /// A name cannot be a key segment.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A check is wrong.
    #[error("check {name:?}: {source}")]
    Check {
        /// The check's name.
        name: String,
        /// What is wrong with it.
        source: CheckError,
    },
    /// Two checks share a name.
    #[error("two checks are named {0:?}: give each its own name")]
    DuplicateCheck(String),
    /// The address is empty.
    #[error("address is empty: give a host name or an IP address")]
    Address,
    /// The port is 0.
    #[error("port 0 is not allowed: give a port from 1 to 65535")]
    Port,
}

impl Instance {
    /// Whether the SLO counts it: everything but a standby serves.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.role != "standby"
    }

    /// Checks names, address, port and checks.
    ///
    /// # Errors
    /// The first thing that is wrong, with its remedy.
    pub fn validate(&self) -> Result<(), InstanceError> {
        check_name("service", &self.service)?;
        check_name("instance", &self.id)?;
        if self.address.is_empty() || self.address.contains(['/', ' ']) {
            return Err(InstanceError::Address);
        }
        if self.port == 0 {
            return Err(InstanceError::Port);
        }
        for (at, check) in self.checks.iter().enumerate() {
            check
                .validate()
                .map_err(|source| InstanceError::Check { name: check.name.clone(), source })?;
            if self.checks[..at].iter().any(|other| other.name == check.name) {
                return Err(InstanceError::DuplicateCheck(check.name.clone()));
            }
        }
        Ok(())
    }
}

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
    /// W3C `traceparent` of the probe that tipped the scale.
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
    /// W3C `traceparent` of the probe that tipped the scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
}
