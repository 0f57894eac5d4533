//! When something is allowed to be broken: nobody is told, nothing is failed over.

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Instance, Time,
    name::{NameError, check_name},
};

/// Longest comment in bytes.
const COMMENT_MAX: usize = 2_000;
/// Longest recurring window: 31 days.
const DURATION_SECONDS_MAX: u64 = 31 * 86_400;

/// What a window covers: everything that is given must be so; `all` alone covers everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Everything there is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Instances of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Instances of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Checks of this name; the other checks of an instance count as ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Instances with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl Scope {
    /// Whether it covers this check of this instance.
    #[must_use]
    pub fn covers(&self, instance: &Instance, check: &str) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        is(&self.service, &instance.service)
            && is(&self.instance, &instance.id)
            && is(&self.check, check)
            && self.tag.as_ref().is_none_or(|tag| instance.tags.contains(tag))
    }
}

/// A maintenance window: once from `from` to `to`, or again and again by `schedule`, each time for `duration_seconds`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Unique; the key's last segment.
    #[serde(default)]
    pub id: String,
    /// What it covers.
    pub scope: Scope,
    /// Its beginning; with a schedule, none begins before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// Its end, exclusive; with a schedule, the end of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Time>,
    /// Cron line at whose ticks a window begins: six or seven fields with seconds, or crontab's five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Length of each window of a schedule. 1 to 2,678,400 (31 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// IANA name of the zone on whose wall clock the schedule is read; UTC when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Who wants it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// Why a window is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MaintenanceError {
    /// A name cannot be a key segment.
    #[error("{field}: {source}")]
    Name {
        /// The field.
        field: &'static str,
        /// What is wrong with the name.
        source: NameError,
    },
    /// It covers nothing, or everything and something.
    #[error("scope: {0}: give service, instance, check or tag, or all: true by itself")]
    Scope(&'static str),
    /// A one-off window without both its ends.
    #[error(
        "{0} is missing: a window lasts from `from` to `to`, or recurs by `schedule` for `duration_seconds`"
    )]
    Missing(&'static str),
    /// A field that says nothing without a schedule.
    #[error("{0} is of no use without schedule: leave it out, or give a cron line")]
    NoSchedule(&'static str),
    /// It ends before it begins.
    #[error(
        "to is {}, which is not after from ({}): give a later end",
        to.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        from.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    )]
    Order {
        /// Its beginning.
        from: Time,
        /// Its end.
        to: Time,
    },
    /// Too short or too long.
    #[error("duration_seconds is {0}: give 1 to {DURATION_SECONDS_MAX}")]
    Duration(u64),
    /// Too long a text.
    #[error("comment has {0} bytes: give at most {COMMENT_MAX}")]
    Comment(usize),
}

impl Maintenance {
    /// Checks all but the cron line and the time zone, which are read where they are used.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), MaintenanceError> {
        let named = |field, what, name: Option<&str>| match name {
            Some(name) => {
                check_name(what, name).map_err(|source| MaintenanceError::Name { field, source })
            }
            None => Ok(()),
        };
        let scope = &self.scope;
        named("id", "maintenance window", Some(&self.id))?;
        named("scope.service", "service", scope.service.as_deref())?;
        named("scope.instance", "instance", scope.instance.as_deref())?;
        named("scope.check", "check", scope.check.as_deref())?;
        named("author", "person", Some(self.author.as_str()).filter(|author| !author.is_empty()))?;
        let parts = [&scope.service, &scope.instance, &scope.check, &scope.tag];
        match (scope.all, parts.iter().any(|part| part.is_some())) {
            (false, false) => return Err(MaintenanceError::Scope("it covers nothing")),
            (true, true) => {
                return Err(MaintenanceError::Scope("all is given with something else"));
            }
            _ => {}
        }
        if self.comment.len() > COMMENT_MAX {
            return Err(MaintenanceError::Comment(self.comment.len()));
        }
        if self.schedule.is_some() {
            match self.duration_seconds {
                None => return Err(MaintenanceError::Missing("duration_seconds")),
                Some(s) if !(1..=DURATION_SECONDS_MAX).contains(&s) => {
                    return Err(MaintenanceError::Duration(s));
                }
                Some(_) => {}
            }
        } else {
            for (field, given) in [
                ("duration_seconds", self.duration_seconds.is_some()),
                ("time_zone", self.time_zone.is_some()),
            ] {
                if given {
                    return Err(MaintenanceError::NoSchedule(field));
                }
            }
            for (field, given) in [("from", self.from), ("to", self.to)] {
                if given.is_none() {
                    return Err(MaintenanceError::Missing(field));
                }
            }
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if to <= from => Err(MaintenanceError::Order { from, to }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let read = |json: &str| serde_json::from_str::<Maintenance>(json).unwrap();
        let span = r#""from": "2026-01-05T09:00:00Z", "to": "2026-01-05T10:00:00Z""#;
        for (json, part) in [
            (format!(r#"{{"id": "a b", "scope": {{"all": true}}, {span}}}"#), "id: maintenance"),
            (format!(r#"{{"id": "a", "scope": {{}}, {span}}}"#), "covers nothing"),
            (format!(r#"{{"id": "a", "scope": {{"all": true, "tag": "x"}}, {span}}}"#), "by itself"),
            (r#"{"id": "a", "scope": {"all": true}}"#.to_owned(), "from is missing"),
            (
                r#"{"id": "a", "scope": {"all": true}, "schedule": "0 3 * * *"}"#.to_owned(),
                "duration_seconds is missing",
            ),
            (
                format!(r#"{{"id": "a", "scope": {{"all": true}}, "time_zone": "UTC", {span}}}"#),
                "time_zone is of no use",
            ),
            (
                r#"{"id": "a", "scope": {"all": true}, "from": "2026-01-05T09:00:00Z", "to": "2026-01-05T09:00:00Z"}"#
                    .to_owned(),
                "not after from",
            ),
            (
                r#"{"id": "a", "scope": {"all": true}, "schedule": "x", "duration_seconds": 0}"#
                    .to_owned(),
                "duration_seconds is 0",
            ),
        ] {
            let error = read(&json).validate().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        read(&format!(r#"{{"id": "a", "scope": {{"service": "db", "check": "tcp"}}, {span}}}"#))
            .validate()
            .unwrap();
    }

    #[test]
    fn everything_that_is_given_must_be_so() {
        let instance: Instance = serde_json::from_str(
            r#"{"service": "db", "id": "db-1", "address": "h", "port": 1, "tags": ["blue"]}"#,
        )
        .unwrap();
        for (json, covers) in [
            (r#"{"all": true}"#, true),
            (r#"{"service": "db"}"#, true),
            (r#"{"service": "web"}"#, false),
            (r#"{"service": "db", "instance": "db-2"}"#, false),
            (r#"{"instance": "db-1", "tag": "blue"}"#, true),
            (r#"{"tag": "green"}"#, false),
            (r#"{"check": "tcp"}"#, true),
            (r#"{"check": "http"}"#, false),
        ] {
            let scope: Scope = serde_json::from_str(json).unwrap();
            assert_eq!(scope.covers(&instance, "tcp"), covers, "{json}");
        }
    }
}
