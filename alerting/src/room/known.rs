//! What this node knows of alerts, for when the registry cannot be asked any more.

use std::sync::Arc;

use watchkeep_catalog::{Alert, AlertSource, IncidentStatus};

use super::Room;
use crate::{alone::Known, clock};

impl Room {
    /// The alerts of rules that fire, and which of them people know of.
    pub(super) fn known(&self) -> Known {
        let now = clock::now();
        let fires = |alert: &&Alert| alert.source == AlertSource::Rule && !alert.is_resolved(now);
        let alerts = self.mirror.alerts.values().filter(fires);
        let told = self.mirror.incidents.values().filter_map(|incident| {
            let fingerprint = incident.record.dedup_key.as_deref()?.strip_prefix("alert/")?;
            // Somebody may have resolved it while the alert fires.
            let is_known = incident.record.status != IncidentStatus::Resolved
                || self.mirror.alerts.get(fingerprint).as_ref().is_some_and(fires);
            is_known.then(|| fingerprint.to_owned())
        });
        Known { alerts: alerts.cloned().map(Arc::new).collect(), told: told.collect() }
    }
}
