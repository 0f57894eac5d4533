//! Which instances serve, over time.
//!
//! A `standby` does not count against the SLO. When it is promoted, it counts from that moment on; what it did
//! before stays uncounted, so a promotion does not paint over the downtime it ended:
//!
//! ```text
//! db-1 primary  ++++++------|deregistered            counts throughout
//! db-2 standby  ++++++++++++|primary ++++++++        counts from | on
//! db            up....down..|up......
//! ```
//!
//! Its role is the one that it has: what a failover gave it counts, whatever it says of itself.
//!
//! An instance that is not registered (any more) counts as it last did, and as serving if it was never seen. Nothing counts
//! that is covered by a maintenance window.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use super::time::instant;

/// Changes kept per instance; older ones are forgotten.
const CHANGES_MAX: usize = 16;

/// From when on an instance served or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    /// When it was seen; the first change also speaks for the time before.
    pub at: Time,
    /// Whether it serves since then.
    pub serves: bool,
}

/// A maintenance window, as far as it covers one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excused {
    /// Milliseconds since 1970.
    pub(super) from: i64,
    /// Exclusive.
    pub(super) to: i64,
    /// The instances that it covers; none: all.
    pub(super) instances: Option<BTreeSet<String>>,
    /// The check that it covers; none: all.
    pub(super) check: Option<String>,
    /// Its id, and its comment if it has one.
    pub(super) why: String,
}

/// The roles of one service's instances, and what of them is excused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roles {
    changes: BTreeMap<String, Vec<RoleChange>>,
    pub(super) excused: Vec<Excused>,
}

impl Roles {
    /// Whether a maintenance window covers this check of an instance at `at_ms`.
    pub(super) fn is_excused(&self, instance: &str, check: &str, at_ms: i64) -> bool {
        self.excused.iter().any(|window| {
            (window.from..window.to).contains(&at_ms)
                && window.instances.as_ref().is_none_or(|covered| covered.contains(instance))
                && window.check.as_ref().is_none_or(|covered| covered == check)
        })
    }

    /// Notes that `instance` is registered as serving (or not) at `now_ms`.
    pub(super) fn observe(&mut self, instance: &str, serves: bool, now_ms: i64) {
        let changes = self.changes.entry(instance.to_owned()).or_default();
        if changes.last().is_none_or(|last| last.serves != serves) {
            changes.push(RoleChange { at: instant(now_ms), serves });
            let excess = changes.len().saturating_sub(CHANGES_MAX);
            changes.drain(..excess);
        }
    }

    /// Notes that `instance` has been serving (or not) since `since_ms`, whatever was noted of the time behind it without knowing.
    /// If nothing was, it served `before` or not.
    pub(super) fn observe_since(
        &mut self,
        instance: &str,
        before: bool,
        serves: bool,
        since_ms: i64,
    ) {
        let changes = self.changes.entry(instance.to_owned()).or_default();
        if changes.is_empty() {
            changes.push(RoleChange { at: instant(since_ms - 1), serves: before });
        }
        let later = changes.iter().position(|c| c.at.timestamp_millis() > since_ms);
        // The first speaks for the time before, too.
        changes.truncate(later.unwrap_or(changes.len()).max(1));
        if let Some(first) = changes.first_mut().filter(|c| c.at.timestamp_millis() > since_ms) {
            first.at = instant(since_ms - 1);
        }
        self.observe(instance, serves, since_ms);
    }

    /// Whether `instance` counted at `at_ms`.
    pub(super) fn serves_at(&self, instance: &str, at_ms: i64) -> bool {
        let Some(changes) = self.changes.get(instance) else { return true };
        let since = changes.iter().rev().find(|c| c.at.timestamp_millis() <= at_ms);
        since.or(changes.first()).is_none_or(|c| c.serves)
    }

    /// The moments in `[from, to)` at which some instance's role changed, or a maintenance window began or ended; in order.
    pub(super) fn changes_in(&self, from_ms: i64, to_ms: i64) -> Vec<i64> {
        let changes = self.changes.values().flat_map(|c| c.iter().skip(1));
        let mut moments: Vec<i64> = changes
            .map(|c| c.at.timestamp_millis())
            .chain(self.excused.iter().flat_map(|window| [window.from, window.to]))
            .filter(|at| (from_ms..to_ms).contains(at))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// Forgets the instances that are not to be kept.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.changes.retain(|instance, _| keep(instance));
    }

    /// Whether it knows of no instance.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What must survive a restart: the history of each instance that ever was a standby.
    pub(super) fn export(&self) -> BTreeMap<String, Vec<RoleChange>> {
        let standbys = self.changes.iter().filter(|(_, c)| c.iter().any(|change| !change.serves));
        standbys.map(|(instance, changes)| (instance.clone(), changes.clone())).collect()
    }

