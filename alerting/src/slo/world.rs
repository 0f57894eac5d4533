//! What the registry says that matters to the report: who serves, who promised what, what was recorded.
//!
//! Pure: fed with changes, asked for answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::NaiveDate;
use serde::Deserialize;
use tracing::warn;
use watchkeep_catalog::{
    Incident, Instance, KeyValue, RoleHolder, RoleHolders, Service, SloTarget, Status, Time,
    Verdict, check_name, client::Change, effective_role, keys,
};

use super::{
    day::DayRecord,
    interval::{Cause, Span, coalesce},
    roles::{Excused, Roles},
    time::{DAY_MS, instant},
};
use crate::maintenance::Windows;

/// The role of instances that do not serve.
const STANDBY: &str = "standby";
/// Services that are reported on; further ones are not.
pub(super) const SERVICES_MAX: usize = 10_000;
/// How long roles and tags of an instance are remembered that is gone: longer than its samples are counted.
const REMEMBERED_MS: i64 = 2 * DAY_MS;
/// Causes remembered per service.
const CAUSES_MAX: usize = 256;

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

/// Of a failover's journal, what a downtime's cause needs.
#[derive(Debug, Deserialize)]
struct Failover {
    id: String,
    service: String,
    #[serde(default)]
    instance: Option<String>,
    decided_at: Time,
    #[serde(default)]
    incident: Option<String>,
    #[serde(default)]
    rehearsal: bool,
}

/// The registry as the report sees it.
#[derive(Debug, Default)]
pub(super) struct World {
    read: BTreeSet<Topic>,
    /// The role that each instance says it has, by service and id.
    instances: BTreeMap<(String, String), String>,
    /// Who has a role whatever instances say, by service: failovers move them.
    holders: BTreeMap<String, RoleHolders>,
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

    /// Takes in a change that was heard of at `now_ms`.
    pub(super) fn apply(&mut self, topic: Topic, change: Change, now_ms: i64) {
        match change {
            Change::Reset(kvs, _) => {
                match topic {
                    Topic::Instances => self.instances.clear(),
                    Topic::Roles => self.holders.clear(),
                    Topic::Services => self.targets.clear(),
                    Topic::Days => self.days.clear(),
                    Topic::Maintenance => self.windows.reset(),
                    Topic::Incidents | Topic::Verdicts | Topic::Failovers => {}
                }
                kvs.into_iter().for_each(|kv| self.put(topic, &kv, now_ms));
                match topic {
                    Topic::Days => self.import_roles(),
                    // Some may be gone.
                    Topic::Roles => self.assign(None, now_ms),
                    _ => {}
                }
                self.read.insert(topic);
            }
            Change::Put(kv) => self.put(topic, &kv, now_ms),
            Change::Delete { key, .. } => self.delete(topic, &key, now_ms),
        }
    }

    fn put(&mut self, topic: Topic, kv: &KeyValue, now_ms: i64) {
        let outcome = match topic {
            Topic::Instances => kv.json().map(|r| self.put_instance(&kv.key, &r, now_ms)),
            Topic::Roles => kv.json().map(|holder: RoleHolder| {
                if let Some([service, role]) = keys::segments(&kv.key, keys::ROLES).as_deref() {
                    let holders = self.holders.entry((*service).to_owned()).or_default();
                    holders.insert((*role).to_owned(), holder);
                    self.assign(Some(*service), now_ms);
                }
            }),
            Topic::Services => kv.json().map(|r: Service| {
                if let Some([name]) = keys::segments(&kv.key, keys::SERVICES).as_deref() {
                    self.targets.insert((*name).to_owned(), r.slo);
                }
            }),
            Topic::Incidents => kv.json().map(|r| self.put_incident(r)),
            Topic::Verdicts => kv.json().map(|r| self.put_verdict(r)),
            Topic::Failovers => kv.json().map(|r| self.put_failover(r)),
            Topic::Maintenance => {
                let id = kv.key.strip_prefix(keys::MAINTENANCE).unwrap_or_default();
                if let Err(error) = self.windows.put(id, kv) {
                    warn!(key = kv.key, error, "maintenance window passed over in the SLO report");
                }
                Ok(())
            }
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
            let key = ((*service).to_owned(), (*id).to_owned());
            self.instances.insert(key, record.role.clone());
            self.observe(service, id, &record.role, now_ms);
            let tags = self.tags.entry((*service).to_owned()).or_default();
            tags.insert((*id).to_owned(), record.tags.clone());
        }
    }

    /// Notes whether an instance serves that says that it has the role `declared`. What a role's holder is to others, it has
    /// been since it was given.
    fn observe(&mut self, service: &str, id: &str, declared: &str, now_ms: i64) {
        let holders = self.holders.get(service);
        let role = effective_role(id, declared, holders);
        let mut all = holders.into_iter().flat_map(RoleHolders::values);
        let holder = all.find(|holder| holder.instance == id);
        let holder = holder.or_else(|| holders?.get(declared));
        let serves = role != STANDBY;
        let roles = self.roles.entry(service.to_owned()).or_default();
        match holder {
            Some(holder) => {
                let since = holder.since.timestamp_millis().min(now_ms);
                roles.observe_since(id, declared != STANDBY, serves, since);
            }
            None => roles.observe(id, serves, now_ms),
        }
    }

