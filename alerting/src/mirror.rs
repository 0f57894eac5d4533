//! What the registry holds of interest here, kept in memory by one watch on everything of Watchkeep's. Pure.
//!
//! One watch, not one per prefix: it delivers in the order of revisions, so whoever has seen its own election
//! has seen everything that was decided before it. What this node writes itself is entered at once and not
//! overwritten by the older events that are still on their way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracing::warn;
use watchkeep_catalog::{
    Alert, CheckPool, Clock, Drain, DrainAbsence, Failover, FailoverState, FailoverStop, Heartbeat,
    Incident, IncidentStatus, Instance, KeyValue, Opinion, PageState, Panic, RoleHolder,
    RoleHolders, Service, Time, Verdict, client::Change, effective_role, keys,
};

use crate::{
    dependency::Dependencies,
    escalation,
    maintenance::Windows,
    oncall::{self, Changes},
    store::stop_of,
};

mod answers;
mod record;

pub(crate) use record::{Target, Touched, Versioned, wants};

/// By check and collector.
type Opinions = HashMap<(String, String), Opinion>;

#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// The latest revision seen.
    pub(crate) revision: i64,
    pub(crate) instances: HashMap<Target, Versioned<Instance>>,
    /// The instances of each service.
    members: HashMap<String, BTreeSet<String>>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) dependencies: Dependencies,
    /// The collectors that are alive.
    pub(crate) collectors: BTreeSet<String>,
    pub(crate) windows: Windows,
    pub(crate) panics: BTreeMap<String, Versioned<Panic>>,
    pub(crate) clock: Option<Versioned<Clock>>,
    /// The latest revision at which anything but the clock changed.
    pub(crate) changed: i64,
    opinions: HashMap<Target, Opinions>,
    pub(crate) verdicts: HashMap<Target, Versioned<Verdict>>,
    pub(crate) incidents: BTreeMap<String, Versioned<Incident>>,
    pub(crate) failovers: BTreeMap<String, Versioned<Failover>>,
    /// Incidents with a page to deliver.
    pub(crate) pages_pending: BTreeSet<String>,
    /// Failovers with steps to be done.
    pub(crate) failovers_pending: BTreeSet<String>,
    /// Failovers that are to be decided on, or wait for a person.
    pub(crate) failovers_undecided: BTreeSet<String>,
    /// While this is there, no failover is begun.
    pub(crate) failover_stop: Option<FailoverStop>,
    /// Who has a role, by service.
    pub(crate) roles: BTreeMap<String, RoleHolders>,
    pub(crate) drains: BTreeMap<Target, Versioned<Drain>>,
    /// Drained instances that are not registered any more, and drains that ended by that.
    pub(crate) absent_drains: BTreeMap<Target, Versioned<DrainAbsence>>,
    /// Alerts of rules, and those that others have posted, by fingerprint; none are kept where nobody asks for them.
    pub(crate) alerts: BTreeMap<String, Alert>,
    keeps_alerts: bool,
    /// The roles that instances claim.
    declared: HashMap<Target, String>,
    /// Incidents of verdicts that are not resolved.
    open: HashMap<Target, BTreeSet<String>>,
    /// When something is to be done about an incident next.
    pub(crate) wakes: BTreeMap<String, Time>,
    /// Incidents that are not resolved, by their dedup keys.
    pub(crate) keyed: BTreeMap<String, String>,
    /// What people changed in schedules.
    pub(crate) changes: Changes,
    /// When each was written, by schedule and id.
    pub(crate) change_revisions: BTreeMap<(String, String), i64>,
    pub(crate) heartbeats: BTreeMap<String, Heartbeat>,
    pool: CheckPool,
}

impl Mirror {
    /// Empty but for the windows of the configuration. Alerts are many: they are kept where somebody asks for them.
    pub(crate) fn new(windows: Windows, keeps_alerts: bool) -> Self {
        Self { windows, keeps_alerts, ..Self::default() }
    }

    /// Whether an alert fires at `now`; none where alerts are not kept.
    pub(crate) fn fires(&self, fingerprint: &str, now: Time) -> Option<bool> {
        let alert = self.alerts.get(fingerprint);
        self.keeps_alerts.then(|| alert.is_some_and(|alert| !alert.is_resolved(now)))
    }

    pub(crate) fn apply(&mut self, change: Change) -> Touched {
        match change {
            Change::Reset(kvs, revision) => self.reset(kvs, revision),
            Change::Put(kv) => self.put(&kv),
            Change::Delete { key, revision } => self.delete(&key, revision),
        }
    }

