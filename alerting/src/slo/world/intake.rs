//! What changes of the registry's records mean to the report.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;
use tracing::warn;
use watchkeep_catalog::{
    Incident, Instance, KeyValue, RoleHolder, RoleHolders, STANDBY, Service, Status, Time, Verdict,
    client::Change, effective_role, keys,
};

use super::{Stored, Topic, World, moves::Step};
use crate::slo::{day::DayRecord, interval::Cause};

/// Causes remembered per service.
const CAUSES_MAX: usize = 256;

/// Of a failover's journal, what a downtime's cause needs, and whose roles it moved.
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
    #[serde(default)]
    steps: Vec<Step>,
}

impl World {
    /// Takes in a change that was heard of at `now_ms`.
    pub(in crate::slo) fn apply(&mut self, topic: Topic, change: Change, now_ms: i64) {
        match change {
            Change::Reset(kvs, _) => {
                match topic {
                    Topic::Instances => self.instances.clear(),
                    Topic::Roles => self.holders.clear(),
                    Topic::Services => self.targets.clear(),
                    Topic::Days => self.days.clear(),
                    Topic::Maintenance => self.windows.reset(),
                    Topic::Failovers => self.moves.clear(),
                    Topic::Incidents | Topic::Verdicts => {}
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
            Topic::Failovers => kv.json().map(|r| self.put_failover(r, now_ms)),
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
        let past = self.moves.history(service, id, serves);
        if !past.is_empty() {
            roles.import(&BTreeMap::from([(id.to_owned(), past)]));
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

    fn put_failover(&mut self, record: Failover, now_ms: i64) {
        // A rehearsal answers no fault and moves nothing.
        if record.rehearsal {
            return;
        }
        for id in self.moves.note(&record.service, &record.id, &record.steps) {
            let declared = self.instances.get(&(record.service.clone(), id.clone())).cloned();
            if let Some(declared) = declared {
                self.observe(&record.service, &id, &declared, now_ms);
            }
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
}
