//! Maintenance windows: which are open now, and what they cover. Pure.
//!
//! A window of a schedule is open from a tick of its cron line, read on its zone's wall clock, for as many seconds of real
//! time as it says. What a change of the clocks does to a tick is said in [`crate::oncall`]: one that the clock skips comes
//! when the clock goes on, one that it shows twice comes the first time, so no window is lost and none opens twice.

use std::{collections::BTreeMap, str::FromStr};

use chrono::TimeDelta;
use chrono_tz::Tz;
use serde::Serialize;
use watchkeep_catalog::{Instance, KeyValue, Maintenance, Time, keys};

use crate::oncall::Handoff;

/// Spans of one window that are listed: one a minute for a week.
const SPANS_MAX: usize = 10_080;

/// A window that is ready for questions.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) record: Maintenance,
    recurring: Option<(Handoff, TimeDelta)>,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Span {
    pub(crate) from: Time,
    /// Exclusive.
    pub(crate) to: Time,
}

impl Window {
    /// Reads cron line and time zone.
    ///
    /// # Errors
    /// What is wrong, with its field.
    pub(crate) fn new(record: Maintenance) -> Result<Self, String> {
        record.validate().map_err(|error| error.to_string())?;
        let recurring = match &record.schedule {
            None => None,
            Some(line) => {
                let zone = record.time_zone.as_deref().unwrap_or("UTC");
                let zone = Tz::from_str(zone).map_err(|_| {
                    format!(
                        "time_zone: {zone:?} is not a time zone: give an IANA name such as Europe/Berlin"
                    )
                })?;
                let ticks = Handoff::new(line, zone).map_err(|e| format!("schedule: {e}"))?;
                if ticks.next(Time::UNIX_EPOCH).is_none() {
                    return Err(format!(
                        "schedule: {line:?} never comes: write a line whose days there are, such as \"30 2 * * *\""
                    ));
                }
                let seconds = record.duration_seconds.unwrap_or_default();
                Some((ticks, TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))))
            }
        };
        Ok(Self { record, recurring })
    }

    /// The span that is open at `now`.
    pub(crate) fn open(&self, now: Time) -> Option<Span> {
        let (from, to) = (self.record.from, self.record.to);
        if from.is_some_and(|from| now < from) || to.is_some_and(|to| now >= to) {
            return None;
        }
        let Some((ticks, duration)) = &self.recurring else {
            return Some(Span { from: from?, to: to? });
        };
        let tick = ticks.last(now - *duration, now)?;
        let begun = from.is_none_or(|from| tick >= from);
        begun.then(|| self.span(tick, *duration))
    }

    /// The next span that begins behind `now`.
    pub(crate) fn next(&self, now: Time) -> Option<Span> {
        let Some((ticks, duration)) = &self.recurring else {
            let span = Span { from: self.record.from?, to: self.record.to? };
            return (span.from > now).then_some(span);
        };
        // A tick at `from` itself counts.
        let just_before = self.record.from.map(|from| from - TimeDelta::microseconds(1));
        let tick = ticks.next(just_before.map_or(now, |from| from.max(now)))?;
        let in_time = self.record.to.is_none_or(|to| tick < to);
        in_time.then(|| self.span(tick, *duration))
    }

    /// Every span of it that reaches into `[from, to)`, in order; at most [`SPANS_MAX`].
    pub(crate) fn spans(&self, from: Time, to: Time) -> Vec<Span> {
        let mut found: Vec<Span> = self.open(from).into_iter().collect();
        let mut at = from;
        while let Some(span) = self.next(at).filter(|span| span.from < to) {
            if found.len() >= SPANS_MAX {
                break;
            }
            at = span.from;
            found.push(span);
        }
        found
    }

    fn span(&self, tick: Time, duration: TimeDelta) -> Span {
        let end = tick + duration;
        Span { from: tick, to: self.record.to.map_or(end, |to| to.min(end)) }
    }
}

/// All windows: those of the configuration and those of the registry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Windows {
    configured: BTreeMap<String, Window>,
    /// Each with its key's revision.
    registered: BTreeMap<String, (Window, i64)>,
}

impl Windows {
    /// Those of the configuration, which is valid.
    pub(crate) fn new(configured: impl IntoIterator<Item = Window>) -> Self {
        let by_id = |window: Window| (window.record.id.clone(), window);
        Self {
            configured: configured.into_iter().map(by_id).collect(),
            registered: BTreeMap::new(),
        }
    }

    /// Takes in a record of the registry.
    ///
    /// # Errors
    /// What is wrong with it; then there is no such window.
    pub(crate) fn put(&mut self, id: &str, kv: &KeyValue) -> Result<(), String> {
        self.registered.remove(id);
        let mut record: Maintenance = kv.json().map_err(|error| error.to_string())?;
        id.clone_into(&mut record.id);
        self.registered.insert(id.to_owned(), (Window::new(record)?, kv.mod_revision));
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.registered.remove(id);
    }

