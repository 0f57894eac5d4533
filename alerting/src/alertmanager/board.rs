//! Everything an Alertmanager knows: alerts, silences, what was told, and, where this node tells people, the groups.
//! Changes go in, notifications come out; it sends nothing and reads no clock. Pure.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use watchkeep_catalog::{
    Alert, AlertSilence, KeyValue, LabelSet, Notification, NotificationState, Time, client::Change,
    keys,
};

use super::{
    group::{GroupId, Groups},
    inhibit::Inhibitor,
    plan::Plan,
    silence::Silences,
    tell::{Flight, Telling},
};

/// An alert and the revision it was read at.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) alert: Arc<Alert>,
    pub(crate) revision: i64,
}

/// What was told, and the revision it was read at.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) record: Notification,
    pub(crate) revision: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) plan: Arc<Plan>,
    /// All that was written up to this revision has been told by the watch.
    pub(crate) revision: i64,
    /// Counts the configurations.
    pub(crate) epoch: u64,
    pub(crate) alerts: HashMap<u64, Kept>,
    pub(crate) silences: Silences,
    pub(crate) inhibitor: Inhibitor,
    pub(crate) log: HashMap<String, Logged>,
    /// What was told and is not known to be in the registry.
    pub(crate) unsaved: HashSet<String>,
    /// None where another node tells people.
    pub(crate) groups: Option<Groups>,
    /// The number of the first group of the next office.
    next_group: GroupId,
    pub(super) flights: HashMap<u64, Flight>,
    pub(super) under_way: HashMap<String, Time>,
}

/// Why nobody is told of an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Quiet {
    pub(crate) silenced_by: Vec<String>,
    pub(crate) inhibited_by: Vec<u64>,
    pub(crate) muted_by: Vec<String>,
}

impl Quiet {
    pub(crate) fn is_quiet(&self) -> bool {
        !self.silenced_by.is_empty() || !self.inhibited_by.is_empty()
    }
}

impl Board {
    pub(crate) fn new(plan: Arc<Plan>) -> Result<Self, String> {
        Ok(Self {
            inhibitor: Inhibitor::new(&plan.config.inhibit_rules)?,
            plan,
            revision: 0,
            epoch: 0,
            alerts: HashMap::new(),
            silences: Silences::default(),
            log: HashMap::new(),
            unsaved: HashSet::new(),
            groups: None,
            next_group: 0,
            flights: HashMap::new(),
            under_way: HashMap::new(),
        })
    }

    /// Takes another configuration. Whoever tells people groups everything anew; what is under way goes on.
    ///
    /// # Errors
    /// When it was not validated.
    pub(crate) fn replan(&mut self, plan: Arc<Plan>) -> Result<(), String> {
        self.inhibitor = Inhibitor::new(&plan.config.inhibit_rules)?;
        self.plan = plan;
        for (fingerprint, kept) in &self.alerts {
            self.inhibitor.insert(*fingerprint, &kept.alert.labels);
        }
        self.epoch += 1;
        self.drop_groups();
        Ok(())
    }

    pub(super) fn drop_groups(&mut self) {
        if let Some(groups) = self.groups.take() {
            self.next_group = groups.next();
        }
        self.flights.clear();
    }

    /// No groups yet.
    pub(super) fn begin_groups(&mut self) {
        self.drop_groups();
        self.groups = Some(Groups::beginning_at(self.next_group));
    }

    /// Takes in what the registry told. A record that cannot be read harms only itself; its error is answered.
    pub(crate) fn apply(&mut self, change: Change, now: Time) -> Vec<String> {
        match change {
            Change::Reset(kvs, revision) => self.reset(&kvs, revision, now),
            Change::Put(kv) => self.put(&kv, now).err().into_iter().collect(),
            Change::Delete { key, revision } => {
                self.delete(&key, revision);
                Vec::new()
            }
        }
    }

