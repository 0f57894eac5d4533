//! How much there is of what, counted from the mirror.

use std::collections::BTreeMap;

use prometheus::IntGaugeVec;
use watchkeep_catalog::{FailoverState, IncidentStatus, PageState, SilenceReason, Status};

use crate::{dispute::Disputes, metrics::Metrics, mirror::Mirror};

/// Sets every gauge that counts records.
pub(super) fn set(metrics: &Metrics, mirror: &Mirror) {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    for status in [Status::Passing, Status::Critical] {
        let of = mirror.verdicts.values().filter(|v| v.record.status == status).count();
        metrics.verdicts.with_label_values(&[status.as_str()]).set(count(of));
    }
    for (status, name) in [
        (IncidentStatus::Triggered, "triggered"),
        (IncidentStatus::Acknowledged, "acknowledged"),
        (IncidentStatus::Resolved, "resolved"),
    ] {
        let of = mirror.incidents.values().filter(|i| i.record.status == status).count();
        metrics.incidents.with_label_values(&[name]).set(count(of));
    }
    for state in FailoverState::ALL {
        let real = mirror.failovers.values().filter(|f| !f.record.rehearsal);
        let of = real.filter(|f| f.record.state == state).count();
        metrics.failovers.with_label_values(&[state.as_str()]).set(count(of));
    }
    metrics.failover_stopped.set(i64::from(mirror.failover_stop.is_some()));
    for reason in [SilenceReason::Maintenance, SilenceReason::Dependency, SilenceReason::Waiting] {
        let is = |v: &&crate::mirror::Versioned<watchkeep_catalog::Verdict>| {
            v.record.silenced.as_ref().is_some_and(|silence| silence.reason == reason)
        };
        let of = mirror.verdicts.values().filter(is).count();
        metrics.silenced.with_label_values(&[reason.as_str()]).set(count(of));
    }
    named(&metrics.panics, mirror.panics.keys().map(|service| (service.as_str(), 1)).collect());
    let waiting = mirror.pages_pending.iter().filter_map(|id| mirror.incidents.get(id));
    let pages = waiting.flat_map(|incident| &incident.record.pages);
    metrics.pending_pages.set(count(pages.filter(|p| p.state == PageState::Pending).count()));
}

/// Sets the gauges of who contradicts whom.
pub(super) fn disputes(metrics: &Metrics, disputes: &Disputes) {
    named(&metrics.disagreement, disputes.services());
    named(&metrics.outvoted, disputes.collectors());
}

/// These series and no others.
fn named(gauge: &IntGaugeVec, values: BTreeMap<&str, i64>) {
    gauge.reset();
    for (name, value) in values {
        gauge.with_label_values(&[name]).set(value);
    }
}