    /// Forgets those of the registry.
    pub(crate) fn reset(&mut self) {
        self.registered.clear();
    }

    /// With a list of the registry's instead of those known before; records that cannot be read are left out.
    pub(crate) fn with(&self, kvs: &[KeyValue]) -> Self {
        let mut windows = Self { configured: self.configured.clone(), registered: BTreeMap::new() };
        for kv in kvs {
            if let Some(id) = kv.key.strip_prefix(keys::MAINTENANCE)
                && let Err(error) = windows.put(id, kv)
            {
                tracing::debug!(key = kv.key, error, "a maintenance window cannot be read");
            }
        }
        windows
    }

    /// Every window, and whether it is configured.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Window, bool)> {
        let configured = self.configured.values().map(|window| (window, true));
        configured.chain(self.registered.values().map(|(window, _)| (window, false)))
    }

    /// Whether the configuration has this window.
    pub(crate) fn is_configured(&self, id: &str) -> bool {
        self.configured.contains_key(id)
    }

    /// Those that are open now.
    pub(crate) fn open(&self, now: Time) -> Open {
        let open = self.iter().filter(|(window, _)| window.open(now).is_some());
        Open(open.map(|(window, _)| window.record.clone()).collect())
    }

    /// The registry's windows that are over for good since `before`, with their keys' revisions.
    pub(crate) fn over(&self, before: Time) -> impl Iterator<Item = (&str, i64)> {
        let over = move |window: &Window| window.record.to.is_some_and(|to| to < before);
        let found = self.registered.values().filter(move |(window, _)| over(window));
        found.map(|(window, revision)| (window.record.id.as_str(), *revision))
    }
}

/// The windows that are open at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Open(Vec<Maintenance>);

impl Open {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A window that covers a service as a whole.
    pub(crate) fn of_service(&self, service: &str) -> Option<&str> {
        let covers = |window: &&Maintenance| {
            let scope = &window.scope;
            let narrower = scope.instance.is_some() || scope.check.is_some() || scope.tag.is_some();
            scope.all || (scope.service.as_deref() == Some(service) && !narrower)
        };
        self.0.iter().find(covers).map(|window| window.id.as_str())
    }