    fn reset(&mut self, kvs: &[KeyValue], revision: i64, now: Time) -> Vec<String> {
        let there: HashSet<u64> = kvs.iter().filter_map(|kv| fingerprint_of(&kv.key)).collect();
        let gone = self
            .alerts
            .iter()
            .filter(|(at, kept)| kept.revision <= revision && !there.contains(at));
        let gone: Vec<u64> = gone.map(|(at, _)| *at).collect();
        for fingerprint in gone {
            self.remove_alert(fingerprint);
        }
        self.silences.retain_newer(revision);
        let unsaved = &self.unsaved;
        self.log.retain(|id, logged| logged.revision > revision || unsaved.contains(id));
        self.revision = self.revision.max(revision);
        kvs.iter().filter_map(|kv| self.put(kv, now).err()).collect()
    }

    fn put(&mut self, kv: &KeyValue, now: Time) -> Result<(), String> {
        let revision = kv.mod_revision;
        self.revision = self.revision.max(revision);
        if let Some(fingerprint) = fingerprint_of(&kv.key) {
            if self.alerts.get(&fingerprint).is_some_and(|known| known.revision >= revision) {
                return Ok(());
            }
            let alert: Alert = kv.json().map_err(|e| e.to_string())?;
            if alert.fingerprint() != fingerprint {
                return Err(format!("record at {}: its labels have another fingerprint", kv.key));
            }
            self.put_alert(fingerprint, Arc::new(alert), revision, now);
        } else if kv.key.starts_with(keys::SILENCES) {
            let silence: AlertSilence = kv.json().map_err(|e| e.to_string())?;
            self.silences
                .put(silence, revision)
                .map_err(|e| format!("record at {}: {e}", kv.key))?;
        } else if let Some(id) = kv.key.strip_prefix(keys::NOTIFICATIONS) {
            // Mostly what this node has written itself.
            if self.log.get(id).is_some_and(|known| known.revision >= revision) {
                return Ok(());
            }
            self.put_logged(id, kv.json().map_err(|e| e.to_string())?, revision);
        }
        Ok(())
    }

