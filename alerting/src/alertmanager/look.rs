//! One look of a group at itself: what is kept quiet, what was told already, and what is told now. Pure.

use std::{cmp::Ordering, sync::Arc};

use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use watchkeep_catalog::{LabelSet, Notification, NotificationState, Time};

use super::{
    board::Board,
    dedup::{Reason, Set, reason},
    group::GroupId,
    plan::Integration,
    route::Route,
    tell::{Flight, Shown, Telling, id},
};

/// A delivery has at least so long, however short `group_interval` is.
const DELIVERY_SECONDS_MIN: i64 = 10;
/// That everything is over is told to a receiver that takes nothing for so long, and then no more: its groups would stay
/// for ever.
const GIVE_UP_HOURS: i64 = 120;

/// What one look of a group sees.
pub(super) struct Look<'a> {
    pub(super) board: &'a Board,
    pub(super) id: GroupId,
    pub(super) route: &'a Route,
    pub(super) key: &'a str,
    pub(super) labels: &'a LabelSet,
    pub(super) resumed: bool,
    pub(super) now: Time,
}

impl Look<'_> {
    /// What there is to tell when these alerts are in the group.
    pub(super) fn decide(&self, mut all: Vec<Shown>) -> (Flight, Vec<Telling>) {
        sort(&mut all);
        let over = all.iter().filter(|s| s.resolved).map(|s| (s.fingerprint, s.alert.updated_at));
        let mut flight = Flight { over: over.collect(), ..Flight::default() };
        let (plan, mut tellings) = (&self.board.plan, Vec::new());
        if plan.muted_by(self.route, self.now).is_empty() {
            all.retain(|shown| !self.board.quiet(&shown.alert.labels, self.now).is_quiet());
            for integration in plan.integrations(&self.route.receiver) {
                if !all.is_empty() {
                    self.tell(integration, &all, &mut flight, &mut tellings);
                }
            }
        }
        flight.outstanding = tellings.len();
        (flight, tellings)
    }

    fn repeat(&self) -> TimeDelta {
        self.route.repeat_interval.delta()
    }

    fn tell(
        &self,
        integration: &Arc<Integration>,
        all: &[Shown],
        flight: &mut Flight,
        tellings: &mut Vec<Telling>,
    ) {
        let id = id(self.key, integration);
        if self.board.under_way.contains_key(&id) {
            // It is being told still; the next look tells what is new.
            flight.failed = true;
            return;
        }
        let send_resolved = integration.way.send_resolved();
        let (mut firing, mut resolved) = (set(all, false), set(all, true));
        let last = self.board.log.get(&id).map(|logged| &logged.record);
        let pending = last.filter(|last| last.state == NotificationState::Pending);
        let tried = pending.map(|pending| self.now - pending.decided_at);
        let is_hopeless = tried.is_some_and(|t| t > TimeDelta::hours(GIVE_UP_HOURS));
        if is_hopeless && firing.is_empty() {
            return;
        }
        let mut shown = all.to_vec();
        // Whoever is not told of ends would never hear of what began and is over since.
        let is_too_late = firing.is_empty() && !send_resolved;
        if let Some(pending) = pending.filter(|_| self.resumed || is_too_late) {
            // What was decided comes first, as it was decided; what has come of it meanwhile is for the next look.
            if let Some(same) = self.as_decided(pending) {
                flight.failed |= pending.firing != firing || pending.resolved != resolved;
                (firing, resolved, shown) =
                    (pending.firing.clone(), pending.resolved.clone(), same);
            }
        }
        let why = reason(last, &firing, &resolved, send_resolved, self.repeat(), self.now);
        let Some(why) = why else { return };
        let record = match (last, why) {
            (Some(last), Reason::Unfinished) => last.clone(),
            _ => self.record(&id, integration, last, (firing, resolved), &shown),
        };
        if !send_resolved {
            shown.retain(|shown| !shown.resolved);
        }
        let least = TimeDelta::seconds(DELIVERY_SECONDS_MIN);
        tellings.push(Telling {
            id,
            group: self.id,
            integration: Arc::clone(integration),
            record,
            labels: self.labels.clone(),
            alerts: shown,
            deadline: self.now + self.route.group_interval.delta().max(least),
        });
    }

    /// The alerts of a notification as they were when it was decided; none when one is not there any more.
    fn as_decided(&self, record: &Notification) -> Option<Vec<Shown>> {
        let mut all = Vec::new();
        for (fingerprints, resolved) in [(&record.firing, false), (&record.resolved, true)] {
            for fingerprint in fingerprints {
                let alert = Arc::clone(&self.board.alerts.get(fingerprint)?.alert);
                all.push(Shown { fingerprint: *fingerprint, alert, resolved });
            }
        }
        sort(&mut all);
        Some(all)
    }

    fn record(
        &self,
        id: &str,
        integration: &Integration,
        last: Option<&Notification>,
        (firing, resolved): (Set, Set),
        shown: &[Shown],
    ) -> Notification {
        let sequence = last.map_or(0, |last| last.sequence) + 1;
        Notification {
            group_key: self.key.to_owned(),
            receiver: integration.receiver.clone(),
            integration: integration.way.name().to_owned(),
            index: integration.index,
            sequence,
            idempotency_key: idempotency_key(id, sequence, shown),
            state: NotificationState::Pending,
            firing,
            resolved,
            decided_at: self.now,
            finished_at: None,
            repeat_seconds: u64::try_from(self.repeat().num_seconds()).unwrap_or(0),
        }
    }
}