    /// The window that covers all of these checks of an instance, or one of those that together do.
    pub(crate) fn covering(&self, instance: &Instance, checks: &[String]) -> Option<&str> {
        let mut found = None;
        for check in checks {
            let window = self.0.iter().find(|window| window.scope.covers(instance, check))?;
            found.get_or_insert(window.id.as_str());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(json: serde_json::Value) -> Result<Window, String> {
        Window::new(serde_json::from_value(json).unwrap())
    }

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn once() {
        let window = window(serde_json::json!({"id": "a", "scope": {"all": true},
            "from": "2026-01-05T09:00:00Z", "to": "2026-01-05T10:00:00Z"}))
        .unwrap();
        for (now, open, next) in [
            ("2026-01-05T08:59:59Z", false, true),
            ("2026-01-05T09:00:00Z", true, false),
            ("2026-01-05T09:59:59Z", true, false),
            ("2026-01-05T10:00:00Z", false, false),
        ] {
            assert_eq!(window.open(at(now)).is_some(), open, "{now}");
            assert_eq!(window.next(at(now)).is_some(), next, "{now}");
        }
    }

    #[test]
    fn again_and_again_through_changes_of_the_clocks() {
        // Berlin: on 29 March 2026 02:00 becomes 03:00, on 25 October 03:00 becomes 02:00.
        let window = window(serde_json::json!({"id": "a", "scope": {"service": "db"},
            "schedule": "30 2 * * *", "duration_seconds": 3600, "time_zone": "Europe/Berlin"}))
        .unwrap();
        for (now, from) in [
            ("2026-03-28T01:29:59Z", None),
            ("2026-03-28T01:30:00Z", Some("2026-03-28T01:30:00Z")),
            ("2026-03-28T02:29:59Z", Some("2026-03-28T01:30:00Z")),
            ("2026-03-28T02:30:00Z", None),
            // 02:30 is skipped: the window opens when the clock goes on.
            ("2026-03-29T00:59:59Z", None),
            ("2026-03-29T01:00:00Z", Some("2026-03-29T01:00:00Z")),
            ("2026-03-29T02:00:00Z", None),
            ("2026-03-30T00:30:00Z", Some("2026-03-30T00:30:00Z")),
            // 02:30 comes twice: it opens the first time, for an hour of real time.
            ("2026-10-25T00:30:00Z", Some("2026-10-25T00:30:00Z")),
            ("2026-10-25T01:30:00Z", None),
        ] {
            assert_eq!(window.open(at(now)).map(|span| span.from), from.map(at), "{now}");
        }
        let next = window.next(at("2026-03-28T12:00:00Z")).unwrap();
        assert_eq!((next.from, next.to), (at("2026-03-29T01:00:00Z"), at("2026-03-29T02:00:00Z")));
    }

    #[test]
    fn again_and_again_where_summer_is_in_december() {
        // Sydney: on 5 April 2026 03:00 (+11) becomes 02:00 (+10), on 4 October 02:00 becomes 03:00.
        let window = window(serde_json::json!({"id": "a", "scope": {"service": "db"},
            "schedule": "15 30 2 * * *", "duration_seconds": 600, "time_zone": "Australia/Sydney"}))
        .unwrap();
        for (now, from) in [
            ("2026-04-03T15:30:14Z", None),
            ("2026-04-03T15:30:15Z", Some("2026-04-03T15:30:15Z")),
            ("2026-04-03T15:40:15Z", None),
            // 02:30:15 comes twice: it opens the first time alone.
            ("2026-04-04T15:30:15Z", Some("2026-04-04T15:30:15Z")),
            ("2026-04-04T16:30:15Z", None),
            // An hour later from the next day on.
            ("2026-04-05T15:30:15Z", None),
            ("2026-04-05T16:30:15Z", Some("2026-04-05T16:30:15Z")),
            // 02:30:15 is skipped: it opens when the clock goes on.
            ("2026-10-03T15:59:59Z", None),
            ("2026-10-03T16:00:00Z", Some("2026-10-03T16:00:00Z")),
            ("2026-10-03T16:10:00Z", None),
            ("2026-10-04T15:30:15Z", Some("2026-10-04T15:30:15Z")),
        ] {
            assert_eq!(window.open(at(now)).map(|span| span.from), from.map(at), "{now}");
        }
    }

    #[test]
    fn every_span_that_reaches_in() {
        let window =
            window(serde_json::json!({"id": "a", "scope": {"all": true}, "schedule": "0 3 * * *",
            "duration_seconds": 7200, "to": "2026-01-07T03:30:00Z"}))
            .unwrap();
        let spans = window.spans(at("2026-01-05T04:00:00Z"), at("2026-01-09T00:00:00Z"));
        let found: Vec<_> = spans.iter().map(|span| (span.from, span.to)).collect();
        assert_eq!(
            found,
            [
                (at("2026-01-05T03:00:00Z"), at("2026-01-05T05:00:00Z")),
                (at("2026-01-06T03:00:00Z"), at("2026-01-06T05:00:00Z")),
                (at("2026-01-07T03:00:00Z"), at("2026-01-07T03:30:00Z")),
            ]
        );
        assert_eq!(window.spans(at("2026-01-05T05:00:00Z"), at("2026-01-06T03:00:00Z")), []);
    }

    #[test]
    fn a_schedule_has_bounds() {
        let window = window(serde_json::json!({"id": "a", "scope": {"all": true}, "schedule": "0 3 * * *",
            "duration_seconds": 7200, "from": "2026-01-05T03:00:00Z", "to": "2026-01-06T04:00:00Z"}))
        .unwrap();
        for (now, to) in [
            ("2026-01-04T03:30:00Z", None),
            ("2026-01-05T03:00:00Z", Some("2026-01-05T05:00:00Z")),
            ("2026-01-06T03:30:00Z", Some("2026-01-06T04:00:00Z")),
            ("2026-01-06T04:00:00Z", None),
            ("2026-01-07T03:30:00Z", None),
        ] {
            assert_eq!(window.open(at(now)).map(|span| span.to), to.map(at), "{now}");
        }
        assert_eq!(
            window.next(at("2026-01-01T00:00:00Z")).unwrap().from,
            at("2026-01-05T03:00:00Z")
        );
        assert_eq!(window.next(at("2026-01-06T03:00:00Z")), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (schedule, zone, part) in [
            ("0 25 * * *", "UTC", "schedule: bad cron line"),
            ("0 3 * * *", "Europe/Atlantis", "time_zone: \"Europe/Atlantis\""),
            ("* * * * * *", "UTC", "86400 times a day"),
        ] {
            let error = window(serde_json::json!({"id": "a", "scope": {"all": true},
                "schedule": schedule, "duration_seconds": 60, "time_zone": zone}))
            .unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn all_that_is_critical_must_be_covered() {
        let record = |id: &str, check: &str| {
            window(serde_json::json!({"id": id, "scope": {"service": "db", "check": check},
                "from": "2026-01-05T09:00:00Z", "to": "2026-01-05T10:00:00Z"}))
            .unwrap()
        };
        let open = Windows::new([record("a", "tcp"), record("b", "http")]);
        let open = open.open(at("2026-01-05T09:30:00Z"));
        let db = crate::fixtures::instance("db", "one");
        let checks = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(open.covering(&db, &checks(&["tcp"])), Some("a"));
        assert_eq!(open.covering(&db, &checks(&["http", "tcp"])), Some("b"));
        assert_eq!(open.covering(&db, &checks(&["http", "dns"])), None);
        assert_eq!(open.covering(&db, &[]), None);
    }
}
