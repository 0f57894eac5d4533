//! Prometheus's HTTP API over this node's series, so that Grafana's Prometheus data source, `promtool query`, and
//! Prometheus itself by remote read need nothing of ours.
//!
//! ```text
//! request ─▶ params ─▶ turn ─▶ engine or index, on a thread ─▶ encode ─▶ envelope ─▶ gzip
//! ```

use std::sync::Arc;

use axum::{Router, middleware};
use watchkeep_collector::ScrapeState;

use crate::querier::Querier;

mod answer;
mod chunk;
mod encode;
mod federate;
mod gzip;
mod params;
mod query;
mod remote_read;
mod rules;
mod series;
mod status;
mod targets;
mod time;

use answer::Refusal;
pub(super) use rules::router as no_rules;
pub(crate) use status::Facts;

/// What the calls ask. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The series; none where no series are kept.
    pub(crate) querier: Option<Querier>,
    /// What is scraped here; none where no collector runs.
    pub(crate) scrapes: Option<ScrapeState>,
    /// This node.
    pub(crate) facts: Arc<Facts>,
    /// Its own metrics, for their types and help.
    pub(crate) metrics: prometheus::Registry,
}

impl Asked {
    fn querier(&self) -> Result<&Querier, Refusal> {
        self.querier.as_ref().ok_or_else(|| {
            Refusal::unavailable(
                "no series are kept here: ask a node with role alerting (or collector, for what it measured)",
            )
        })
    }
}

pub(super) fn router(asked: Asked) -> Router {
    Router::new()
        .merge(query::router(asked.clone()))
        .merge(series::router(asked.clone()))
        .merge(status::router(asked.clone()))
        .merge(targets::router(asked.clone()))
        .merge(federate::router(asked.clone()))
        .layer(middleware::from_fn(gzip::gzip))
        // Packed in its own way.
        .merge(remote_read::router(asked))
}