    /// Enters what was told, unless something newer is known.
    pub(crate) fn put_logged(&mut self, id: &str, record: Notification, revision: i64) {
        let pending = record.state == NotificationState::Pending;
        let newer = match self.log.get(id) {
            None => true,
            Some(known) => match known.record.sequence.cmp(&record.sequence) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal if known.revision >= revision => false,
                // This node may know that it was sent before the watch tells that it was decided. Where it was decided
                // once more behind that, by a transaction of which nobody heard for long, the registry is told again.
                Ordering::Equal if pending && known.record.state == NotificationState::Sent => {
                    if self.groups.is_some() {
                        self.unsaved.insert(id.to_owned());
                    }
                    false
                }
                // What this node is telling is what it says when it is taken.
                Ordering::Equal => !(pending && self.under_way.contains_key(id)),
            },
        };
        if newer {
            self.log.insert(id.to_owned(), Logged { record, revision });
        }
    }

    /// The registry has this at `revision`.
    pub(crate) fn saved(&mut self, id: &str, record: &Notification, revision: i64) {
        let Some(logged) = self.log.get_mut(id) else {
            self.unsaved.remove(id);
            return;
        };
        if logged.record == *record {
            logged.revision = logged.revision.max(revision);
            self.unsaved.remove(id);
        }
    }

    /// What the registry is not known to have, and is to have.
    pub(crate) fn unwritten(&self) -> Vec<(String, Notification)> {
        let logged = |id: &String| Some((id.clone(), self.log.get(id)?.record.clone()));
        self.unsaved.iter().filter_map(logged).collect()
    }

    /// Enters an alert, unless a newer one is known, and puts it into its groups.
    pub(crate) fn put_alert(
        &mut self,
        fingerprint: u64,
        alert: Arc<Alert>,
        revision: i64,
        now: Time,
    ) {
        match self.alerts.get_mut(&fingerprint) {
            Some(known) if known.revision >= revision => return,
            Some(known) => *known = Kept { alert: Arc::clone(&alert), revision },
            None => {
                self.inhibitor.insert(fingerprint, &alert.labels);
                self.alerts.insert(fingerprint, Kept { alert: Arc::clone(&alert), revision });
            }
        }
        self.dispatch(fingerprint, &alert, now);
    }

    /// Enters an alert that the registry does not have: whatever it tells of it later is newer.
    pub(crate) fn put_unsaved(&mut self, fingerprint: u64, alert: Arc<Alert>, now: Time) {
        let revision = self.alerts.get(&fingerprint).map_or(0, |kept| kept.revision);
        if self.alerts.insert(fingerprint, Kept { alert: Arc::clone(&alert), revision }).is_none() {
            self.inhibitor.insert(fingerprint, &alert.labels);
        }
        self.dispatch(fingerprint, &alert, now);
    }

    /// Whether an alert is in a group that will look at it.
    pub(crate) fn is_grouped(&self, fingerprint: u64, labels: &LabelSet) -> bool {
        let Some(groups) = &self.groups else { return false };
        self.plan.tree.matching(labels).into_iter().any(|at| {
            let labels = self.plan.tree.routes[at].group_by.labels(labels);
            let group = groups.find(at, &labels).and_then(|id| groups.get(id));
            group.is_some_and(|group| group.alerts.contains(&fingerprint))
        })
    }

    fn dispatch(&mut self, fingerprint: u64, alert: &Alert, now: Time) {
        let Some(groups) = &mut self.groups else { return };
        for at in self.plan.tree.matching(&alert.labels) {
            groups.insert((at, &self.plan.tree.routes[at]), fingerprint, alert, now);
        }
    }

    fn delete(&mut self, key: &str, revision: i64) {
        self.revision = self.revision.max(revision);
        if let Some(fingerprint) = fingerprint_of(key) {
            if self.alerts.get(&fingerprint).is_some_and(|kept| kept.revision < revision) {
                self.remove_alert(fingerprint);
            }
        } else if let Some(id) = key.strip_prefix(keys::SILENCES) {
            self.silences.remove(id, revision);
        } else if let Some(id) = key.strip_prefix(keys::NOTIFICATIONS)
            && self.log.get(id).is_some_and(|logged| logged.revision < revision)
        {
            self.log.remove(id);
        }
    }

    fn remove_alert(&mut self, fingerprint: u64) {
        let Some(kept) = self.alerts.remove(&fingerprint) else { return };
        self.inhibitor.remove(fingerprint, &kept.alert.labels);
        let Some(groups) = &mut self.groups else { return };
        for at in self.plan.tree.matching(&kept.alert.labels) {
            let labels = self.plan.tree.routes[at].group_by.labels(&kept.alert.labels);
            if let Some(id) = groups.find(at, &labels) {
                groups.remove(id, fingerprint);
            }
        }
    }

    /// Why nobody would be told of such an alert.
    pub(crate) fn quiet(&self, labels: &LabelSet, now: Time) -> Quiet {
        Quiet {
            silenced_by: self.silences.silenced_by(labels, now),
            inhibited_by: self.inhibited_by(labels, now),
            muted_by: Vec::new(),
        }
    }

    pub(crate) fn inhibited_by(&self, labels: &LabelSet, now: Time) -> Vec<u64> {
        let find = |at: u64| self.alerts.get(&at).map(|kept| &*kept.alert);
        self.inhibitor.inhibited_by(labels, now, find)
    }

    /// What is due at `now`.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Telling> {
        super::tell::due(self, now)
    }
}

fn fingerprint_of(key: &str) -> Option<u64> {
    key.strip_prefix(keys::ALERTS).and_then(|hex| u64::from_str_radix(hex, 16).ok())
}
