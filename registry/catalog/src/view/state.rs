//! From the registry's changes to the [`Catalog`]. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{Catalog, Seen, ServiceSeen};
use crate::{
    CheckPool, Drain, Instance, KeyValue, Opinion, Panic, RoleHolder, RoleHolders, Service, Status,
    Verdict,
    client::{Batch, Change},
    keys,
};

/// Most instances that are kept; further ones are left out, and counted.
pub const INSTANCES_MAX: usize = 1_000_000;

/// Service and instance.
type Place = (Arc<str>, Arc<str>);

/// What is known, and what only judges.
#[derive(Debug, Default)]
pub struct State {
    catalog: Catalog,
    verdicts: HashMap<Place, Verdict>,
    /// Check and collector of each critical opinion.
    suspicions: HashMap<Place, BTreeSet<String>>,
    /// Who has a role, by service.
    holders: HashMap<Arc<str>, RoleHolders>,
    drains: HashMap<Place, Drain>,
    /// Keys whose records are not taken: they cannot be read, or there are too many.
    left_out: BTreeSet<String>,
    pool: CheckPool,
}

impl State {
    /// What held after the last batch.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Records that are not taken.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// Takes a batch; whether anything shows that did not before.
    pub fn apply(&mut self, batch: Batch) -> bool {
        let before = self.catalog.changed;
        for change in batch.changes {
            match change {
                Change::Reset(kvs, revision) => self.reset(&kvs, revision),
                Change::Put(kv) => self.put(&kv),
                Change::Delete { key, revision } => self.delete(&key, revision),
            }
        }
        self.catalog.revision = self.catalog.revision.max(batch.revision);
        self.catalog.changed != before
    }

    /// What is as it was keeps its revision: nobody is told of it again.
    fn reset(&mut self, kvs: &[KeyValue], revision: i64) {
        let Self { catalog: before, pool, .. } = std::mem::take(self);
        self.pool = pool;
        kvs.iter().for_each(|kv| self.put(kv));
        let catalog = &mut self.catalog;
        (catalog.changed, catalog.removed) = (before.changed, before.removed);
        let services = std::mem::take(&mut catalog.services);
        for (name, mut seen) in services {
            match before.services.get(&name) {
                Some(old)
                    if old.record == seen.record
                        && old.instances == seen.instances
                        && old.panic == seen.panic =>
                {
                    seen = old.clone();
                }
                _ => {
                    Arc::make_mut(&mut seen).revision = revision;
                    catalog.changed = revision;
                }
            }
            catalog.services.insert(name, seen);
        }
        let known = before.services.keys().filter(|name| catalog.services.contains_key(*name));
        if known.count() < before.services.len() {
            (catalog.changed, catalog.removed) = (revision, revision);
        }
        catalog.revision = revision;
    }

    fn put(&mut self, kv: &KeyValue) {
        let taken = match Key::of(&kv.key) {
            Some(Key::Service(name)) => match kv.json::<Service>() {
                Ok(record) => {
                    self.edit(&name.into(), kv.mod_revision, |seen| seen.record = Some(record));
                    true
                }
                Err(_) => {
                    self.delete(&kv.key, kv.mod_revision);
                    false
                }
            },
            Some(Key::Instance(service, id)) => self.put_instance(kv, service, id),
            Some(Key::Verdict(place)) => match kv.json() {
                Ok(verdict) => {
                    self.verdicts.insert(place.clone(), verdict);
                    self.judge(&place, kv.mod_revision);
                    true
                }
                Err(_) => false,
            },
            Some(Key::Opinion(place, by)) => match kv.json::<Opinion>() {
                Ok(opinion) => {
                    self.suspect(&place, by, opinion.status == Status::Critical, kv.mod_revision);
                    true
                }
                Err(_) => false,
            },
            Some(Key::Role(service, role)) => match kv.json::<RoleHolder>() {
                Ok(holder) => {
                    let holders = self.holders.entry(service.into()).or_default();
                    holders.insert(role.to_owned(), holder);
                    self.judge_all(service, kv.mod_revision);
                    true
                }
                Err(_) => false,
            },
            Some(Key::Panic(name)) => match kv.json::<Panic>() {
                Ok(panic) => {
                    self.panic(name, kv.mod_revision, Some(panic));
                    true
                }
                Err(_) => false,
            },
            Some(Key::Drain(place)) => match kv.json() {
                Ok(drain) => {
                    self.drains.insert(place.clone(), drain);
                    self.judge(&place, kv.mod_revision);
                    true
                }
                Err(_) => false,
            },
            None => return,
        };
        if taken {
            self.left_out.remove(&kv.key);
        } else {
            self.left_out.insert(kv.key.clone());
        }
    }

    fn put_instance(&mut self, kv: &KeyValue, service: &str, id: &str) -> bool {
        let known = self.catalog.instance(service, id).is_some();
        let instance = kv.json::<Instance>().ok().filter(|i| i.id == id);
        let Some(mut instance) =
            instance.filter(|_| known || self.catalog.instances < INSTANCES_MAX)
        else {
            self.delete(&kv.key, kv.mod_revision);
            return false;
        };
        self.pool.share(&mut instance.checks);
        // The key decides: a plain put may leave the service out of the value.
        service.clone_into(&mut instance.service);
        let place: Place = (service.into(), id.into());
        let suspected = self.suspicions.contains_key(&place);
        let seen = Seen::judge(instance, kv.lease, self.verdicts.get(&place), suspected);
        let seen = seen.moved(self.holders.get(&place.0), self.drains.get(&place));
        self.show(&place, seen, kv.mod_revision);
        true
    }

