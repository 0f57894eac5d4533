//! The records under `/watchkeep/`: JSON, the same in every language.

use std::{collections::BTreeMap, net::Ipv6Addr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::name::{NameError, check_name};

mod alert;
mod check;
mod failover;
mod heartbeat;
mod incident;
mod maintenance;
mod member;
mod oncall;
mod report;
mod role;
mod rule;
mod scrape;
mod service;
mod verdict;

pub use alert::{
    Alert, AlertMatcher, AlertSilence, AlertSource, LabelSet, Notification, NotificationState,
    fingerprint,
};
pub use check::*;
pub use failover::{
    Attempt, Failover, FailoverMode, FailoverState, FailoverStep, GuardResult, StepState,
};
pub use heartbeat::Heartbeat;
pub use incident::{
    DedupKey, Escalation, Incident, IncidentStatus, Note, Page, PageKind, PageState,
};
pub use maintenance::{Maintenance, MaintenanceError, Scope};
pub use member::{Collector, Member};
pub use oncall::{ChangeKind, ScheduleChange, Span, TemporaryShift};
pub use report::{Report, ReportStatus};
pub use role::{
    Drain, DrainAbsence, FailoverStop, RoleHolder, RoleHolders, STANDBY, effective_role,
    role_before, role_note,
};
pub use rule::RuleAlert;
pub use scrape::{Scrape, ScrapeError};
pub use service::{Quorum, QuorumError, Service, ServiceError, SloTarget};
pub use verdict::{Clock, Opinion, Panic, Silence, SilenceReason, Status, Verdict};

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
    /// How it is probed. Empty: it counts as passing while it is registered. A [`CheckPool`] keeps equal ones once.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "write_checks",
        deserialize_with = "read_checks"
    )]
    pub checks: Vec<Arc<Check>>,
    /// Where its own metrics are; none: a collector fetches them only if its configuration says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape: Option<Scrape>,
}

fn one() -> u32 {
    1
}

fn write_checks<S: Serializer>(checks: &[Arc<Check>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(checks.iter().map(|check| &**check))
}

/// In a list that has room for no more: many instances are kept.
fn read_checks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Arc<Check>>, D::Error> {
    let read = Vec::<Check>::deserialize(from)?;
    let mut checks = Vec::with_capacity(read.len());
    checks.extend(read.into_iter().map(Arc::new));
    Ok(checks)
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
    /// What is said about its metrics is wrong.
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
    /// Two checks share a name.
    #[error("two checks are named {0:?}: give each its own name")]
    DuplicateCheck(String),
    /// The address is empty.
    #[error("address is empty: give a host name or an IP address")]
    NoAddress,
    /// The address is a URL, has a port, or is no address at all.
    #[error(
        "address {0:?} is neither a host name nor an IP address: give nothing else, such as 10.0.0.7 or db.example.org; \
         the port has a field of its own"
    )]
    Address(String),
    /// The port is 0.
    #[error("port 0 is not allowed: give a port from 1 to 65535")]
    Port,
}

impl Instance {
    /// Whether the SLO counts it: everything but a standby serves.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.role != STANDBY
    }

    /// Checks names, address, port and checks.
    ///
    /// # Errors
    /// The first thing that is wrong, with its remedy.
    pub fn validate(&self) -> Result<(), InstanceError> {
        check_name("service", &self.service)?;
        check_name("instance", &self.id)?;
        if self.address.is_empty() {
            return Err(InstanceError::NoAddress);
        }
        if !is_address(&self.address) {
            return Err(InstanceError::Address(self.address.clone()));
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
        if let Some(scrape) = &self.scrape {
            scrape.validate()?;
        }
        Ok(())
    }
}

/// Whether this can be a host name or an IP address. Names are the resolver's affair; what has a colon is IPv6, with a zone
/// perhaps.
fn is_address(text: &str) -> bool {
    let (address, _) = text.split_once('%').unwrap_or((text, ""));
    if address.contains(':') {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#[]%\\\"'".contains(c);
    !text.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_nothing_else() {
        let instance = |address: &str| {
            let json = format!(r#"{{"service":"s","id":"a","address":{address:?},"port":1}}"#);
            serde_json::from_str::<Instance>(&json).expect("an instance").validate()
        };
        for good in ["10.0.0.7", "db", "db-1.example.org", "::1", "fe80::1%eth0", "_srv.x"] {
            assert_eq!(instance(good), Ok(()), "{good}");
        }
        assert_eq!(instance(""), Err(InstanceError::NoAddress));
        for bad in
            ["10.0.0.7:80", "http://db", "db:5432", "a b", "user@db", "db/x", "[::1]", "[::1]:80"]
        {
            assert_eq!(instance(bad), Err(InstanceError::Address(bad.to_owned())), "{bad}");
        }
    }
}
