//! Groups of alerts: which alert is in which, and when each one's time has come. Pure.
//!
//! A group is a route and the values of the labels it groups by. It waits `group_wait` for others to come, then looks
//! at itself every `group_interval`. Worked example, with 30 s and 5 min: an alert at 0:00 makes the group; it is due at
//! 0:30, 5:30, 10:30, …; a second alert at 1:00 is told of at 5:30.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use watchkeep_catalog::{Alert, LabelSet, Time};

use super::{matcher::quote, route::Route};

/// A group's number while it is there.
pub(crate) type GroupId = u64;

/// Some alerts that are told of together.
#[derive(Debug)]
pub(crate) struct Group {
    /// The route's number.
    pub(crate) route: usize,
    pub(crate) labels: LabelSet,
    /// Route and labels in one text: it is the same after a restart.
    pub(crate) key: String,
    /// Fingerprints.
    pub(crate) alerts: BTreeSet<u64>,
    /// When it looks at itself.
    pub(crate) due_at: Time,
    /// Whether it has before.
    pub(crate) flushed: bool,
    /// Whether it was begun by another leader: what that one decided is finished first.
    pub(crate) resumed: bool,
}

/// `{}/{a="b"}:{alertname="x", service="y"}`.
pub(crate) fn key(route: &Route, labels: &LabelSet) -> String {
    let pairs: Vec<_> = labels.iter().map(|(n, v)| format!("{n}={}", quote(v))).collect();
    format!("{}:{{{}}}", route.key, pairs.join(", "))
}

/// Whether an alert fires for longer than its group waits for others.
pub(crate) fn has_waited(route: &Route, alert: &Alert, now: Time) -> bool {
    // Who reads a record cannot be sure that its time can be reckoned with.
    let waited = alert.starts_at.checked_add_signed(route.group_wait.delta());
    waited.is_some_and(|at| at < now)
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    next: GroupId,
    by_id: BTreeMap<GroupId, Group>,
    /// By route, then by labels.
    by_labels: HashMap<usize, HashMap<LabelSet, GroupId>>,
    due: BTreeSet<(Time, GroupId)>,
}

impl Groups {
    /// None yet; the first will have this number, so that no two of one process have the same.
    pub(crate) fn beginning_at(next: GroupId) -> Self {
        Self { next, ..Self::default() }
    }