    fn reset(&mut self, kvs: Vec<KeyValue>, revision: i64) -> Touched {
        let mut touched = Touched { records: true, all: true, duty: true, ..Touched::default() };
        touched.targets.extend(self.verdicts.keys().cloned());
        touched.targets.extend(self.open.keys().cloned());
        touched.panics.extend(self.panics.keys().cloned());
        let mut windows = std::mem::take(&mut self.windows);
        windows.reset();
        let keeps_alerts = self.keeps_alerts;
        let fresh = Self { revision, changed: revision, windows, keeps_alerts, ..Self::default() };
        let before = std::mem::replace(self, fresh);
        for kv in kvs {
            touched.merge(self.put(&kv));
        }
        self.keep_newer(before, revision);
        touched.targets.extend(self.open.keys().cloned());
        touched
    }

    /// What this node wrote behind `revision` is not in a list read at it.
    fn keep_newer(&mut self, before: Self, revision: i64) {
        for (target, verdict) in before.verdicts {
            if verdict.mod_revision > revision {
                self.set_verdict(&target, verdict);
            }
        }
        for (service, panic) in before.panics {
            if panic.mod_revision > revision {
                self.panics.insert(service, panic);
            }
        }
        for (id, incident) in before.incidents {
            if incident.mod_revision > revision {
                self.set_incident(&id, incident);
            }
        }
        for (id, failover) in before.failovers {
            if failover.mod_revision > revision {
                self.set_failover(&id, failover);
            }
        }
    }

    pub(crate) fn put(&mut self, kv: &KeyValue) -> Touched {
        self.revision = self.revision.max(kv.mod_revision);
        if kv.key != keys::CLOCK {
            self.changed = self.changed.max(kv.mod_revision);
        }
        self.put_record(kv).unwrap_or_else(|error| {
            warn!(%error, "a record cannot be read and is ignored");
            Touched::default()
        })
    }

    fn put_record(&mut self, kv: &KeyValue) -> Result<Touched, watchkeep_catalog::ClientError> {
        let mut touched = Touched::default();
        if let Some([service, instance]) = segments(&kv.key, keys::INSTANCES) {
            let target = Target::new(service, instance);
            let mut record: Versioned<Instance> = Versioned::read(kv)?;
            self.pool.share(&mut record.record.checks);
            // The key decides: a plain put may leave the service out of the value.
            service.clone_into(&mut record.record.service);
            self.declared.insert(target.clone(), record.record.role.clone());
            let role = effective_role(instance, &record.record.role, self.roles.get(service));
            record.record.role = role.to_owned();
            self.instances.insert(target.clone(), record);
            self.members.entry(service.to_owned()).or_default().insert(instance.to_owned());
            touched.targets.insert(target);
        } else if let Some([service, instance, check, collector]) =
            segments(&kv.key, keys::OPINIONS)
        {
            let target = Target::new(service, instance);
            let opinions = self.opinions.entry(target.clone()).or_default();
            opinions.insert((check.to_owned(), collector.to_owned()), kv.json()?);
            touched.targets.insert(target);
        } else if let Some([service, instance]) = segments(&kv.key, keys::VERDICTS) {
            self.set_verdict(&Target::new(service, instance), Versioned::read(kv)?);
            touched.targets.insert(Target::new(service, instance));
            touched.records = true;
        } else if let Some([id]) = segments(&kv.key, keys::INCIDENTS) {
            self.set_incident(id, Versioned::read(kv)?);
            touched.records = true;
        } else if let Some([id]) = segments(&kv.key, keys::FAILOVERS) {
            self.set_failover(id, Versioned::read(kv)?);
            touched.records = true;
        } else if let Some([name]) = segments(&kv.key, keys::SERVICES) {
            self.set_service(name, Some(Service { name: name.to_owned(), ..kv.json()? }));
            touched.all = true;
        } else if let Some([id]) = segments(&kv.key, keys::COLLECTORS) {
            touched.all = self.collectors.insert(id.to_owned());
        } else if let Some([id]) = segments(&kv.key, keys::MAINTENANCE) {
            touched.all = true;
            if let Err(error) = self.windows.put(id, kv) {
                warn!(key = kv.key, error, "a maintenance window cannot be read and is ignored");
            }
        } else if let Some([service]) = segments(&kv.key, keys::PANICS) {
            let panic = Versioned::read(kv)?;
            if is_newer(self.panics.get(service), &panic) {
                self.panics.insert(service.to_owned(), panic);
            }
            touched.panics.insert(service.to_owned());
        } else if let Some([schedule, id]) = segments(&kv.key, keys::ONCALL) {
            oncall::put_change(&mut self.changes, kv.json()?);
            let place = (schedule.to_owned(), id.to_owned());
            self.change_revisions.insert(place, kv.mod_revision);
            touched.duty = true;
        } else if let Some([name]) = segments(&kv.key, keys::HEARTBEATS) {
            self.heartbeats.insert(name.to_owned(), kv.json()?);
        } else if kv.key == keys::CLOCK {
            self.clock = Some(Versioned::read(kv)?);
        } else if let Some([service, role]) = segments(&kv.key, keys::ROLES) {
            let holder: RoleHolder = kv.json()?;
            self.roles.entry(service.to_owned()).or_default().insert(role.to_owned(), holder);
            touched.targets = self.reassign(service);
        } else if let Some([service, instance]) = segments(&kv.key, keys::DRAINS) {
            self.drains.insert(Target::new(service, instance), Versioned::read(kv)?);
        } else if let Some([service, instance]) = segments(&kv.key, keys::ABSENT_DRAINS) {
            self.absent_drains.insert(Target::new(service, instance), Versioned::read(kv)?);
        } else if let Some([fingerprint]) = segments(&kv.key, keys::ALERTS) {
            if self.keeps_alerts {
                self.alerts.insert(fingerprint.to_owned(), kv.json()?);
            }
        } else if kv.key == keys::FAILOVER_STOP {
            self.failover_stop = Some(stop_of(kv));
            touched.records = true;
        }
        Ok(touched)
    }

