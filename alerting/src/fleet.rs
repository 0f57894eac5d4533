//! How much of a service seems critical at once. Pure.
//!
//! When too much of it does, it is more likely that the eyes are bad than that all of it is dead (Eureka's
//! self-preservation, Envoy's panic threshold). Instances that fail for one reason do not fail in the same instant: each is
//! probed at its own phase. So the first one is believed at once, and those that follow it closely wait for one interval,
//! in which all that is going to fail has failed:
//!
//! ```text
//! ten instances, threshold 40 %
//! 0.1 s  web-3   1 of 10   critical: decided at once
//! 0.3 s  web-7   2 of 10   waits
//! 0.6 s  web-1   3 of 10   waits
//! 0.7 s  web-9   4 of 10   waits
//! 0.9 s  web-2   5 of 10   panic: one page for the service, web-3 is taken back
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use chrono::TimeDelta;
use watchkeep_catalog::{Instance, Time};

/// What is added to an interval for the ways of an opinion.
const MARGIN: Duration = Duration::from_millis(250);
/// Longest wait for others to fail too.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// When a service panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// More than this share; 0: never.
    pub(crate) percent: u8,
    /// Only when so many are probed.
    pub(crate) instances_min: u32,
}

/// What an instance adds to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seems {
    /// It is not there, not probed, or its fault has another explanation.
    Nothing,
    Well,
    Critical,
}

/// The probed instances of a service.
#[derive(Debug, Default)]
struct Service {
    /// All of them.
    instances: HashSet<String>,
    /// Those that seem critical, since when.
    critical: BTreeMap<String, Time>,
}

/// All services.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    services: HashMap<String, Service>,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) critical: u32,
    pub(crate) instances: u32,
}

impl Share {
    /// Whether it is more than the limit allows.
    pub(crate) fn exceeds(self, limit: Limit) -> bool {
        let exceeded =
            u64::from(self.critical) * 100 > u64::from(limit.percent) * u64::from(self.instances);
        limit.percent > 0 && self.instances >= limit.instances_min && exceeded
    }
}

impl Fleet {
    /// What an instance seems from `now` on; `since` when it is known to be critical for longer.
    pub(crate) fn set(
        &mut self,
        service: &str,
        instance: &str,
        seems: Seems,
        since: Option<Time>,
        now: Time,
    ) {
        if seems == Seems::Nothing {
            if let Some(known) = self.services.get_mut(service) {
                known.instances.remove(instance);
                known.critical.remove(instance);
                if known.instances.is_empty() {
                    self.services.remove(service);
                }
            }
            return;
        }
        let known = self.services.entry(service.to_owned()).or_default();
        known.instances.insert(instance.to_owned());
        if seems == Seems::Critical {
            let before = known.critical.get(instance).copied();
            let since = since.or(before).unwrap_or(now);
            known.critical.insert(instance.to_owned(), since);
        } else {
            known.critical.remove(instance);
        }
    }

    /// How much of a service seems critical.
    pub(crate) fn share(&self, service: &str) -> Share {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.services.get(service).map_or(Share { critical: 0, instances: 0 }, |known| Share {
            critical: count(known.critical.len()),
            instances: count(known.instances.len()),
        })
    }

    /// Since when the first of them does.
    pub(crate) fn first(&self, service: &str) -> Option<Time> {
        self.services.get(service)?.critical.values().min().copied()
    }

    /// Until when a fault waits for others of the same cause; none: it was alone.
    pub(crate) fn waits_until(
        &self,
        service: &str,
        instance: &str,
        settle: TimeDelta,
        limit: Limit,
    ) -> Option<Time> {
        let known = self.services.get(service)?;
        if limit.percent == 0 || self.share(service).instances < limit.instances_min {
            return None;
        }
        let own = *known.critical.get(instance)?;
        // Of two at the same instant the one that sorts first is the first.
        let before = known.critical.iter().any(|(other, since)| {
            let earlier = (*since, other.as_str()) < (own, instance);
            earlier && own - *since < settle
        });
        before.then(|| own + settle)
    }
}

