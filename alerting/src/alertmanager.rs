//! Watchkeep as an Alertmanager: its file, its routing, its API, with what was told kept in the registry.
//!
//! ```text
//! POST /api/v2/alerts ─▶ registry ─watch─▶ board ─▶ route ─▶ groups ─▶ inhibited? silenced? told already?
//!                                                                       │ one transaction: notification pending
//!                                                                       ▼
//!                                                               receiver ─▶ notification sent
//! ```

use std::{sync::Arc, time::Duration};

use axum::Router;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

mod api;
mod board;
mod conduct;
pub mod config;
mod dedup;
#[cfg(test)]
mod fixtures;
mod follow;
mod group;
mod incident;
mod inhibit;
mod intake;
mod interval;
mod matcher;
mod merge;
mod metrics;
mod notify;
mod payload;
mod plan;
mod route;
mod shared;
mod silence;
mod tell;
mod tidy;
mod words;

pub use config::AlertmanagerConfig;
pub(crate) use matcher::{Matcher, parse as parse_matcher};

use crate::{AlertingError, context::Context, leader::Term};
use intake::Deliverance;
pub(crate) use intake::size;
use metrics::Metrics;
use shared::{INTAKE_MAX, Shared};

/// A node whose lease has run out, and that hears nothing for so long besides, takes the registry for lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the configuration again: the file, judged, or everything that is wrong with it.
pub type Loader = Arc<dyn Fn() -> Result<AlertmanagerConfig, String> + Send + Sync>;

/// What makes a node an Alertmanager.
#[derive(Clone)]
pub struct Alertmanager {
    shared: Arc<Shared>,
    /// Taken by the one who runs it.
    requests: Arc<Mutex<Option<mpsc::Receiver<Deliverance>>>>,
    lost_after: Duration,
}

impl Alertmanager {
    /// Prepares it; nothing happens before [`Self::run`]. `loader` is asked at once, and again at each reload.
    ///
    /// # Errors
    /// When the configuration is wrong or a metric's name is taken.
    pub(crate) fn new(
        loader: Loader,
        context: Arc<Context>,
        lease_ttl_seconds: i64,
        registry: &prometheus::Registry,
    ) -> Result<Self, AlertingError> {
        let config = loader().map_err(AlertingError::Alertmanager)?;
        let (intake, requests) = mpsc::channel(INTAKE_MAX);
        let metrics = Metrics::new(registry)?;
        metrics.config_reloaded_at.set(crate::clock::now().timestamp());
        let shared = Shared::new(context, (config, loader), metrics, intake);
        let ttl = u64::try_from(lease_ttl_seconds).unwrap_or_default();
        Ok(Self {
            shared: Arc::new(shared.map_err(AlertingError::Alertmanager)?),
            requests: Arc::new(Mutex::new(Some(requests))),
            lost_after: Duration::from_secs(ttl) + PATIENCE,
        })
    }

    /// Takes alerts in, and as leader tells people, until `token` is cancelled.
    pub(crate) async fn run(&self, token: CancellationToken, term: watch::Receiver<Term>) {
        let Some(requests) = self.requests.lock().await.take() else { return };
        let shared = || Arc::clone(&self.shared);
        tokio::join!(
            follow::follow(shared(), token.clone()),
            follow::heed(shared(), self.lost_after, token.clone()),
            intake::run(shared(), requests, token.clone()),
            conduct::run(shared(), term, token),
        );
    }

    /// Reads the configuration again; a wrong one changes nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn reload(&self) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        // It reads files.
        let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
        reloaded.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// `/api/v2/*`.
    pub(crate) fn router(&self) -> Router {
        api::router(Arc::clone(&self.shared))
    }
}