    /// Roles were moved: notes what the instances of a service (or of all) have now.
    fn assign(&mut self, service: Option<&str>, now_ms: i64) {
        let concerned =
            self.instances.iter().filter(|((name, _), _)| service.is_none_or(|s| s == name));
        let concerned: Vec<_> = concerned.map(|(key, role)| (key.clone(), role.clone())).collect();
        for ((service, id), declared) in concerned {
            self.observe(&service, &id, &declared, now_ms);
        }
    }

    fn put_incident(&mut self, record: Incident) {
        let Some(service) = record.labels.get("service") else { return };
        let cause = Cause {
            instance: record.labels.get("instance").cloned(),
            incident: Some(record.id),
            ..Cause::default()
        };
        self.note(service, record.started_at.timestamp_millis(), cause);
    }

    fn put_verdict(&mut self, record: Verdict) {
        if record.status == Status::Critical {
            let (instance, reason) = (Some(record.instance), Some(record.reason));
            let cause = Cause { instance, reason, ..Cause::default() };
            self.note(&record.service, record.first_seen.timestamp_millis(), cause);
        }
    }

    fn put_failover(&mut self, record: Failover) {
        // A rehearsal answers no fault.
        if record.rehearsal {
            return;
        }
        let known = |text: Option<String>| text.filter(|text| !text.is_empty());
        let cause = Cause {
            instance: known(record.instance),
            incident: known(record.incident),
            failover: Some(record.id),
            reason: None,
        };
        self.note(&record.service, record.decided_at.timestamp_millis(), cause);
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

    fn delete(&mut self, topic: Topic, key: &str, now_ms: i64) {
        let segments = keys::segments(key, topic.prefix());
        match (topic, segments.as_deref()) {
            (Topic::Instances, Some([service, id])) => {
                self.instances.remove(&((*service).to_owned(), (*id).to_owned()));
            }
            (Topic::Roles, Some([service, role])) => {
                if let Some(holders) = self.holders.get_mut(*service) {
                    holders.remove(*role);
                }
                self.assign(Some(*service), now_ms);
            }
            (Topic::Services, Some([service])) => {
                self.targets.remove(*service);
            }
            (Topic::Maintenance, Some([id])) => self.windows.remove(id),
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

    /// Its instances' roles, and what of them is excused by a window that is open within `[from, to)`.
    pub(super) fn counting(&self, service: &str, from: i64, to: i64) -> Roles {
        let mut roles = self.roles(service);
        for (window, _) in self.windows.iter() {
            let scope = &window.record.scope;
            if scope.service.as_ref().is_some_and(|covered| covered != service) {
                continue;
            }
            let instances = match (&scope.instance, &scope.tag) {
                (None, None) => None,
                (Some(instance), None) => Some(BTreeSet::from([instance.clone()])),
                (instance, Some(tag)) => {
                    let known = self.tags.get(service).into_iter().flatten();
                    let tagged = known.filter(|(id, tags)| {
                        tags.contains(tag) && instance.as_ref().is_none_or(|only| only == *id)
                    });
                    Some(tagged.map(|(id, _)| id.clone()).collect())
                }
            };
            let comment = &window.record.comment;
            let why = match comment.is_empty() {
                true => window.record.id.clone(),
                false => format!("{}: {comment}", window.record.id),
            };
            // One that ends just where the count goes on counts too: its end is a change.
            roles.excused.extend(window.spans(instant(from - 1), instant(to)).into_iter().map(
                |span| Excused {
                    from: span.from.timestamp_millis(),
                    to: span.to.timestamp_millis(),
                    instances: instances.clone(),
                    check: scope.check.clone(),
                    why: why.clone(),
                },
            ));
        }
        roles
    }

    /// The windows that excuse something of it within `[from, to)`, as causes in the order of time.
    pub(super) fn excuses(&self, service: &str, from: i64, to: i64) -> Vec<(i64, Cause)> {
        let excused = self.counting(service, from, to).excused.into_iter();
        let mut causes: Vec<_> = excused
            .map(|window| (window.from, Cause { reason: Some(window.why), ..Cause::default() }))
            .collect();
        causes.sort_by_key(|(at, _)| *at);
        causes
    }

    /// When a window covers the service as a whole within `[from, to)`, and which.
    pub(super) fn away(&self, service: &str, from: i64, to: i64) -> Vec<Span> {
        let excused = self.counting(service, from, to).excused.into_iter();
        let whole = excused.filter(|window| window.instances.is_none() && window.check.is_none());
        let spans = whole.filter_map(|window| {
            let mut span = Span::new(window.from, window.to, false);
            span.cause.reason = Some(window.why);
            span.clip(from, to)
        });
        coalesce(spans.collect())
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
