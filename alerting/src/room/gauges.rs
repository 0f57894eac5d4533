//! How much there is of what, counted from the mirror.

use watchkeep_catalog::{FailoverState, IncidentStatus, PageState, Status};

use crate::{metrics::Metrics, mirror::Mirror};

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
    for (state, name) in [
        (FailoverState::Pending, "pending"),
        (FailoverState::Delivered, "delivered"),
        (FailoverState::Failed, "failed"),
    ] {
        let of = mirror.failovers.values().filter(|f| f.record.state == state).count();
        metrics.failovers.with_label_values(&[name]).set(count(of));
    }
    let waiting = mirror.pages_pending.iter().filter_map(|id| mirror.incidents.get(id));
    let pages = waiting.flat_map(|incident| &incident.record.pages);
    metrics.pending_pages.set(count(pages.filter(|p| p.state == PageState::Pending).count()));
}
