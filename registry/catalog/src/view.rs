//! What the catalog holds, kept in memory by one watch: for every reader that asks often and must not cost the
//! registry a request each time (DNS, service discovery, blocking queries, event streams).
//!
//! ```text
//! /watchkeep/ ──watch──▶ State (pure: batches in) ──▶ Catalog (persistent maps: a copy costs a pointer)
//!                                                       │ watch channel: the newest
//!                                                       └ ring: the last PAST_MAX that differ
//! ```
//!
//! A [`Catalog`] is what held at one revision, whole: never half a transaction. It is as fresh as the member that the
//! client is connected to, so a follower's is as good as the leader's.

use std::sync::Arc;

use imbl::OrdMap;

use crate::{Panic, Service};

mod kept;
mod seen;
mod state;
#[cfg(test)]
mod tests;

pub use kept::{PAST_MAX, View};
pub use seen::{Health, Seen};
pub use state::{INSTANCES_MAX, State};

/// A service as it was at one revision: its record, if it has one, and its instances.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceSeen {
    /// Its own record.
    pub record: Option<Service>,
    /// Its instances, by id.
    pub instances: OrdMap<Arc<str>, Arc<Seen>>,
    /// So much of it seems critical that none of it is believed.
    pub panic: Option<Box<Panic>>,
    /// The revision of the last change that shows here.
    pub revision: i64,
}

/// Everything that is registered, as it was at one revision. A copy is cheap and never changes.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    revision: i64,
    changed: i64,
    removed: i64,
    instances: usize,
    services: OrdMap<Arc<str>, Arc<ServiceSeen>>,
}

impl Catalog {
    /// The revision that it shows; 0: nothing has been heard of the registry yet.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the last change to anything in here.
    #[must_use]
    pub fn changed(&self) -> i64 {
        self.changed
    }

    /// Instances of all services.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// Services by name: what has a record or an instance.
    #[must_use]
    pub fn services(&self) -> &OrdMap<Arc<str>, Arc<ServiceSeen>> {
        &self.services
    }

    /// One service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<ServiceSeen>> {
        self.services.get(name)
    }

    /// One instance.
    #[must_use]
    pub fn instance(&self, service: &str, id: &str) -> Option<&Arc<Seen>> {
        self.service(service)?.instances.get(id)
    }

    /// The revision of the last change to a service; of one that does not exist, the last at which some service
    /// vanished.
    #[must_use]
    pub fn changed_of(&self, service: &str) -> i64 {
        self.service(service).map_or(self.removed, |seen| seen.revision)
    }
}