    /// The number of the next one.
    pub(crate) fn next(&self) -> GroupId {
        self.next
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<&Group> {
        self.by_id.get(&id)
    }

    /// The group of these labels on this route.
    pub(crate) fn find(&self, route: usize, labels: &LabelSet) -> Option<GroupId> {
        self.by_labels.get(&route)?.get(labels).copied()
    }

    /// An alert comes into its group. The group is due at once when the alert fires for longer than `group_wait`.
    pub(crate) fn insert(
        &mut self,
        (at, route): (usize, &Route),
        fingerprint: u64,
        alert: &Alert,
        now: Time,
    ) -> GroupId {
        let labels = route.group_by.labels(&alert.labels);
        let waited = has_waited(route, alert, now);
        let id = match self.find(at, &labels) {
            Some(id) => id,
            None => self.begin(at, route, labels, now + route.group_wait.delta()),
        };
        let early = self.by_id.get_mut(&id).is_some_and(|group| {
            group.alerts.insert(fingerprint);
            !group.flushed && waited && group.due_at > now
        });
        if early {
            self.set_due(id, now);
        }
        id
    }

    fn begin(&mut self, at: usize, route: &Route, labels: LabelSet, due_at: Time) -> GroupId {
        let id = self.next;
        self.next += 1;
        let group = Group {
            route: at,
            key: key(route, &labels),
            labels: labels.clone(),
            alerts: BTreeSet::new(),
            due_at,
            flushed: false,
            resumed: false,
        };
        self.by_labels.entry(at).or_default().insert(labels, id);
        self.by_id.insert(id, group);
        self.due.insert((due_at, id));
        id
    }

    /// A group that another leader began is due at `due_at`.
    pub(crate) fn resume(&mut self, id: GroupId, due_at: Time, flushed: bool) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.flushed = flushed;
            group.resumed = true;
            self.set_due(id, due_at);
        }
    }

    /// A group has looked at itself, and does so again at `due_at`.
    pub(crate) fn looked(&mut self, id: GroupId, due_at: Time) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.flushed = true;
            self.set_due(id, due_at);
        }
    }

    fn set_due(&mut self, id: GroupId, due_at: Time) {
        if let Some(group) = self.by_id.get_mut(&id) {
            self.due.remove(&(group.due_at, id));
            group.due_at = due_at;
            self.due.insert((due_at, id));
        }
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one that is due; it is due again `interval` later, as `interval` says of its route. Answers with its
    /// number, and whether it is resumed.
    pub(crate) fn take_due(
        &mut self,
        now: Time,
        interval: impl Fn(usize) -> chrono::TimeDelta,
    ) -> Option<(GroupId, bool)> {
        let (at, id) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, id));
        let group = self.by_id.get_mut(&id)?;
        group.flushed = true;
        let resumed = std::mem::take(&mut group.resumed);
        group.due_at = now + interval(group.route);
        self.due.insert((group.due_at, id));
        Some((id, resumed))
    }

    /// An alert is told of as over, or is gone: it leaves the group.
    pub(crate) fn remove(&mut self, id: GroupId, fingerprint: u64) {
        if let Some(group) = self.by_id.get_mut(&id) {
            group.alerts.remove(&fingerprint);
        }
    }

    /// Groups without alerts go.
    pub(crate) fn tidy(&mut self) {
        let empty: Vec<_> =
            self.by_id.iter().filter(|(_, g)| g.alerts.is_empty()).map(|(id, _)| *id).collect();
        for id in empty {
            if let Some(group) = self.by_id.remove(&id) {
                self.due.remove(&(group.due_at, id));
                if let Some(of_route) = self.by_labels.get_mut(&group.route) {
                    of_route.remove(&group.labels);
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.by_id.iter().map(|(id, group)| (*id, group))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        alertmanager::{fixtures::alert, route::Tree},
        fixtures::time,
    };

    #[test]
    fn an_alert_of_the_last_day_is_grouped() {
        let tree = Tree::new(&serde_saphyr::from_str("{receiver: r}").unwrap()).unwrap();
        let mut groups = Groups::default();
        let alert = Alert { starts_at: Time::MAX_UTC, ..alert(&[("a", "1")], 0, None) };
        groups.insert((0, &tree.routes[0]), 1, &alert, time(0));
        assert_eq!(groups.next_due(), Some(time(30)));
    }

    #[test]
    fn waits_then_looks_every_interval() {
        let yaml = "{receiver: r, group_by: [a], group_wait: 30s, group_interval: 5m}";
        let tree = Tree::new(&serde_saphyr::from_str(yaml).unwrap()).unwrap();
        let (mut groups, root) = (Groups::default(), (0, &tree.routes[0]));
        let insert = |groups: &mut Groups, value: &str, x: &str, starts, now| {
            let alert = alert(&[("a", value), ("x", x)], starts, None);
            groups.insert(root, alert.fingerprint(), &alert, time(now))
        };
        let interval = |_: usize| TimeDelta::minutes(5);
        let first = insert(&mut groups, "1", "1", 0, 0);
        assert_eq!(insert(&mut groups, "1", "2", 10, 10), first);
        assert_eq!(groups.take_due(time(29), interval), None);
        assert_eq!(groups.take_due(time(30), interval), Some((first, false)));
        assert_eq!(groups.get(first).unwrap().alerts.len(), 2);
        assert_eq!(groups.get(first).unwrap().key, "{}:{a=\"1\"}");
        // The group has looked at itself: even an old alert waits for the next time.
        insert(&mut groups, "1", "3", 0, 60);
        assert_eq!(groups.next_due(), Some(time(330)));
        // A new group of an alert that fires for long is due at once.
        let second = insert(&mut groups, "2", "1", 0, 60);
        assert_eq!(groups.take_due(time(60), interval), Some((second, false)));
        let labels = groups.get(second).unwrap().labels.clone();
        for fingerprint in groups.get(second).unwrap().alerts.clone() {
            groups.remove(second, fingerprint);
        }
        groups.tidy();
        assert_eq!((groups.len(), groups.find(0, &labels)), (1, None));
    }
}
