//! The HTTP listener of a node: its own resources, the rooms' routers, and what goes around all of them.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::Response,
};
use watchkeep_catalog::Client;
use watchkeep_collector::ForeignState;

use crate::metrics::HttpMetrics;

mod asked;
mod assets;
mod cluster;
mod console;
mod events;
mod fleet;
mod foreign;
pub(crate) mod health;
mod history;
mod html;
mod instances;
mod observe;
mod problem;
mod process;
mod prometheus;
mod reader;
mod reports;
mod rules;
mod runbooks;
mod sd;
mod services;

pub(crate) use self::prometheus::{Asked, Facts};
pub(crate) use cluster::{ClusterMember, ClusterState, ClusterView};
use problem::Problem;
pub(crate) use process::gather;
pub(crate) use reader::Reader;
pub(crate) use rules::router as rules_router;

/// Largest body that is read: etcd's limit of a request.
pub(crate) const BODY_BYTES_MAX: usize = 1_572_864;

/// What the pages need.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The registry.
    pub(crate) client: Client,
    /// What reads the catalog, from the registry or from memory.
    pub(crate) reader: Reader,
    /// The registry as this node sees it; none where role registry does not run.
    pub(crate) cluster: Option<ClusterView>,
    /// Alerting's own API; none where role alerting does not run.
    pub(crate) alerting: Option<Router>,
    /// What is mirrored of foreign registrations; none where no collector runs.
    pub(crate) foreign: Option<ForeignState>,
    /// Remote write; none where no series are kept.
    pub(crate) write: Option<Router>,
    /// What Prometheus's API asks.
    pub(crate) asked: Asked,
    /// `/probe`; none where no collector runs, or it has no modules.
    pub(crate) probe: Option<Router>,
    /// What `/metrics` shows.
    pub(crate) metrics: ::prometheus::Registry,
    /// The metrics of a series store beside which no collector runs.
    pub(crate) series_metrics: Option<::prometheus::Registry>,
    /// This node's name.
    pub(crate) name: String,
}

/// Everything on the HTTP listener.
pub(crate) fn router(site: Site, metrics: Arc<HttpMetrics>) -> Router {
    let past = middleware::from_fn_with_state(site.client.clone(), history::travel);
    let mut router = Router::new()
        .merge(services::router(site.reader.clone()))
        .merge(instances::router(site.reader.clone()))
        .merge(reports::router(site.client.clone()))
        .merge(sd::router(site.reader.clone()))
        .merge(fleet::router(site.reader.clone()))
        .merge(foreign::router(site.foreign.clone()))
        .merge(cluster::router(site.cluster.clone()))
        .merge(process::router(
            site.metrics.clone(),
            site.series_metrics.clone(),
            site.client.clone(),
        ))
        .merge(assets::router())
        .merge(runbooks::router())
        .merge(self::prometheus::router(site.asked.clone()));
    if let Some(write) = site.write.clone() {
        router = router.merge(write);
    }
    if let Some(probe) = site.probe.clone() {
        router = router.merge(probe);
    }
    router = match site.alerting.clone() {
        Some(alerting) => router.merge(alerting),
        None => router.merge(self::prometheus::no_rules()),
    };
    router
        .merge(console::router(site))
        .fallback(nothing_here)
        .layer(past)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(same_site))
        .layer(middleware::from_fn_with_state(metrics, observe::observe))
}

async fn nothing_here(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::not_found(format!("{path}: there is nothing here; / lists what there is"))
}

/// Keeps pages of other sites from changing anything through a visitor's browser. Browsers say where a
/// request comes from in `Sec-Fetch-Site`; other clients do not send it.
async fn same_site(request: Request, next: Next) -> Result<Response, Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let from = request.headers().get("sec-fetch-site").and_then(|v| v.to_str().ok());
    if reads || matches!(from, None | Some("same-origin" | "none")) {
        return Ok(next.run(request).await);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "a page of another site may not change anything here"))
}