    fn delete(&mut self, key: &str, revision: i64) {
        self.left_out.remove(key);
        match Key::of(key) {
            Some(Key::Service(name)) if self.catalog.service(name).is_some() => {
                self.edit(&name.into(), revision, |seen| seen.record = None);
            }
            Some(Key::Instance(service, id)) if self.catalog.instance(service, id).is_some() => {
                self.edit(&service.into(), revision, |seen| {
                    seen.instances.remove(id);
                });
                self.catalog.instances -= 1;
            }
            Some(Key::Verdict(place)) if self.verdicts.remove(&place).is_some() => {
                self.judge(&place, revision);
            }
            Some(Key::Opinion(place, by)) => self.suspect(&place, by, false, revision),
            Some(Key::Role(service, role)) => {
                let holders = self.holders.get_mut(service);
                if holders.is_some_and(|holders| holders.remove(role).is_some()) {
                    self.judge_all(service, revision);
                }
            }
            Some(Key::Panic(name)) => self.panic(name, revision, None),
            Some(Key::Drain(place)) if self.drains.remove(&place).is_some() => {
                self.judge(&place, revision);
            }
            _ => {}
        }
    }

    /// A service is in panic, or is no more. Of one that is not there, nothing is known.
    fn panic(&mut self, name: &str, revision: i64, panic: Option<Panic>) {
        let panic = panic.map(Box::new);
        if self.catalog.service(name).is_some_and(|seen| seen.panic != panic) {
            self.edit(&name.into(), revision, |seen| seen.panic = panic);
        }
    }

    /// Judges every instance of a service anew.
    fn judge_all(&mut self, service: &str, revision: i64) {
        let Some(seen) = self.catalog.service(service) else { return };
        let places: Vec<Place> =
            seen.instances.keys().map(|id| (service.into(), id.clone())).collect();
        for place in &places {
            self.judge(place, revision);
        }
    }

    fn suspect(&mut self, place: &Place, by: String, critical: bool, revision: i64) {
        if critical {
            self.suspicions.entry(place.clone()).or_default().insert(by);
        } else if let Some(all) = self.suspicions.get_mut(place) {
            all.remove(&by);
            if all.is_empty() {
                self.suspicions.remove(place);
            }
        }
        self.judge(place, revision);
    }

    /// Judges an instance anew, if it is registered.
    fn judge(&mut self, place: &Place, revision: i64) {
        let Some(known) = self.catalog.instance(&place.0, &place.1) else { return };
        let suspected = self.suspicions.contains_key(place);
        let verdict = self.verdicts.get(place);
        let mut instance = known.instance.clone();
        instance.role.clone_from(&known.declared_role);
        let seen = Seen::judge(instance, known.lease, verdict, suspected);
        let seen = seen.moved(self.holders.get(&place.0), self.drains.get(place));
        self.show(place, seen, revision);
    }

    fn show(&mut self, place: &Place, seen: Seen, revision: i64) {
        let known = self.catalog.instance(&place.0, &place.1);
        match known {
            Some(known) if **known == seen => return,
            Some(_) => {}
            None => self.catalog.instances += 1,
        }
        self.edit(&place.0, revision, |service| {
            service.instances.insert(place.1.clone(), Arc::new(seen));
        });
    }

    /// Changes a service; one without a record and instances is none.
    fn edit(&mut self, name: &Arc<str>, revision: i64, change: impl FnOnce(&mut ServiceSeen)) {
        let catalog = &mut self.catalog;
        let mut service = catalog.services.get(name).cloned().unwrap_or_default();
        let seen = Arc::make_mut(&mut service);
        change(seen);
        seen.revision = revision;
        catalog.changed = revision;
        if seen.record.is_none() && seen.instances.is_empty() {
            catalog.services.remove(name);
            catalog.removed = revision;
        } else {
            catalog.services.insert(name.clone(), service);
        }
    }
}

/// What a key is about.
enum Key<'a> {
    Service(&'a str),
    Instance(&'a str, &'a str),
    Verdict(Place),
    Opinion(Place, String),
    Role(&'a str, &'a str),
    Panic(&'a str),
    Drain(Place),
}

impl<'a> Key<'a> {
    fn of(key: &'a str) -> Option<Self> {
        let in_prefix = |prefix| keys::segments(key, prefix);
        if let Some(segments) = in_prefix(keys::INSTANCES) {
            let [service, id] = segments[..] else { return None };
            Some(Self::Instance(service, id))
        } else if let Some(segments) = in_prefix(keys::OPINIONS) {
            let [service, id, check, collector] = segments[..] else { return None };
            Some(Self::Opinion((service.into(), id.into()), format!("{check}/{collector}")))
        } else if let Some(segments) = in_prefix(keys::VERDICTS) {
            let [service, id] = segments[..] else { return None };
            Some(Self::Verdict((service.into(), id.into())))
        } else if let Some(segments) = in_prefix(keys::ROLES) {
            let [service, role] = segments[..] else { return None };
            Some(Self::Role(service, role))
        } else if let Some(segments) = in_prefix(keys::PANICS) {
            let [service] = segments[..] else { return None };
            Some(Self::Panic(service))
        } else if let Some(segments) = in_prefix(keys::DRAINS) {
            let [service, id] = segments[..] else { return None };
            Some(Self::Drain((service.into(), id.into())))
        } else {
            let segments = in_prefix(keys::SERVICES)?;
            let [service] = segments[..] else { return None };
            Some(Self::Service(service))
        }
    }
}
