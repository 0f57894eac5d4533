//! Whether the promise was kept: availability and latency of each service, error budget, burn rates and downtimes.
//!
//! ```text
//! probe_success, probe_duration_seconds ─▶ probes ─▶ track (sweep + buckets) ─┐
//! day records in the registry ────────────────────────────────────────────────┴▶ day ─▶ report, detail ─▶ JSON, pages, gauges
//!                                                          leader: day ─▶ day record
//! ```
//!
//! Counted are the probes of the instances that serve (all but a `standby`; one that is not registered any more
//! counts as it last did). Availability is the share of probes that succeed, latency the share that succeed in
//! time; both have the same objective. Every alerting node can report; the leader writes roll-ups and gauges.

use std::sync::Arc;

use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::{Client, Maintenance};

use crate::{
    context::Context,
    maintenance::{Window as MaintenanceWindow, Windows},
    source::Source,
};

mod bucket;
mod budget;
mod config;
mod day;
mod detail;
mod digest;
mod dispatch;
mod engine;
mod gate;
#[cfg(test)]
mod history_tests;
mod http;
mod interval;
mod latency;
mod metrics;
pub mod openslo;
mod page;
mod page_strip;
mod probes;
mod range;
mod report;
mod roles;
mod run;
mod schedule;
mod sweep;
mod time;
mod track;
mod world;

pub use bucket::Bucket;
pub use budget::{Budget, Standing};
pub use config::{Objective, SloConfig};
pub use day::DayRecord;
pub use detail::{
    Attainment, Burn, BurnRate, Coverage, Detail, Excluded, Percentiles, Period, Sparse,
};
pub use gate::{BudgetPolicy, Gate, Verdict};
pub use interval::{Cause, Downtime};
pub use latency::Latency;
pub use report::{DowntimeSum, Interval, Report, Window, WindowReport};
pub use roles::RoleChange;
pub use schedule::ReportSchedule;
pub use sweep::State;

/// The SLO part of an alerting node. Cheap to clone.
#[derive(Clone)]
pub struct Slo {
    engine: Arc<engine::Engine>,
}

impl Slo {
    /// `config` is the default promise, validated by [`SloConfig::validate`]; `source` has the samples.
    ///
    /// # Errors
    /// When a metric's name is taken on `registry`.
    pub fn new(
        config: SloConfig,
        client: Client,
        source: Arc<dyn Source>,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let metrics = metrics::Metrics::new(registry)?;
        Ok(Self { engine: Arc::new(engine::Engine::new(config, client, source, metrics)) })
    }

    /// The same with the maintenance windows of the configuration, which is valid; the registry's own are followed anyway.
    #[must_use]
    pub fn with_maintenance(self, windows: &[Maintenance]) -> Self {
        let windows =
            windows.iter().filter_map(|window| MaintenanceWindow::new(window.clone()).ok());
        self.engine.world().configure(Windows::new(windows));
        self
    }

    /// The same with OpenSLO documents: their counts are kept and reported as those of services, under
    /// [`openslo::Slo::key`].
    #[must_use]
    pub fn with_openslo(self, documents: Vec<openslo::Slo>) -> Self {
        self.engine.document(documents);
        self
    }

    /// `GET /v1/slo`, `GET /v1/slo/{service}` with `?window=1h|24h|30d` and `?format=json|html`, and of each service
    /// `…/report`, `…/gate` and `…/badge.svg`.
    pub fn router(&self) -> axum::Router {
        http::router(Arc::clone(&self.engine))
    }

    /// Follows the registry and keeps the report up to date until `token` is cancelled. `leader` holds the create
    /// revision of the alerting leader's key while this node leads: it fences the roll-ups.
    pub async fn run(self, token: CancellationToken, leader: watch::Receiver<Option<i64>>) {
        run::run(self.engine, token, leader).await;
    }

    /// Sends scheduled reports while this node leads, until `token` is cancelled.
    pub(crate) async fn dispatch(
        self,
        context: Arc<Context>,
        token: CancellationToken,
        leader: watch::Receiver<Option<i64>>,
    ) {
        tokio::select! {
            () = token.cancelled() => {}
            () = dispatch::run(&self.engine, &context, leader) => {}
        }
    }
}
