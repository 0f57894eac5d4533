//! Reading the catalog: from the registry, or from what this node keeps in memory, at once or when it has changed.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    http::StatusCode,
    response::{AppendHeaders, IntoResponse, Response},
};
use prometheus::IntGauge;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::{Catalog, Client, View, client::Renewer};

use super::{asked::Asked, problem::Problem};
use crate::metrics::ReaderMetrics;

/// Requests that wait and streams that are open at once.
const WAITING_MAX: usize = 10_000;
/// How long a request waits for the first sight of the registry.
const FIRST_SIGHT: Duration = Duration::from_secs(5);

/// What the routes that read share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// The registry.
    pub(super) client: Client,
    /// What is known of it.
    pub(super) view: View,
    /// Who reads.
    pub(super) metrics: ReaderMetrics,
    /// Ends what waits when the node stops.
    pub(super) stop: CancellationToken,
    /// Renewals of this node go over one stream.
    pub(super) renewer: Renewer,
    places: Arc<Semaphore>,
}

/// One that waits, as long as it does.
pub(super) struct Waiting(IntGauge, #[allow(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Reader {
    pub(crate) fn new(
        client: Client,
        view: View,
        metrics: ReaderMetrics,
        stop: CancellationToken,
    ) -> Self {
        let renewer = client.renewer();
        Self { client, view, metrics, stop, renewer, places: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// A place among those that wait; `gauge` counts them.
    pub(super) fn place(&self, gauge: &IntGauge) -> Result<Waiting, Problem> {
        let permit = self.places.clone().try_acquire_owned().map_err(|_| {
            let message = format!(
                "{WAITING_MAX} requests wait for changes already: ask another node, or without index"
            );
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })?;
        gauge.inc();
        Ok(Waiting(gauge.clone(), permit))
    }

    /// The catalog from memory as soon as there is one.
    pub(super) async fn now(&self) -> Result<Catalog, Problem> {
        let seen = |catalog: &Catalog| catalog.revision() > 0;
        self.view.wait_for(FIRST_SIGHT, seen).await.ok_or_else(|| {
            let message = "the registry has not answered since this node started: ask another node";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })
    }

    /// The catalog from memory: with an index, once `changed` is beyond it, or the wait is over.
    pub(super) async fn catalog(
        &self,
        asked: &Asked,
        changed: impl Fn(&Catalog) -> i64,
    ) -> Result<Catalog, Problem> {
        let now = self.now().await?;
        let Some(index) = asked.index.filter(|index| *index > 0 && changed(&now) <= *index) else {
            return Ok(now);
        };
        let _place = self.place(&self.metrics.waiting)?;
        tokio::select! {
            newer = self.view.wait_for(asked.wait, |catalog| changed(catalog) > index) => {
                Ok(newer.unwrap_or_else(|| self.view.now()))
            }
            () = self.stop.cancelled() => Ok(self.view.now()),
        }
    }
}

/// An answer that says how new it is: `index` to wait with, `revision` as of which it holds.
pub(super) fn indexed(index: i64, revision: i64, body: impl Serialize) -> Response {
    // Consul's clients take 0 for "no index".
    let index = index.max(1).to_string();
    let headers = AppendHeaders([
        ("x-watchkeep-index", index.clone()),
        ("x-consul-index", index),
        ("x-watchkeep-revision", revision.to_string()),
    ]);
    (headers, Json(body)).into_response()
}
