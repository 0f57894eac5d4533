//! From groups that are due to notifications, and what becomes of them. Pure.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use watchkeep_catalog::{Alert, LabelSet, Notification, NotificationState, Time};

use super::{
    board::{Board, Logged},
    group::GroupId,
    look::Look,
    plan::Integration,
};

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
    pub(super) outstanding: usize,
    pub(super) failed: bool,
    /// Alerts that leave the group when everybody has been told, and when they were last heard of.
    pub(super) over: Vec<(u64, Time)>,
}

/// The id of what one integration is told of one group.
pub(crate) fn id(group_key: &str, integration: &Integration) -> String {
    let (receiver, kind) = (&integration.receiver, integration.way.name());
    let text = format!("{group_key}\0{receiver}\0{kind}\0{}", integration.index);
    hex::encode(&Sha256::digest(text.as_bytes())[..16])
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
        let Some(group) = self.groups.as_ref().and_then(|groups| groups.get(group_id)) else {
            return Vec::new();
        };
        let look = Look {
            board: self,
            id: group_id,
            route: &self.plan.tree.routes[group.route],
            key: &group.key,
            labels: &group.labels,
            resumed,
            now,
        };
        let all = group.alerts.iter().filter_map(|at| self.shown(*at, now)).collect();
        let (flight, tellings) = look.decide(all);
        self.launch(group_id, flight, &tellings, self.revision);
        tellings
    }

    /// What a look has begun is under way, and in the log as of `revision`.
    pub(super) fn launch(
        &mut self,
        group: GroupId,
        flight: Flight,
        tellings: &[Telling],
        revision: i64,
    ) {
        for telling in tellings {
            self.under_way.insert(telling.id.clone(), telling.deadline);
            let logged = Logged { record: telling.record.clone(), revision };
            self.log.insert(telling.id.clone(), logged);
        }
        self.flights.insert(group, flight);
        self.settle(group);
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

    /// The receiver was away from the beginning of the alert to its end, and hears of ends only if it says so.
    #[tokio::test]
    async fn what_began_and_is_over_before_the_receiver_is_back_is_told_once() {
        for (settings, last) in [("send_resolved: false, ", "firing"), ("", "resolved")] {
            let yaml = YAML.replace("url:", &format!("{settings}url:"));
            let shared = shared(&yaml);
            let mut board = shared.board_mut();
            board.begin(time(0));
            let mut alert = alert(&[("a", "1")], 0, Some(600));
            let fingerprint = alert.fingerprint();
            board.put_alert(fingerprint, Arc::new(alert.clone()), 1, time(0));
            let (mut keys, mut taken) = (Vec::new(), Vec::new());
            for seconds in (1..HOUR).step_by(300) {
                for telling in board.due(time(seconds)) {
                    // It is back after 20 minutes.
                    let is_taken = seconds > 1_200;
                    if is_taken && !telling.alerts.is_empty() {
                        let over = telling.alerts.iter().all(|shown| shown.resolved);
                        taken.push(if over { "resolved" } else { "firing" });
                    }
                    keys.push(telling.record.idempotency_key.clone());
                    board.finish(&telling, is_taken, time(seconds));
                }
            }
            assert_eq!(taken, [last], "{settings}");
            let groups = board.groups.as_ref().unwrap();
            assert!(groups.iter().all(|(_, group)| group.alerts.is_empty()), "{settings}");
            if last == "firing" {
                // What is told late is what was decided, under its key; then it is written down that all is over.
                let told = keys.len() - 1;
                assert!(keys[..told].iter().all(|key| *key == keys[0]), "{keys:?}");
            }
            // And the next time it is told again.
            (alert.starts_at, alert.ends_at, alert.updated_at) = (time(7_200), None, time(7_200));
            board.put_alert(fingerprint, Arc::new(alert), 2, time(7_200));
            let next = board.due(time(7_201));
            assert!(next.iter().any(|telling| !telling.alerts[0].resolved), "{settings}");
        }
    }

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
}
