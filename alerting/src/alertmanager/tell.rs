//! From groups that are due to notifications: what is kept quiet, what was told already, and what is told now. Pure.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use watchkeep_catalog::{Alert, LabelSet, Notification, NotificationState, Time};

use super::{
    board::{Board, Logged},
    dedup::{Reason, Set, reason},
    group::GroupId,
    plan::Integration,
};

/// A delivery has at least so long, however short `group_interval` is.
const DELIVERY_SECONDS_MIN: i64 = 10;
/// That everything is over is told to a receiver that takes nothing for so long, and then no more: its groups would stay
/// for ever.
const GIVE_UP_HOURS: i64 = 120;

/// An alert as it is told of.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) fingerprint: u64,
    pub(crate) alert: Arc<Alert>,
    pub(crate) resolved: bool,
}

/// A notification to be written down and sent.
#[derive(Debug, Clone)]
pub(crate) struct Telling {
    /// The record's id.
    pub(crate) id: String,
    pub(crate) group: GroupId,
    pub(crate) integration: Arc<Integration>,
    pub(crate) record: Notification,
    pub(crate) labels: LabelSet,
    /// What the receiver is told of; empty: there is nothing to send, it is only to be written down.
    pub(crate) alerts: Vec<Shown>,
    /// Attempts end then.
    pub(crate) deadline: Time,
}

/// What one look of a group began.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    outstanding: usize,
    failed: bool,
    /// Alerts that leave the group when everybody has been told, and when they were last heard of.
    over: Vec<(u64, Time)>,
}