    /// Roles were moved: every instance of the service has the one that it has now.
    fn reassign(&mut self, service: &str) -> BTreeSet<Target> {
        let members: BTreeSet<Target> = self.members(service).collect();
        for target in &members {
            let declared = self.declared.get(target).cloned().unwrap_or_default();
            let role = effective_role(&target.instance, &declared, self.roles.get(service));
            let role = role.to_owned();
            if let Some(instance) = self.instances.get_mut(target) {
                instance.record.role = role;
            }
        }
        members
    }

    fn set_service(&mut self, name: &str, record: Option<Service>) {
        let depends = |service: &Option<Service>| {
            service.as_ref().map(|service| service.depends_on.clone()).unwrap_or_default()
        };
        let after = depends(&record);
        let before = match record {
            Some(record) => self.services.insert(name.to_owned(), record),
            None => self.services.remove(name),
        };
        if depends(&before) == after {
            return;
        }
        let (dependencies, circle) = Dependencies::read(self.services.values());
        self.dependencies = dependencies;
        if let Some(circle) = circle {
            warn!(
                circle,
                "services depend on each other in a circle: no dependency silences anything"
            );
        }
    }

    pub(crate) fn set_verdict(&mut self, target: &Target, verdict: Versioned<Verdict>) {
        if is_newer(self.verdicts.get(target), &verdict) {
            self.verdicts.insert(target.clone(), verdict);
        }
    }

    pub(crate) fn set_incident(&mut self, id: &str, incident: Versioned<Incident>) {
        if !is_newer(self.incidents.get(id), &incident) {
            return;
        }
        let record = &incident.record;
        let pending = record.pages.iter().any(|page| page.state == PageState::Pending);
        set_member(&mut self.pages_pending, id, pending);
        match escalation::wake(record) {
            Some(at) => self.wakes.insert(id.to_owned(), at),
            None => self.wakes.remove(id),
        };
        if let Some(key) = &record.dedup_key {
            if record.status != IncidentStatus::Resolved {
                self.keyed.insert(key.clone(), id.to_owned());
            } else if self.keyed.get(key).is_some_and(|known| known == id) {
                self.keyed.remove(key);
            }
        } else if let (Some(service), Some(instance)) =
            (record.labels.get("service"), record.labels.get("instance"))
        {
            let target = Target::new(service, instance);
            let open = self.open.entry(target.clone()).or_default();
            set_member(open, id, record.status != IncidentStatus::Resolved);
            if open.is_empty() {
                self.open.remove(&target);
            }
        }
        self.incidents.insert(id.to_owned(), incident);
    }

    pub(crate) fn set_failover(&mut self, id: &str, failover: Versioned<Failover>) {
        if is_newer(self.failovers.get(id), &failover) {
            let state = failover.record.state;
            set_member(&mut self.failovers_pending, id, state == FailoverState::Pending);
            let undecided = [FailoverState::Deciding, FailoverState::AwaitingApproval];
            set_member(&mut self.failovers_undecided, id, undecided.contains(&state));
            self.failovers.insert(id.to_owned(), failover);
        }
    }