    /// Takes over an exported history, except where a change was seen first-hand.
    pub(super) fn import(&mut self, history: &BTreeMap<String, Vec<RoleChange>>) {
        for (instance, stored) in history {
            // The first of several is what was there when we began to look: the record knows better.
            let mut own = self.changes.remove(instance).unwrap_or_default();
            let seen_from = own.get(1).map(|change| change.at);
            let earlier = stored.iter().filter(|c| seen_from.is_none_or(|seen| c.at < seen));
            let mut all: Vec<_> = earlier.copied().collect();
            if !all.is_empty() && own.len() > 1 {
                own.remove(0);
            }
            for change in own {
                if all.last().is_none_or(|last| last.serves != change.serves) {
                    all.push(change);
                }
            }
            let excess = all.len().saturating_sub(CHANGES_MAX);
            all.drain(..excess);
            if !all.is_empty() {
                self.changes.insert(instance.clone(), all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_standby_counts_from_then_on() {
        let mut roles = Roles::default();
        roles.observe("db-2", false, 1_000);
        roles.observe("db-2", false, 2_000);
        roles.observe("db-2", true, 5_000);
        for (instance, at, serves) in [
            ("db-2", 0, false),
            ("db-2", 4_999, false),
            ("db-2", 5_000, true),
            ("never-seen", 0, true),
        ] {
            assert_eq!(roles.serves_at(instance, at), serves, "{instance} at {at}");
        }
        assert_eq!(roles.changes_in(0, 10_000), [5_000]);
        assert_eq!(roles.changes_in(0, 5_000), [0i64; 0]);
    }

    #[test]
    fn what_is_known_since_when_corrects_what_was_noted_without_knowing() {
        let history = |changes: &[(i64, bool)], (since, serves): (i64, bool)| {
            let mut roles = Roles::default();
            for (at, serves) in changes {
                roles.observe("db", *serves, *at);
            }
            roles.observe_since("db", !serves, serves, since);
            let found = roles.changes["db"].iter();
            found.map(|c| (c.at.timestamp_millis(), c.serves)).collect::<Vec<_>>()
        };
        for (changes, since, expected) in [
            (&[][..], (50, true), vec![(49, false), (50, true)]),
            (&[(10, false)], (50, true), vec![(10, false), (50, true)]),
            // A node that has just begun sees what the instance says, and hears of its role only then.
            (&[(90, false)], (50, true), vec![(49, false), (50, true)]),
            (&[(10, false), (50, true), (90, false)], (50, true), vec![(10, false), (50, true)]),
            (&[(10, true), (90, false)], (50, true), vec![(10, true)]),
            (&[(90, true)], (50, true), vec![(49, true)]),
        ] {
            assert_eq!(history(changes, since), expected, "{changes:?} {since:?}");
        }
    }

    #[test]
    fn history_survives_a_restart() {
        let mut before = Roles::default();
        before.observe("db-1", true, 0);
        before.observe("db-2", false, 0);
        before.observe("db-2", true, 5_000);
        let stored = before.export();
        assert_eq!(
            stored.keys().collect::<Vec<_>>(),
            ["db-2"],
            "a plain instance needs no history"
        );

        let mut after = Roles::default();
        after.observe("db-2", true, 60_000);
        after.import(&stored);
        assert_eq!(after.export(), stored);

        let mut changed_meanwhile = Roles::default();
        changed_meanwhile.observe("db-2", false, 60_000);
        changed_meanwhile.import(&stored);
        assert!(changed_meanwhile.serves_at("db-2", 59_999));
        assert!(!changed_meanwhile.serves_at("db-2", 60_000));

        // What was seen first-hand holds, with what was recorded of the time before.
        let mut seen = Roles::default();
        seen.observe("db-2", false, 3_000);
        seen.observe("db-2", true, 5_010);
        seen.import(&BTreeMap::from([(
            "db-2".to_owned(),
            [(0, true), (2_000, false), (5_000, true)]
                .map(|(at, serves)| RoleChange { at: instant(at), serves })
                .to_vec(),
        )]));
        for (at, serves) in [(1_999, true), (2_000, false), (4_999, false), (5_000, true)] {
            assert_eq!(seen.serves_at("db-2", at), serves, "{at}");
        }
    }

    #[test]
    fn history_is_bounded() {
        let mut roles = Roles::default();
        for at in 0..1_000 {
            roles.observe("flapping", at % 2 == 0, at);
        }
        assert_eq!(roles.export()["flapping"].len(), CHANGES_MAX);
    }
}