/// The id of what one integration is told of one group.
pub(crate) fn id(group_key: &str, integration: &Integration) -> String {
    let (receiver, kind) = (&integration.receiver, integration.way.name());
    let text = format!("{group_key}\0{receiver}\0{kind}\0{}", integration.index);
    hex::encode(&Sha256::digest(text.as_bytes())[..16])
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

pub(super) fn due(board: &mut Board, now: Time) -> Vec<Telling> {
    let mut all = Vec::new();
    let plan = Arc::clone(&board.plan);
    let interval = |at: usize| plan.tree.routes[at].group_interval.delta();
    while let Some((id, resumed)) =
        board.groups.as_mut().and_then(|groups| groups.take_due(now, interval))
    {
        all.extend(board.flush(id, resumed, now));
    }
    all
}

impl Board {
    /// This node tells people from now on: all alerts are put into groups, and groups that were told of before go on
    /// where they were.
    pub(crate) fn begin(&mut self, now: Time) {
        self.begin_groups();
        let plan = Arc::clone(&self.plan);
        let mut order: Vec<_> =
            self.alerts.iter().map(|(at, kept)| (*at, Arc::clone(&kept.alert))).collect();
        order.sort_by_key(|(at, alert)| (alert.starts_at, *at));
        for (fingerprint, alert) in order {
            for at in plan.tree.matching(&alert.labels) {
                self.resume_alert(at, fingerprint, &alert, now);
            }
        }
        self.resume_groups(now);
    }

    /// Another node tells people.
    pub(crate) fn end(&mut self) {
        self.drop_groups();
        self.under_way.clear();
    }

    fn resume_alert(&mut self, at: usize, fingerprint: u64, alert: &Alert, now: Time) {
        let plan = Arc::clone(&self.plan);
        let route = &plan.tree.routes[at];
        if alert.is_resolved(now) {
            // Of what is over only those matter whose end nobody was told of.
            let key = super::group::key(route, &route.group_by.labels(&alert.labels));
            let told = plan.integrations(&route.receiver).iter().any(|integration| {
                self.log.get(&id(&key, integration)).is_some_and(|logged| {
                    logged.record.firing.contains(&fingerprint)
                        || logged.record.state == NotificationState::Pending
                })
            });
            if !told {
                return;
            }
        }
        if let Some(groups) = &mut self.groups {
            // It has waited since it was last heard of.
            groups.insert((at, route), fingerprint, alert, alert.updated_at.min(now));
        }
    }

    fn resume_groups(&mut self, now: Time) {
        let Some(groups) = &mut self.groups else { return };
        let mut known = Vec::new();
        for (group, state) in groups.iter() {
            let route = &self.plan.tree.routes[state.route];
            let logged = self.plan.integrations(&route.receiver).iter();
            let logged: Vec<_> = logged
                .filter_map(|i| self.log.get(&id(&state.key, i)))
                .map(|l| &l.record)
                .collect();
            let pending = logged.iter().any(|r| r.state == NotificationState::Pending);
            if let Some(last) = logged.iter().map(|record| record.decided_at).max() {
                let next = last.checked_add_signed(route.group_interval.delta());
                let next = next.filter(|_| !pending).map_or(now, |next| next.max(now));
                known.push((group, next));
            }
        }
        for (group, next) in known {
            groups.resume(group, next, true);
        }
    }

    /// One look of a group at itself.
    fn flush(&mut self, group_id: GroupId, resumed: bool, now: Time) -> Vec<Telling> {
        let plan = Arc::clone(&self.plan);
        let Some(group) = self.groups.as_ref().and_then(|groups| groups.get(group_id)) else {
            return Vec::new();
        };
        let route = &plan.tree.routes[group.route];
        let mut all: Vec<Shown> =
            group.alerts.iter().filter_map(|at| self.shown(*at, now)).collect();
        sort(&mut all);
        let mut flight = Flight {
            over: all
                .iter()
                .filter(|s| s.resolved)
                .map(|s| (s.fingerprint, s.alert.updated_at))
                .collect(),
            ..Flight::default()
        };
        let mut tellings = Vec::new();
        if plan.muted_by(route, now).is_empty() {
            all.retain(|shown| !self.quiet(&shown.alert.labels, now).is_quiet());
            let least = chrono::TimeDelta::seconds(DELIVERY_SECONDS_MIN);
            let look = Look {
                board: self,
                id: group_id,
                key: &group.key,
                labels: &group.labels,
                repeat: route.repeat_interval.delta(),
                deadline: now + route.group_interval.delta().max(least),
                resumed,
                now,
            };
            for integration in plan.integrations(&route.receiver) {
                if !all.is_empty() {
                    look.tell(integration, &all, &mut flight, &mut tellings);
                }
            }
        }
        for telling in &tellings {
            self.under_way.insert(telling.id.clone(), telling.deadline);
            let logged = Logged { record: telling.record.clone(), revision: self.revision };
            self.log.insert(telling.id.clone(), logged);
        }
        flight.outstanding = tellings.len();
        self.flights.insert(group_id, flight);
        self.settle(group_id);
        tellings
    }

    fn shown(&self, fingerprint: u64, now: Time) -> Option<Shown> {
        let alert = Arc::clone(&self.alerts.get(&fingerprint)?.alert);
        Some(Shown { fingerprint, resolved: alert.is_resolved(now), alert })
    }

    /// A notification has ended. Answers with its record as it is now, when it was taken.
    pub(crate) fn finish(
        &mut self,
        telling: &Telling,
        taken: bool,
        now: Time,
    ) -> Option<Notification> {
        self.land(&telling.id, telling.group, taken);
        let logged = self.log.get_mut(&telling.id)?;
        if !taken || logged.record.sequence != telling.record.sequence {
            return None;
        }
        logged.record.state = NotificationState::Sent;
        logged.record.finished_at = Some(now);
        Some(logged.record.clone())
    }

    /// A notification is not under way any more. One of an earlier configuration belongs to no group that is there now.
    pub(crate) fn land(&mut self, id: &str, group: GroupId, taken: bool) {
        self.under_way.remove(id);
        if let Some(flight) = self.flights.get_mut(&group) {
            flight.outstanding = flight.outstanding.saturating_sub(1);
            flight.failed |= !taken;
        }
        self.settle(group);
    }

    /// When everybody was told, alerts that are over leave the group, unless they were heard of again.
    fn settle(&mut self, group: GroupId) {
        let done = self.flights.get(&group).is_some_and(|flight| flight.outstanding == 0);
        let Some(flight) = done.then(|| self.flights.remove(&group)).flatten() else { return };
        let Some(groups) = self.groups.as_mut().filter(|_| !flight.failed) else { return };
        for (fingerprint, heard) in flight.over {
            if self.alerts.get(&fingerprint).is_none_or(|kept| kept.alert.updated_at == heard) {
                groups.remove(group, fingerprint);
            }
        }
    }
}

/// What one look of a group sees.
struct Look<'a> {
    board: &'a Board,
    id: GroupId,
    key: &'a str,
    labels: &'a LabelSet,
    repeat: chrono::TimeDelta,
    deadline: Time,
    resumed: bool,
    now: Time,
}

