//! What keeps an eye on the process itself: `/metrics`, `/healthz`, `/readyz`.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing,
};
use prometheus::{Encoder, Registry, TextEncoder, proto::MetricFamily};
use watchkeep_catalog::{Client, keys};

use super::problem::Problem;
use crate::advice;

/// Longest wait for the registry's answer in `/readyz`.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// What of the series store's metrics is shown where no collector runs.
const SERIES: &str = "watchkeep_series_";

pub(super) fn router(metrics: Registry, series: Option<Registry>, client: Client) -> Router {
    Router::new()
        .route("/healthz", routing::get(async || "ok\n"))
        .route("/metrics", routing::get(exposition).with_state((metrics, series)))
        .route("/-/healthy", routing::get(async || "Watchkeep is healthy.\n"))
        .route("/-/ready", routing::get(ready).with_state(client.clone()))
        .route("/readyz", routing::get(ready).with_state(client))
}

/// Every family of this process: those of `metrics`, and the series store's own of `series`.
pub(crate) fn gather(metrics: &Registry, series: Option<&Registry>) -> Vec<MetricFamily> {
    let mut families = metrics.gather();
    let series = series.map(Registry::gather).unwrap_or_default();
    families.extend(series.into_iter().filter(|family| family.name().starts_with(SERIES)));
    families
}

async fn exposition(
    State((metrics, series)): State<(Registry, Option<Registry>)>,
) -> Result<impl IntoResponse, Problem> {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&gather(&metrics, series.as_ref()), &mut text)
        .map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text))
}

/// Ready when a linearizable read of the registry succeeds: it has a quorum and is within reach.
async fn ready(State(client): State<Client>) -> Result<&'static str, Problem> {
    let unready = |message| Problem::new(StatusCode::SERVICE_UNAVAILABLE, message);
    match tokio::time::timeout(READY_TIMEOUT, client.get(keys::ALERTING_LEADER)).await {
        Ok(Ok(_)) => Ok("ok\n"),
        Ok(Err(error)) => {
            let said = format!("the registry does not answer: {error}");
            let remedy = advice::on(&said, advice::Whom::Operator);
            Err(unready(remedy.map_or_else(|| said.clone(), |remedy| format!("{said}; {remedy}"))))
        }
        Err(_) => Err(unready(format!("the registry has not answered for {READY_TIMEOUT:?}"))),
    }
}
