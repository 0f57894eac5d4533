//! What will be decided of alerts that are on their way into the registry: of those that begin a group which looks at itself
//! at once. So alert and decision go there in one transaction. Nothing on the board changes by it; what else the alerts
//! lead to is decided when they are there. Pure.

use std::{collections::BTreeMap, sync::Arc};

use watchkeep_catalog::{Alert, LabelSet, Time};

use super::{
    board::Board,
    group::{GroupId, has_waited, key},
    look::Look,
    tell::{Flight, Shown, Telling},
};

/// Alerts by their fingerprints.
pub(crate) type Arriving = [(u64, Arc<Alert>)];

/// A group that is not there before its number is known.
const NONE_YET: GroupId = GroupId::MAX;

/// A group that alerts will begin, and what it tells at once.
#[derive(Debug)]
pub(crate) struct Foreseen {
    route: usize,
    labels: LabelSet,
    flight: Flight,
    pub(crate) tellings: Vec<Telling>,
}

impl Board {
    /// Whether alerts begin a group that is due at once.
    pub(crate) fn foresees(&self, alerts: &Arriving, now: Time) -> bool {
        !self.beginnings(alerts, now).is_empty()
    }

    /// What will be told of alerts as soon as they are in the registry.
    pub(crate) fn foresee(&self, alerts: &Arriving, now: Time) -> Vec<Foreseen> {
        // Whoever keeps others quiet does so once it is on the board.
        let may_inhibit =
            |(_, alert): &(u64, Arc<Alert>)| self.inhibitor.may_inhibit(&alert.labels);
        if alerts.len() > 1 && alerts.iter().any(may_inhibit) {
            return Vec::new();
        }
        let beginnings = self.beginnings(alerts, now).into_iter();
        let foreseen = beginnings.map(|((at, labels), all)| {
            let route = &self.plan.tree.routes[at];
            let look = Look {
                board: self,
                id: NONE_YET,
                route,
                key: &key(route, &labels),
                labels: &labels,
                resumed: false,
                now,
            };
            let (flight, tellings) = look.decide(all);
            Foreseen { route: at, labels, flight, tellings }
        });
        foreseen.filter(|group| !group.tellings.is_empty()).collect()
    }

    /// The groups that are not there yet and due at once, by route and labels, with their alerts.
    fn beginnings(&self, alerts: &Arriving, now: Time) -> BTreeMap<(usize, LabelSet), Vec<Shown>> {
        let mut found: BTreeMap<_, Vec<Shown>> = BTreeMap::new();
        let Some(groups) = &self.groups else { return found };
        for (fingerprint, alert) in alerts {
            for at in self.plan.tree.matching(&alert.labels) {
                let labels = self.plan.tree.routes[at].group_by.labels(&alert.labels);
                if groups.find(at, &labels).is_none() {
                    let (alert, resolved) = (Arc::clone(alert), alert.is_resolved(now));
                    let shown = Shown { fingerprint: *fingerprint, alert, resolved };
                    found.entry((at, labels)).or_default().push(shown);
                }
            }
        }
        found.retain(|(at, _), all| {
            let route = &self.plan.tree.routes[*at];
            route.group_wait.is_zero() || all.iter().any(|s| has_waited(route, &s.alert, now))
        });
        found
    }

