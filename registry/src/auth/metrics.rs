//! What users, roles and tokens show of themselves.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::Denied;
use crate::mvcc::Refusal;

/// Metrics of users, roles and tokens.
pub(crate) struct AuthMetrics {
    pub(super) revision: IntGauge,
    pub(super) enabled: IntGauge,
    pub(super) tokens: IntGauge,
    logins: IntCounterVec,
    refusals: IntCounterVec,
}

impl AuthMetrics {
    /// Declares them on `registry`.
    ///
    /// # Errors
    /// When one of the names is taken.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let metric = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let metrics = Self {
            revision: gauge("etcd_debugging_auth_revision", "Revision of users and roles.")?,
            enabled: gauge(
                "watchkeep_registry_auth_enabled",
                "Whether users are checked: 1 or 0.",
            )?,
            tokens: gauge(
                "watchkeep_registry_auth_tokens",
                "Simple tokens that this member knows.",
            )?,
            logins: counters(
                "watchkeep_registry_auth_logins_total",
                "Logins, by result: ok, failed.",
                "result",
            )?,
            refusals: counters(
                "watchkeep_registry_auth_refusals_total",
                "Requests refused for who called: invalid_token, anonymous, old_revision, permission.",
                "reason",
            )?,
        };
        // A series that begins with its first event shows no increase.
        for result in ["ok", "failed"] {
            metrics.logins.with_label_values(&[result]);
        }
        for reason in ["invalid_token", "anonymous", "old_revision", "permission"] {
            metrics.refusals.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// Counts a login.
    pub(crate) fn login(&self, ok: bool) {
        self.logins.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, denied: Denied) {
        let reason = match denied {
            Denied::InvalidToken => "invalid_token",
            Denied::Refused(Refusal::UserEmpty) => "anonymous",
            Denied::Refused(Refusal::AuthOldRevision) => "old_revision",
            Denied::Refused(_) => "permission",
            Denied::Replaced => return,
        };
        self.refusals.with_label_values(&[reason]).inc();
    }
}
