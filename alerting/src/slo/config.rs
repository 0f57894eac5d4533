//! What services promise when they do not say so themselves.

use serde::{Deserialize, Serialize};
use watchkeep_catalog::SloTarget;

use crate::Invalid;

/// Longest latency objective.
const LATENCY_MS_MAX: u64 = 3_600_000;

/// The default promise. A service's own record (`slo: {availability, latency_ms}`) overrides it field by field.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SloConfig {
    /// Share of probes that must succeed, and share that must be in time; above 0 and below 1.
    pub availability: f64,
    /// A probe that takes longer is not in time.
    pub latency_ms: u64,
}

impl Default for SloConfig {
    fn default() -> Self {
        Self { availability: 0.9999, latency_ms: 100 }
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
        invalid
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
            let found = SloConfig { availability, latency_ms }.validate();
            let found: Vec<_> = found.iter().map(|i| i.path.as_str()).collect();
            assert_eq!(found, paths, "{availability} {latency_ms}");
        }
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