    /// The alerts are here, and in the registry with what was foreseen of them, at `revision`: their groups have looked at
    /// themselves at `now`.
    pub(crate) fn adopt(
        &mut self,
        foreseen: Vec<Foreseen>,
        revision: i64,
        now: Time,
    ) -> Vec<Telling> {
        let (plan, mut all) = (Arc::clone(&self.plan), Vec::new());
        for Foreseen { route, labels, flight, mut tellings } in foreseen {
            let Some(groups) = &mut self.groups else { continue };
            let Some(group) = groups.find(route, &labels) else { continue };
            groups.looked(group, now + plan.tree.routes[route].group_interval.delta());
            tellings.iter_mut().for_each(|telling| telling.group = group);
            self.launch(group, flight, &tellings, revision);
            all.append(&mut tellings);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::{AlertMatcher, AlertSilence, Notification};

    use super::*;
    use crate::{
        alertmanager::{fixtures, plan::Plan},
        fixtures::time,
    };

    const YAML: &str = r#"
route:
  receiver: r
  group_by: [a]
  group_wait: 0s
  group_interval: 5m
  routes:
  - {matchers: [kind="slow"], group_wait: 30s}
  - {matchers: [kind="two"], receiver: two, continue: true}
  - {matchers: [kind="two"]}
inhibit_rules: [{source_matchers: [kind="source"], target_matchers: [kind="target"], equal: [a]}]
receivers:
- {name: r, webhook_configs: [{url: "http://127.0.0.1:1/"}]}
- {name: two, webhook_configs: [{url: "http://127.0.0.1:1/"}, {url: "http://127.0.0.1:1/", send_resolved: false}]}
"#;

    fn board() -> Board {
        let config = serde_saphyr::from_str(YAML).expect("YAML");
        let mut board = Board::new(Arc::new(Plan::new(config).expect("a plan"))).expect("a board");
        board.begin(time(0));
        board
    }

    /// One alert of the second group, with this kind.
    fn alert(kind: &str, instance: &str, ends: Option<i64>) -> (u64, Arc<Alert>) {
        let labels = [("a", "1"), ("kind", kind), ("instance", instance)];
        let alert = fixtures::alert(&labels, 10, ends);
        (alert.fingerprint(), Arc::new(alert))
    }

    fn records(tellings: &[Telling]) -> BTreeMap<String, Notification> {
        tellings.iter().map(|t| (t.id.clone(), t.record.clone())).collect()
    }

    /// The same as when the alerts are there before it is decided.
    #[test]
    fn what_is_foreseen_is_what_is_decided() {
        for (alerts, before, count) in [
            (vec![alert("x", "1", None)], vec![], 1),
            (vec![alert("x", "1", None), alert("x", "2", Some(50))], vec![], 1),
            (vec![alert("two", "1", None)], vec![], 3),
            (vec![alert("target", "1", None)], vec![alert("source", "1", None)], 0),
            (vec![alert("x", "silent", None)], vec![], 0),
            // It is over.
            (vec![alert("x", "1", Some(5))], vec![], 0),
        ] {
            let known = || {
                let mut board = board();
                let silence = AlertSilence {
                    id: "s".to_owned(),
                    matchers: vec![AlertMatcher {
                        name: "instance".to_owned(),
                        value: "silent".to_owned(),
                        is_regex: false,
                        is_equal: true,
                    }],
                    starts_at: time(0),
                    ends_at: time(100),
                    updated_at: time(0),
                    created_by: "me".to_owned(),
                    comment: "c".to_owned(),
                };
                board.silences.put(silence, 1).expect("a silence");
                for (fingerprint, alert) in before.clone() {
                    // In a group of its own.
                    board.alerts.insert(
                        fingerprint,
                        crate::alertmanager::board::Kept { alert: Arc::clone(&alert), revision: 1 },
                    );
                    board.inhibitor.insert(fingerprint, &alert.labels);
                }
                board
            };
            let (mut later, mut now) = (known(), known());
            let foreseen = now.foresee(&alerts, time(20));
            assert!(now.log.is_empty() && now.under_way.is_empty() && now.due(time(20)).is_empty());
            for (fingerprint, alert) in &alerts {
                later.put_alert(*fingerprint, Arc::clone(alert), 2, time(20));
                now.put_alert(*fingerprint, Arc::clone(alert), 2, time(20));
            }
            let decided = later.due(time(20));
            let adopted = now.adopt(foreseen, 2, time(20));
            assert_eq!(records(&adopted), records(&decided), "{alerts:?}");
            assert_eq!(adopted.len(), count, "{alerts:?}");
            // Both boards go on in the same way.
            assert!(now.due(time(20)).is_empty() && later.due(time(20)).is_empty());
            for (board, tellings) in [(&mut now, &adopted), (&mut later, &decided)] {
                for telling in tellings {
                    assert!(board.finish(telling, true, time(21)).is_some());
                }
            }
            let again = records(&now.due(time(400)));
            assert_eq!(again, records(&later.due(time(400))), "{alerts:?}");
            let members = |board: &Board| -> Vec<_> {
                let groups = board.groups.as_ref().expect("groups");
                groups.iter().map(|(_, g)| (g.key.clone(), g.alerts.clone(), g.due_at)).collect()
            };
            assert_eq!(members(&now), members(&later), "{alerts:?}");
        }
    }

    #[test]
    fn what_waits_or_is_there_already_is_not_foreseen() {
        let mut board = board();
        assert!(!board.foresees(&[alert("slow", "1", None)], time(20)), "it waits for others");
        assert!(board.foresees(&[alert("slow", "1", None)], time(41)), "it has waited");
        let both = [alert("source", "1", None), alert("target", "1", None)];
        assert!(board.foresee(&both, time(20)).is_empty(), "the one keeps the other quiet");
        let (fingerprint, first) = alert("x", "1", None);
        board.put_alert(fingerprint, first, 1, time(20));
        assert!(!board.foresees(&[alert("x", "2", None)], time(20)), "its group is there");
        board.end();
        assert!(!board.foresees(&[alert("slow", "1", None)], time(41)), "another node tells");
    }

    /// The transaction was given up, and is applied behind what was decided since.
    #[test]
    fn what_was_foreseen_and_comes_late_is_not_what_was_told() {
        let mut board = board();
        let (one, two) = (alert("x", "1", None), alert("x", "2", None));
        let late = board.foresee(std::slice::from_ref(&one), time(20)).remove(0).tellings.remove(0);
        for (fingerprint, alert) in [one, two] {
            board.put_alert(fingerprint, alert, 2, time(21));
        }
        let told = board.due(time(21)).remove(0);
        assert_eq!((&told.id, told.record.sequence), (&late.id, late.record.sequence));
        board.saved(&told.id, &told.record, 3);
        board.put_logged(&late.id, late.record.clone(), 4);
        assert_eq!(board.log[&told.id].record, told.record, "it is being told");
        let sent = board.finish(&told, true, time(22)).expect("it is taken");
        assert_eq!(sent.firing.len(), 2);
        board.saved(&told.id, &sent, 5);
        assert!(board.unsaved.is_empty());
        board.put_logged(&late.id, late.record, 6);
        assert_eq!(board.log[&told.id].record, sent);
        assert!(board.unsaved.contains(&told.id), "the registry is told again");
    }
}