fn set(all: &[Shown], resolved: bool) -> Set {
    let mut set: Set =
        all.iter().filter(|s| s.resolved == resolved).map(|s| s.fingerprint).collect();
    set.sort_unstable();
    set
}

/// By job and instance where there are such labels, then by the other labels: as Alertmanager orders a group.
fn sort(all: &mut [Shown]) {
    fn missing_last<'a>(labels: &'a LabelSet, name: &str) -> (bool, Option<&'a String>) {
        (!labels.contains_key(name), labels.get(name))
    }
    all.sort_by(|a, b| {
        let (a, b) = (&a.alert.labels, &b.alert.labels);
        missing_last(a, "job")
            .cmp(&missing_last(b, "job"))
            .then_with(|| missing_last(a, "instance").cmp(&missing_last(b, "instance")))
            .then_with(|| a.len().cmp(&b.len()))
            .then_with(|| by_labels(a, b))
    });
}

/// Of as many labels each: the first that differ decide, and whoever lacks a label comes first (`LabelSet.Before`).
fn by_labels(a: &LabelSet, b: &LabelSet) -> Ordering {
    let each = a.iter().zip(b);
    let mut differ = each.map(|(a, b)| b.0.cmp(a.0).then_with(|| a.1.cmp(b.1)));
    differ.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The same for each attempt, on every node. The alerts' times are in it since a group that was forgotten counts from 1
/// again, and a receiver may remember for longer.
fn idempotency_key(id: &str, sequence: u64, shown: &[Shown]) -> String {
    let set = |resolved| {
        let mut set: Vec<_> = shown.iter().filter(|s| s.resolved == resolved).collect();
        set.sort_unstable_by_key(|shown| shown.fingerprint);
        let begun = |s: &Shown| s.alert.starts_at.timestamp_micros();
        set.iter().map(|s| format!("{:x}@{:x}", s.fingerprint, begun(s))).collect::<Vec<_>>()
    };
    let text = format!("{id}/{sequence}/{:?}/{:?}", set(false), set(true));
    format!("{}-{sequence}", hex::encode(&Sha256::digest(text.as_bytes())[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alertmanager::fixtures::alert;

    #[test]
    fn a_key_is_of_what_is_told() {
        let shown = |starts, resolved| {
            let alert = alert(&[("a", "1")], starts, Some(100));
            vec![Shown { fingerprint: 7, alert: Arc::new(alert), resolved }]
        };
        let first = idempotency_key("id", 1, &shown(0, false));
        assert_eq!(first, idempotency_key("id", 1, &shown(0, false)));
        for other in [
            idempotency_key("id", 1, &shown(0, true)),
            idempotency_key("id", 2, &shown(0, false)),
            idempotency_key("other", 1, &shown(0, false)),
            // The same alert, some weeks later.
            idempotency_key("id", 1, &shown(50, false)),
        ] {
            assert_ne!(first, other);
        }
    }
}
