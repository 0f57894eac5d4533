//! What the registry says that matters to the report: who serves, who promised what, what was recorded.
//!
//! Pure: fed with changes, asked for answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::NaiveDate;
use watchkeep_catalog::{RoleHolders, SloTarget, check_name, keys};

use super::{day::DayRecord, interval::Cause, roles::Roles, time::DAY_MS};
use crate::maintenance::Windows;
use moves::Moves;

mod excuses;
mod intake;
mod moves;

/// Services that are reported on; further ones are not.
pub(super) const SERVICES_MAX: usize = 10_000;
/// How long roles and tags of an instance are remembered that is gone: longer than its samples are counted.
const REMEMBERED_MS: i64 = 2 * DAY_MS;

/// Which prefix a change belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Instances,
    Roles,
    Services,
    Incidents,
    Verdicts,
    Failovers,
    Maintenance,
    Days,
}

impl Topic {
    pub(super) const ALL: [Self; 8] = [
        Self::Instances,
        Self::Roles,
        Self::Services,
        Self::Incidents,
        Self::Verdicts,
        Self::Failovers,
        Self::Maintenance,
        Self::Days,
    ];

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Instances => keys::INSTANCES,
            Self::Roles => keys::ROLES,
            Self::Services => keys::SERVICES,
            Self::Incidents => keys::INCIDENTS,
            Self::Verdicts => keys::VERDICTS,
            Self::Failovers => keys::FAILOVERS,
            Self::Maintenance => keys::MAINTENANCE,
            Self::Days => keys::SLO,
        }
    }
}

/// A day's record and the revision it was read at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) record: DayRecord,
    pub(super) mod_revision: i64,
}

/// The registry as the report sees it.
#[derive(Debug, Default)]
pub(super) struct World {
    read: BTreeSet<Topic>,
    /// The role that each instance says it has, by service and id.
    instances: BTreeMap<(String, String), String>,
    /// Who has a role whatever instances say, by service: failovers move them.
    holders: BTreeMap<String, RoleHolders>,
    /// Whose roles failovers have moved.
    moves: Moves,
    /// Tags by service and instance; an instance that is gone keeps its own for [`REMEMBERED_MS`].
    tags: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Since when instances are known to be gone.
    gone: BTreeMap<(String, String), i64>,
    windows: Windows,
    /// What OpenSLO documents promise, by their keys.
    documents: BTreeMap<String, SloTarget>,
    roles: BTreeMap<String, Roles>,
    targets: BTreeMap<String, Option<SloTarget>>,
    causes: BTreeMap<String, VecDeque<(i64, Cause)>>,
    days: BTreeMap<String, BTreeMap<NaiveDate, Stored>>,
}

impl World {
    /// Whether everything has been read at least once.
    pub(super) fn is_ready(&self) -> bool {
        self.read.len() == Topic::ALL.len()
    }

    /// Forgets instances that were gone at the last calls, too, for so long that nothing of theirs is counted any more.
    pub(super) fn forget(&mut self, now_ms: i64) {
        let (instances, gone) = (&self.instances, &mut self.gone);
        gone.retain(|key, _| !instances.contains_key(key));
        for (service, roles) in &mut self.roles {
            let mut tags = self.tags.get_mut(service);
            roles.retain(|id| {
                let key = (service.clone(), id.to_owned());
                if instances.contains_key(&key) {
                    return true;
                }
                let since = *gone.entry(key.clone()).or_insert(now_ms);
                let keep = now_ms < since + REMEMBERED_MS;
                if !keep {
                    gone.remove(&key);
                    if let Some(tags) = &mut tags {
                        tags.remove(id);
                    }
                }
                keep
            });
        }
        self.moves.forget(now_ms - REMEMBERED_MS);
        self.roles.retain(|_, roles| !roles.is_empty());
        self.tags.retain(|_, tags| !tags.is_empty());
        let known = self.services();
        self.causes.retain(|service, _| known.contains(service));
    }

    /// Everything that is or was a service: registered, described, or on record.
    pub(super) fn services(&self) -> BTreeSet<String> {
        let registered = self.instances.keys().map(|(service, _)| service);
        let all = registered.chain(self.targets.keys()).chain(self.days.keys());
        let all = all.chain(self.documents.keys());
        // Whoever puts keys past the API may name a service as it likes.
        let all: BTreeSet<_> = all.filter(|name| check_name("service", name).is_ok()).collect();
        all.into_iter().take(SERVICES_MAX).cloned().collect()
    }

    /// What the service's own record promises.
    pub(super) fn target(&self, service: &str) -> Option<&SloTarget> {
        self.documents.get(service).or_else(|| self.targets.get(service)?.as_ref())
    }

    /// What OpenSLO documents promise, by their keys.
    pub(super) fn promise(&mut self, documents: BTreeMap<String, SloTarget>) {
        self.documents = documents;
    }

    /// The maintenance windows of the configuration.
    pub(super) fn configure(&mut self, windows: Windows) {
        self.windows = windows;
    }

    /// Its instances' roles.
    pub(super) fn roles(&self, service: &str) -> Roles {
        self.roles.get(service).cloned().unwrap_or_default()
    }

    /// The first day that is on record.
    pub(super) fn first_day(&self, service: &str) -> Option<NaiveDate> {
        self.days.get(service)?.keys().next().copied()
    }

    /// What may have caused its downtimes, in the order of time.
    pub(super) fn causes(&self, service: &str) -> Vec<(i64, Cause)> {
        self.causes.get(service).into_iter().flatten().cloned().collect()
    }

    /// The day as recorded.
    pub(super) fn day(&self, service: &str, day: NaiveDate) -> Option<&Stored> {
        self.days.get(service)?.get(&day)
    }

    /// Takes in a record of our own before the watch tells of it.
    pub(super) fn wrote(&mut self, record: DayRecord, mod_revision: i64) {
        let days = self.days.entry(record.service.clone()).or_default();
        let known = days.get(&record.day).map_or(0, |s| s.mod_revision);
        if mod_revision > known {
            days.insert(record.day, Stored { record, mod_revision });
        }
    }

    /// Keys of at most `max` day records from before `day`.
    pub(super) fn days_before(&self, day: NaiveDate, max: usize) -> Vec<String> {
        let old = self.days.iter().flat_map(|(service, days)| {
            days.range(..day).map(move |(day, _)| keys::slo_day(service, &day.to_string()))
        });
        old.take(max).collect()
    }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