impl Look<'_> {
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
        let is_hopeless = tried.is_some_and(|t| t > chrono::TimeDelta::hours(GIVE_UP_HOURS));
        if is_hopeless && firing.is_empty() {
            return;
        }
        let mut shown = all.to_vec();
        if let Some(pending) = pending.filter(|_| self.resumed) {
            // What the other leader decided comes first, as it was decided.
            if let Some(same) = self.as_decided(pending) {
                (firing, resolved, shown) =
                    (pending.firing.clone(), pending.resolved.clone(), same);
            }
        }
        let Some(why) = reason(last, &firing, &resolved, send_resolved, self.repeat, self.now)
        else {
            return;
        };
        let record = match (last, why) {
            (Some(last), Reason::Unfinished) => last.clone(),
            _ => self.record(&id, integration, last, (firing, resolved), &shown),
        };
        if !send_resolved {
            shown.retain(|shown| !shown.resolved);
        }
        tellings.push(Telling {
            id,
            group: self.id,
            integration: Arc::clone(integration),
            record,
            labels: self.labels.clone(),
            alerts: shown,
            deadline: self.deadline,
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
            repeat_seconds: u64::try_from(self.repeat.num_seconds()).unwrap_or(0),
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
pub(crate) fn sort(all: &mut [Shown]) {
    fn missing_last<'a>(labels: &'a LabelSet, name: &str) -> (bool, Option<&'a String>) {
        (!labels.contains_key(name), labels.get(name))
    }
    all.sort_by(|a, b| {
        let (a, b) = (&a.alert.labels, &b.alert.labels);
        missing_last(a, "job")
            .cmp(&missing_last(b, "job"))
            .then_with(|| missing_last(a, "instance").cmp(&missing_last(b, "instance")))
            .then_with(|| a.len().cmp(&b.len()))
            .then_with(|| a.cmp(b))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alertmanager::fixtures::{alert, shared},
        fixtures::time,
    };

    const YAML: &str = r#"
route: {receiver: r, group_wait: 0s, group_interval: 5m}
receivers: [{name: r, webhook_configs: [{url: "http://127.0.0.1:1/"}]}]
"#;
    const HOUR: i64 = 3_600;

    #[tokio::test]
    async fn what_a_receiver_never_takes_is_given_up_when_it_is_over() {
        let shared = shared(YAML);
        let mut board = shared.board_mut();
        board.begin(time(0));
        let alert = alert(&[("a", "1")], 0, Some(HOUR));
        let fingerprint = alert.fingerprint();
        board.put_alert(fingerprint, Arc::new(alert), 1, time(0));
        let mut told = 0;
        for seconds in (1..130 * HOUR).step_by(300) {
            for telling in board.due(time(seconds)) {
                told += 1;
                board.finish(&telling, false, time(seconds));
            }
        }
        assert!(told > 1_000, "{told}");
        let groups = board.groups.as_ref().unwrap();
        assert!(groups.iter().all(|(_, group)| group.alerts.is_empty()));
        let pending = board.log.values().filter(|l| l.record.finished_at.is_none()).count();
        assert_eq!(pending, 1);
    }

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
