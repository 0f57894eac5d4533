//! What the mirror holds: which keys, an instance's name, a record with its place in the registry's history, and what a
//! change may have changed.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use watchkeep_catalog::{ClientError, KeyValue, keys};

/// Whether the mirror has any use for a key. What only an Alertmanager needs is written most often. The leader's key is wanted:
/// with it this node knows that it has seen all that was decided before its election.
pub(crate) fn wants(key: &str, keeps_alerts: bool) -> bool {
    !key.starts_with(keys::ALERT)
        || key == keys::ALERTING_LEADER
        || keeps_alerts && key.starts_with(keys::ALERTS)
}

/// One instance of one service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    pub(crate) service: String,
    pub(crate) instance: String,
}

impl Target {
    pub(crate) fn new(service: &str, instance: &str) -> Self {
        Self { service: service.to_owned(), instance: instance.to_owned() }
    }
}

/// A record and where it stands in the registry's history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Versioned<T> {
    pub(crate) record: T,
    pub(crate) create_revision: i64,
    pub(crate) mod_revision: i64,
}

impl<T: DeserializeOwned> Versioned<T> {
    pub(crate) fn read(kv: &KeyValue) -> Result<Self, ClientError> {
        let (create_revision, mod_revision) = (kv.create_revision, kv.mod_revision);
        Ok(Self { record: kv.json()?, create_revision, mod_revision })
    }
}

/// What a change may have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Instances to decide on anew.
    pub(crate) targets: BTreeSet<Target>,
    /// Verdicts, incidents or failovers are others now.
    pub(crate) records: bool,
    /// What all instances are judged by is another now: collectors, services, maintenance windows.
    pub(crate) all: bool,
    /// Services whose panic began or ended.
    pub(crate) panics: BTreeSet<String>,
    /// People changed a schedule.
    pub(crate) duty: bool,
}

impl Touched {
    pub(crate) fn merge(&mut self, other: Self) {
        self.targets.extend(other.targets);
        self.records |= other.records;
        self.all |= other.all;
        self.panics.extend(other.panics);
        self.duty |= other.duty;
    }
}