    /// A key is gone as of `revision`; a record written later stays.
    pub(crate) fn delete(&mut self, key: &str, revision: i64) -> Touched {
        self.revision = self.revision.max(revision);
        self.changed = self.changed.max(revision);
        let mut touched = Touched::default();
        if let Some([service, instance]) = segments(key, keys::INSTANCES) {
            let target = Target::new(service, instance);
            self.instances.remove(&target);
            self.declared.remove(&target);
            if let Some(members) = self.members.get_mut(service) {
                members.remove(instance);
                if members.is_empty() {
                    self.members.remove(service);
                }
            }
            touched.targets.insert(target);
        } else if let Some([service, instance, check, collector]) = segments(key, keys::OPINIONS) {
            let target = Target::new(service, instance);
            if let Some(opinions) = self.opinions.get_mut(&target) {
                opinions.remove(&(check.to_owned(), collector.to_owned()));
                if opinions.is_empty() {
                    self.opinions.remove(&target);
                }
            }
            touched.targets.insert(target);
        } else if let Some([service, instance]) = segments(key, keys::VERDICTS) {
            let target = Target::new(service, instance);
            if self.verdicts.get(&target).is_some_and(|v| v.mod_revision < revision) {
                self.verdicts.remove(&target);
            }
            touched.targets.insert(target);
            touched.records = true;
        } else if let Some([id]) = segments(key, keys::INCIDENTS) {
            if self.incidents.get(id).is_some_and(|i| i.mod_revision < revision) {
                self.forget_incident(id);
            }
            touched.records = true;
        } else if let Some([id]) = segments(key, keys::FAILOVERS) {
            if self.failovers.get(id).is_some_and(|f| f.mod_revision < revision) {
                self.failovers.remove(id);
                self.failovers_pending.remove(id);
                self.failovers_undecided.remove(id);
            }
            touched.records = true;
        } else if let Some([name]) = segments(key, keys::SERVICES) {
            self.set_service(name, None);
            touched.all = true;
        } else if let Some([id]) = segments(key, keys::COLLECTORS) {
            touched.all = self.collectors.remove(id);
        } else if let Some([id]) = segments(key, keys::MAINTENANCE) {
            self.windows.remove(id);
            touched.all = true;
        } else if let Some([schedule, id]) = segments(key, keys::ONCALL) {
            oncall::remove_change(&mut self.changes, schedule, id);
            self.change_revisions.remove(&(schedule.to_owned(), id.to_owned()));
            touched.duty = true;
        } else if let Some([name]) = segments(key, keys::HEARTBEATS) {
            self.heartbeats.remove(name);
        } else if let Some([service]) = segments(key, keys::PANICS) {
            if self.panics.get(service).is_some_and(|p| p.mod_revision < revision) {
                self.panics.remove(service);
            }
            touched.panics.insert(service.to_owned());
        } else if let Some([service, role]) = segments(key, keys::ROLES) {
            if let Some(holders) = self.roles.get_mut(service) {
                holders.remove(role);
            }
            touched.targets = self.reassign(service);
        } else if let Some([service, instance]) = segments(key, keys::DRAINS) {
            self.drains.remove(&Target::new(service, instance));
        } else if let Some([service, instance]) = segments(key, keys::ABSENT_DRAINS) {
            self.absent_drains.remove(&Target::new(service, instance));
        } else if let Some([fingerprint]) = segments(key, keys::ALERTS) {
            self.alerts.remove(fingerprint);
        } else if key == keys::FAILOVER_STOP {
            self.failover_stop = None;
            touched.records = true;
        }
        touched
    }

    fn forget_incident(&mut self, id: &str) {
        self.incidents.remove(id);
        self.pages_pending.remove(id);
        self.wakes.remove(id);
        self.keyed.retain(|_, known| known != id);
        self.open.retain(|_, ids| {
            ids.remove(id);
            !ids.is_empty()
        });
    }
}

fn segments<'a, const N: usize>(key: &'a str, prefix: &str) -> Option<[&'a str; N]> {
    keys::segments(key, prefix)?.try_into().ok()
}

fn is_newer<T>(known: Option<&Versioned<T>>, new: &Versioned<T>) -> bool {
    known.is_none_or(|known| known.mod_revision < new.mod_revision)
}

fn set_member(set: &mut BTreeSet<String>, id: &str, member: bool) {
    if member {
        set.insert(id.to_owned());
    } else {
        set.remove(id);
    }
}

#[cfg(test)]
mod tests;
