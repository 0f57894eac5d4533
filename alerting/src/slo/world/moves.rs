//! What the journals of failovers say of who served before roles were moved.
//!
//! A failover writes the new roles into the instances' own records. So a node that begins afterwards finds a standby that has
//! always been one, and would not count the downtime of the primary that it was.

use std::collections::BTreeMap;

use serde::Deserialize;
use watchkeep_catalog::{STANDBY, StepState, Time, role_before};

use crate::slo::{roles::RoleChange, time::instant};

/// A step's kind that moves roles.
const PROMOTE: &str = "promote";

/// Of a step of a journal, what is needed here.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    kind: String,
    #[serde(default)]
    state: StepState,
    #[serde(default)]
    started_at: Option<Time>,
    #[serde(default)]
    before: BTreeMap<String, String>,
}

/// When a failover moved roles, and which of those that it moved served until then.
#[derive(Debug)]
struct Move {
    at: i64,
    served: BTreeMap<String, bool>,
}

/// All moves that are known, by service and failover.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeMap<String, BTreeMap<String, Vec<Move>>>);

impl Moves {
    /// Takes in a journal; answers whose roles it has moved.
    pub(super) fn note(&mut self, service: &str, failover: &str, steps: &[Step]) -> Vec<String> {
        let done = steps.iter().filter(|s| s.kind == PROMOTE && s.state == StepState::Done);
        let moved = done.filter_map(|step| {
            let served = step.before.iter().filter_map(|(what, role)| {
                Some((role_before(what)?.to_owned(), role.as_str() != STANDBY))
            });
            Some(Move { at: step.started_at?.timestamp_millis(), served: served.collect() })
        });
        let moves: Vec<Move> = moved.filter(|one| !one.served.is_empty()).collect();
        let ids = moves.iter().flat_map(|one| one.served.keys().cloned()).collect();
        if moves.is_empty() {
            // What was undone has moved nothing.
            self.remove(service, failover);
        } else {
            self.0.entry(service.to_owned()).or_default().insert(failover.to_owned(), moves);
        }
        ids
    }

    fn remove(&mut self, service: &str, failover: &str) {
        if let Some(of_service) = self.0.get_mut(service) {
            of_service.remove(failover);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets what was before `horizon`.
    pub(super) fn forget(&mut self, horizon: i64) {
        for of_service in self.0.values_mut() {
            of_service.retain(|_, moves| moves.iter().any(|one| one.at >= horizon));
        }
        self.0.retain(|_, of_service| !of_service.is_empty());
    }

    /// When an instance that `serves` now did and did not; nothing where no failover has moved its role.
    pub(super) fn history(&self, service: &str, instance: &str, serves: bool) -> Vec<RoleChange> {
        let all =
            self.0.get(service).into_iter().flat_map(|failovers| failovers.values().flatten());
        let mut known: Vec<(i64, bool)> =
            all.filter_map(|one| Some((one.at, *one.served.get(instance)?))).collect();
        known.sort_unstable();
        let Some((first, before)) = known.first().copied() else { return Vec::new() };
        let mut changes = vec![RoleChange { at: instant(first - 1), serves: before }];
        let after = known.iter().skip(1).map(|(_, before)| *before).chain([serves]);
        for ((at, _), serves) in known.iter().zip(after) {
            if changes.last().is_some_and(|last| last.serves != serves) {
                changes.push(RoleChange { at: instant(*at), serves });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(at: &str, state: &str, before: serde_json::Value) -> Vec<Step> {
        let step = json!({"name": "p", "kind": "promote", "state": state, "started_at": at, "before": before});
        let other = json!({"name": "c", "kind": "callback", "state": "done", "new_field": 1});
        serde_json::from_value(json!([other, step])).expect("steps")
    }

    #[test]
    fn there_and_back_again() {
        let mut moves = Moves::default();
        let there = json!({"holder": "", "role of a": "primary", "role of b": "standby"});
        let back = json!({"holder": "{}", "role of a": "standby", "role of b": "primary"});
        let ids = moves.note("db", "f1", &steps("1970-01-01T00:00:05Z", "done", there));
        assert_eq!(ids, ["a", "b"]);
        moves.note("db", "f2", &steps("1970-01-01T00:00:09Z", "done", back.clone()));
        let history = |moves: &Moves, id: &str, serves: bool| {
            let changes = moves.history("db", id, serves).into_iter();
            changes.map(|c| (c.at.timestamp_millis(), c.serves)).collect::<Vec<_>>()
        };
        assert_eq!(history(&moves, "a", true), [(4_999, true), (5_000, false), (9_000, true)]);
        assert_eq!(history(&moves, "b", false), [(4_999, false), (5_000, true), (9_000, false)]);
        assert!(history(&moves, "c", true).is_empty(), "nobody has moved its role");
        // The second one is undone.
        moves.note("db", "f2", &steps("1970-01-01T00:00:09Z", "undone", back));
        assert_eq!(history(&moves, "a", false), [(4_999, true), (5_000, false)]);
        moves.forget(5_001);
        assert!(history(&moves, "a", false).is_empty());
    }
}
