//! What services promise when they do not say so themselves, how long it is kept, and what follows from it.

use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::SloTarget;

use super::{gate::BudgetPolicy, schedule::ReportSchedule};
use crate::Invalid;

/// Longest latency objective.
const LATENCY_MS_MAX: u64 = 3_600_000;

/// Shortest and longest time that counts are kept.
const RETENTION_DAYS: std::ops::RangeInclusive<u16> = 35..=400;

/// The default promise. A service's own record (`slo: {availability, latency_ms}`) overrides it field by field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SloConfig {
    /// Share of probes that must succeed, and share that must be in time; above 0 and below 1.
    pub availability: f64,
    /// A probe that takes longer is not in time.
    pub latency_ms: u64,
    /// How long a service's counts by the hour are kept.
    pub retention_days: u16,
    /// IANA name of the zone on whose calendar reports have days and months.
    pub time_zone: String,
    /// OpenSLO v1 documents: files, and folders of `.yml` and `.yaml` files; relative to the directory of this file.
    pub openslo_files: Vec<String>,
    /// What is done as budgets are spent; the first that names a service holds for it.
    pub policies: Vec<BudgetPolicy>,
    /// Reports that are sent by themselves.
    pub reports: Vec<ReportSchedule>,
}

impl Default for SloConfig {
    fn default() -> Self {
        Self {
            availability: 0.9999,
            latency_ms: 100,
            retention_days: 100,
            time_zone: "UTC".to_owned(),
            openslo_files: Vec::new(),
            policies: Vec::new(),
            reports: Vec::new(),
        }
    }
}

impl SloConfig {
    /// Everything that is wrong; empty when nothing is.
    #[must_use]
    pub fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        if !is_share(self.availability) {
            invalid.push(Invalid {
                path: "availability".to_owned(),
                message: format!(
                    "{} is not a share above 0 and below 1: write 0.9999 for 99.99 %",
                    self.availability
                ),
            });
        }
        if !is_latency(self.latency_ms) {
            invalid.push(Invalid {
                path: "latency_ms".to_owned(),
                message: format!("{} is out of range: give 1 to {LATENCY_MS_MAX}", self.latency_ms),
            });
        }
        if !RETENTION_DAYS.contains(&self.retention_days) {
            let (min, max) = (RETENTION_DAYS.start(), RETENTION_DAYS.end());
            invalid.push(Invalid {
                path: "retention_days".to_owned(),
                message: format!("{} is out of range: give {min} to {max}", self.retention_days),
            });
        }
        if Tz::from_str(&self.time_zone).is_err() {
            let message = format!(
                "{:?} is not a time zone: give an IANA name such as Europe/Berlin",
                self.time_zone
            );
            invalid.push(Invalid { path: "time_zone".to_owned(), message });
        }
        for (at, policy) in self.policies.iter().enumerate() {
            let twice = self.policies[..at].iter().any(|other| other.name == policy.name);
            let found = policy.validate(self.retention_days, twice);
            invalid.extend(found.into_iter().map(|(field, message)| Invalid {
                path: format!("policies[{at}].{field}"),
                message,
            }));
        }
        for (at, report) in self.reports.iter().enumerate() {
            let twice = self.reports[..at].iter().any(|other| other.name == report.name);
            let found = report.validate(self.retention_days, twice);
            invalid.extend(found.into_iter().map(|(field, message)| Invalid {
                path: format!("reports[{at}].{field}"),
                message,
            }));
        }
        invalid
    }

    /// The zone on whose calendar reports have days and months.
    #[must_use]
    pub fn zone(&self) -> Tz {
        Tz::from_str(&self.time_zone).unwrap_or(Tz::UTC)
    }

    /// The policy that holds for a service.
    #[must_use]
    pub fn policy(&self, service: &str) -> BudgetPolicy {
        let named =
            self.policies.iter().find(|policy| policy.services.iter().any(|s| s == service));
        let rest = || self.policies.iter().find(|policy| policy.services.is_empty());
        named.or_else(rest).cloned().unwrap_or_default()
    }
}

/// One service's promise: availability and latency share the objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Objective {
    /// Share of probes that must succeed, and that must be in time.
    pub availability: f64,
    /// Slowest probe that is in time.
    pub latency_ms: u64,
}

impl Objective {
    /// The default, overridden by what the service says. A value that cannot be is passed over.
    #[must_use]
    pub fn of(default: &SloConfig, own: Option<&SloTarget>) -> Self {
        Self {
            availability: own
                .and_then(|o| o.availability)
                .filter(|a| is_share(*a))
                .unwrap_or(default.availability),
            latency_ms: own
                .and_then(|o| o.latency_ms)
                .filter(|l| is_latency(*l))
                .unwrap_or(default.latency_ms),
        }
    }
}

fn is_share(value: f64) -> bool {
    value > 0.0 && value < 1.0
}

fn is_latency(ms: u64) -> bool {
    (1..=LATENCY_MS_MAX).contains(&ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation() {
        for (availability, latency_ms, paths) in [
            (0.9999, 100, vec![]),
            (1.0, 100, vec!["availability"]),
            (f64::NAN, 100, vec!["availability"]),
            (99.99, 0, vec!["availability", "latency_ms"]),
            (0.5, LATENCY_MS_MAX + 1, vec!["latency_ms"]),
        ] {
            let config = SloConfig { availability, latency_ms, ..SloConfig::default() };
            let found = config.validate();
            let found: Vec<_> = found.iter().map(|i| i.path.as_str()).collect();
            assert_eq!(found, paths, "{availability} {latency_ms}");
        }
    }

    #[test]
    fn policies_zones_and_retention() {
        let config = |json| serde_json::from_value::<SloConfig>(json).unwrap();
        for (json, path, part) in [
            (serde_json::json!({"retention_days": 7}), "retention_days", "give 35 to 400"),
            (serde_json::json!({"time_zone": "Mars"}), "time_zone", "Europe/Berlin"),
            (
                serde_json::json!({"policies": [{"name": "a", "window": "1y"}]}),
                "policies[0].window",
                "100 days",
            ),
            (
                serde_json::json!({"policies": [{"name": "a", "freeze_below": 0.5}]}),
                "policies[0].warn_below",
                "0.25 is below freeze_below",
            ),
            (
                serde_json::json!({"policies": [{"name": "a"}, {"name": "a"}]}),
                "policies[1].name",
                "stands here twice",
            ),
        ] {
            let found = config(json).validate();
            assert_eq!(found.iter().map(|i| i.path.as_str()).collect::<Vec<_>>(), [path]);
            assert!(found[0].message.contains(part), "{}", found[0].message);
        }
        let both = config(serde_json::json!({"policies": [
            {"name": "rest"}, {"name": "paying", "services": ["shop"], "freeze_below": 0.1}]}));
        assert_eq!(both.validate(), []);
        assert_eq!(both.policy("shop").name, "paying");
        assert_eq!(both.policy("web").name, "rest");
        assert_eq!(SloConfig::default().policy("web").name, "default");
    }

    #[test]
    fn a_service_overrides_field_by_field() {
        let default = SloConfig::default();
        for (availability, latency_ms, expected) in [
            (None, None, (0.9999, 100)),
            (Some(0.99), None, (0.99, 100)),
            (None, Some(250), (0.9999, 250)),
            (Some(7.0), Some(0), (0.9999, 100)),
        ] {
            let objective = Objective::of(&default, Some(&SloTarget { availability, latency_ms }));
            assert_eq!((objective.availability, objective.latency_ms), expected);
        }
    }
}
