//! The TTL probe: what the service last said of itself, as long as that stands.

use std::sync::Arc;

use watchkeep_catalog::{ReportStatus, TtlCheck};

use super::Stopwatch;
use crate::{reports::Reports, target::TargetId};

#[derive(Debug)]
pub(super) struct TtlProbe {
    key: String,
    ttl_ms: u64,
    reports: Arc<Reports>,
}

impl TtlProbe {
    /// # Errors
    /// Where nobody's reports are heard of.
    pub(super) fn new(
        id: Option<&TargetId>,
        check: &TtlCheck,
        reports: Option<&Arc<Reports>>,
    ) -> Result<Self, String> {
        let (Some(id), Some(reports)) = (id, reports) else {
            return Err("ttl: only a registered instance can report itself".to_owned());
        };
        let key = watchkeep_catalog::keys::report(&id.service, &id.instance, &id.check);
        Ok(Self { key, ttl_ms: check.ttl_ms, reports: reports.clone() })
    }

    pub(super) async fn run(&self, watch: &mut Stopwatch) -> Result<String, String> {
        // What cannot be known is not judged: without a first look at the reports, wait for it.
        self.reports.known().await;
        let Some(report) = self.reports.get(&self.key) else {
            return Err(format!("it has not reported for {} ms", self.ttl_ms));
        };
        watch.expose("output", report.output.clone());
        let words = match report.output.as_str() {
            "" => report.status.as_str().to_owned(),
            output => format!("{}: {output}", report.status.as_str()),
        };
        match report.status {
            ReportStatus::Passing | ReportStatus::Warning => Ok(words),
            ReportStatus::Critical => Err(words),
        }
    }
}
