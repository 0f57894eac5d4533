//! What the registry says that matters to the report: who serves, who promised what, what was recorded.
//!
//! Pure: fed with changes, asked for answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::NaiveDate;
use tracing::warn;
use watchkeep_catalog::{
    Incident, Instance, KeyValue, Service, SloTarget, Status, Verdict, check_name, client::Change,
    keys,
};

use super::{day::DayRecord, interval::Cause, roles::Roles};

/// Services that are reported on; further ones are not.
pub(super) const SERVICES_MAX: usize = 10_000;
/// Causes remembered per service.
const CAUSES_MAX: usize = 256;

/// Which prefix a change belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Instances,
    Services,
    Incidents,
    Verdicts,
    Days,
}

impl Topic {
    pub(super) const ALL: [Self; 5] =
        [Self::Instances, Self::Services, Self::Incidents, Self::Verdicts, Self::Days];

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Instances => keys::INSTANCES,
            Self::Services => keys::SERVICES,
            Self::Incidents => keys::INCIDENTS,
            Self::Verdicts => keys::VERDICTS,
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
    instances: BTreeSet<(String, String)>,
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

    /// Takes in a change that was heard of at `now_ms`.
    pub(super) fn apply(&mut self, topic: Topic, change: Change, now_ms: i64) {
        match change {
            Change::Reset(kvs, _) => {
                match topic {
                    Topic::Instances => self.instances.clear(),
                    Topic::Services => self.targets.clear(),
                    Topic::Days => self.days.clear(),
                    Topic::Incidents | Topic::Verdicts => {}
                }
                kvs.into_iter().for_each(|kv| self.put(topic, &kv, now_ms));
                if topic == Topic::Days {
                    self.import_roles();
                }
                self.read.insert(topic);
            }
            Change::Put(kv) => self.put(topic, &kv, now_ms),
            Change::Delete { key, .. } => self.delete(topic, &key),
        }
    }

    fn put(&mut self, topic: Topic, kv: &KeyValue, now_ms: i64) {
        let outcome = match topic {
            Topic::Instances => kv.json().map(|r| self.put_instance(&kv.key, &r, now_ms)),
            Topic::Services => kv.json().map(|r: Service| {
                if let Some([name]) = keys::segments(&kv.key, keys::SERVICES).as_deref() {
                    self.targets.insert((*name).to_owned(), r.slo);
                }
            }),
            Topic::Incidents => kv.json().map(|r| self.put_incident(r)),
            Topic::Verdicts => kv.json().map(|r| self.put_verdict(r)),
            Topic::Days => kv.json().map(|record: DayRecord| {
                let days = self.days.entry(record.service.clone()).or_default();
                days.insert(record.day, Stored { record, mod_revision: kv.mod_revision });
            }),
        };
        if let Err(error) = outcome {
            warn!(%error, "record passed over in the SLO report");
        }
    }

    fn put_instance(&mut self, key: &str, record: &Instance, now_ms: i64) {
        if let Some([service, id]) = keys::segments(key, keys::INSTANCES).as_deref() {
            self.instances.insert(((*service).to_owned(), (*id).to_owned()));
            let roles = self.roles.entry((*service).to_owned()).or_default();
            roles.observe(id, record.serves(), now_ms);
        }
    }

    fn put_incident(&mut self, record: Incident) {
        let Some(service) = record.labels.get("service") else { return };
        let cause = Cause {
            instance: record.labels.get("instance").cloned(),
            reason: None,
            incident: Some(record.id),
        };
        self.note(service, record.started_at.timestamp_millis(), cause);
    }

    fn put_verdict(&mut self, record: Verdict) {
        if record.status == Status::Critical {
            let (instance, reason) = (Some(record.instance), Some(record.reason));
            let cause = Cause { instance, reason, incident: None };
            self.note(&record.service, record.first_seen.timestamp_millis(), cause);
        }
    }

    /// Remembers a cause once, in the order of time.
    fn note(&mut self, service: &str, at: i64, cause: Cause) {
        let causes = self.causes.entry(service.to_owned()).or_default();
        if causes.iter().any(|(t, c)| *t == at && *c == cause) {
            return;
        }
        let place = causes.partition_point(|(t, _)| *t <= at);
        causes.insert(place, (at, cause));
        if causes.len() > CAUSES_MAX {
            causes.pop_front();
        }
    }

    fn delete(&mut self, topic: Topic, key: &str) {
        let segments = keys::segments(key, topic.prefix());
        match (topic, segments.as_deref()) {
            (Topic::Instances, Some([service, id])) => {
                self.instances.remove(&((*service).to_owned(), (*id).to_owned()));
            }
            (Topic::Services, Some([service])) => {
                self.targets.remove(*service);
            }
            (Topic::Days, Some([service, day])) => {
                let Ok(day) = day.parse::<NaiveDate>() else { return };
                if let Some(days) = self.days.get_mut(*service) {
                    days.remove(&day);
                    if days.is_empty() {
                        self.days.remove(*service);
                    }
                }
            }
            _ => {}
        }
    }

    /// The latest record of each service knows what roles its instances had before we looked.
    fn import_roles(&mut self) {
        for (service, days) in &self.days {
            if let Some((_, stored)) = days.last_key_value() {
                self.roles.entry(service.clone()).or_default().import(&stored.record.roles);
            }
        }
    }

    /// Everything that is or was a service: registered, described, or on record.
    pub(super) fn services(&self) -> BTreeSet<String> {
        let registered = self.instances.iter().map(|(service, _)| service);
        let all = registered.chain(self.targets.keys()).chain(self.days.keys());
        // Whoever puts keys past the API may name a service as it likes.
        let all: BTreeSet<_> = all.filter(|name| check_name("service", name).is_ok()).collect();
        all.into_iter().take(SERVICES_MAX).cloned().collect()
    }

    /// What the service's own record promises.
    pub(super) fn target(&self, service: &str) -> Option<&SloTarget> {
        self.targets.get(service)?.as_ref()
    }

    /// Its instances' roles.
    pub(super) fn roles(&self, service: &str) -> Roles {
        self.roles.get(service).cloned().unwrap_or_default()
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