/// How long all that fails for one reason takes to be seen: one interval, since each is probed at its own phase.
pub(crate) fn settle(instance: &Instance) -> TimeDelta {
    let interval = instance.checks.iter().map(|check| check.interval_ms).max().unwrap_or(0);
    delta((Duration::from_millis(interval) + MARGIN).min(SETTLE_MAX))
}

/// How long it takes to find an instance critical, at most.
pub(crate) fn detection(instance: &Instance) -> TimeDelta {
    let slowest = instance.checks.iter().map(|check| {
        Duration::from_millis(check.interval_ms) * check.fall
            + Duration::from_millis(check.timeout_ms)
    });
    delta((slowest.max().unwrap_or_default() + MARGIN).min(SETTLE_MAX * 3))
}

/// How long it takes to find that it is well again, at most.
pub(crate) fn recovery(instance: &Instance) -> TimeDelta {
    let slowest = instance.checks.iter().map(|check| {
        Duration::from_millis(check.interval_ms) * check.rise
            + Duration::from_millis(check.timeout_ms)
    });
    delta((slowest.max().unwrap_or_default() + MARGIN).min(SETTLE_MAX * 3))
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{instance, time};

    fn ten(critical: &[(&str, i64)]) -> Fleet {
        let mut fleet = Fleet::default();
        for at in 0..10 {
            fleet.set("web", &format!("web-{at}"), Seems::Well, None, time(0));
        }
        for (name, second) in critical {
            fleet.set("web", name, Seems::Critical, None, time(*second));
        }
        fleet
    }

    const LIMIT: Limit = Limit { percent: 40, instances_min: 5 };

    #[test]
    fn more_than_the_limit() {
        for (critical, instances, percent, instances_min, exceeds) in [
            (4, 10, 40, 5, false),
            (5, 10, 40, 5, true),
            (2, 5, 40, 5, false),
            (3, 5, 40, 5, true),
            (4, 4, 40, 5, false),
            (10, 10, 0, 5, false),
            (10, 10, 99, 5, true),
            (0, 0, 40, 0, false),
        ] {
            let share = Share { critical, instances };
            assert_eq!(share.exceeds(Limit { percent, instances_min }), exceeds, "{share:?}");
        }
    }

    #[test]
    fn counts_what_is_there() {
        let mut fleet = ten(&[("web-1", 1), ("web-2", 2)]);
        assert_eq!(fleet.share("web"), Share { critical: 2, instances: 10 });
        assert_eq!((fleet.first("web"), fleet.first("db")), (Some(time(1)), None));
        // Seeming critical for longer does not make it seem so later.
        fleet.set("web", "web-1", Seems::Critical, None, time(9));
        assert_eq!(fleet.first("web"), Some(time(1)));
        fleet.set("web", "web-1", Seems::Nothing, None, time(9));
        assert_eq!(fleet.share("web"), Share { critical: 1, instances: 9 });
        for at in 0..10 {
            fleet.set("web", &format!("web-{at}"), Seems::Nothing, None, time(9));
        }
        assert!(fleet.services.is_empty());
    }

    #[test]
    fn only_who_follows_closely_waits() {
        let settle = settle(&instance("web", "web-1"));
        assert_eq!(settle, TimeDelta::milliseconds(1_250));
        let fleet = ten(&[("web-3", 1), ("web-7", 2), ("web-1", 2), ("web-9", 5)]);
        let waits = |name: &str, limit| fleet.waits_until("web", name, settle, limit);
        assert_eq!(waits("web-3", LIMIT), None);
        assert_eq!(waits("web-7", LIMIT), Some(time(2) + settle));
        assert_eq!(waits("web-1", LIMIT), Some(time(2) + settle));
        assert_eq!(waits("web-9", LIMIT), None, "long after the others");
        assert_eq!(waits("web-2", LIMIT), None, "it is well");
        assert_eq!(waits("web-7", Limit { percent: 0, ..LIMIT }), None);
        assert_eq!(waits("web-7", Limit { instances_min: 11, ..LIMIT }), None);
    }
}
