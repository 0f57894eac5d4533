//! Watchkeep as an Alertmanager: its file, its routing, its API, with what was told kept in the registry.
//!
//! ```text
//! POST /api/v2/alerts ─▶ registry ─watch─▶ board ─▶ route ─▶ groups ─▶ inhibited? silenced? told already?
//!                                                                       │ one transaction: notification pending
//!                                                                       ▼
//!                                                               receiver ─▶ notification sent
//! ```
//!
//! What begins a group that is told of at once, and came in where the leader is, is written in one transaction with the decision
//! on it.

use std::sync::Arc;

use axum::Router;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::Alert;

mod alone;
mod api;
mod board;
mod conduct;
pub mod config;
mod dedup;
#[cfg(test)]
mod fixtures;
mod follow;
mod foresee;
mod group;
mod incident;
mod inhibit;
mod intake;
mod interval;
mod look;
mod matcher;
mod merge;
mod metrics;
mod notify;
mod payload;
mod plan;
mod rehearsal;
mod route;
mod shared;
mod silence;
mod tell;
mod tidy;
mod words;

pub use config::AlertmanagerConfig;
pub(crate) use matcher::{Matcher, parse as parse_matcher};
pub(crate) use rehearsal::Rehearsal;

use crate::{AlertingError, context::Context, leader::Term, lost::Ear};
use intake::Deliverance;
pub(crate) use intake::size;
use metrics::Metrics;
use shared::{INTAKE_MAX, Shared};

/// Reads the configuration again: the file, judged, or everything that is wrong with it.
pub type Loader = Arc<dyn Fn() -> Result<AlertmanagerConfig, String> + Send + Sync>;

/// What makes a node an Alertmanager.
#[derive(Clone)]
pub struct Alertmanager {
    shared: Arc<Shared>,
    /// Taken by the one who runs it.
    requests: Arc<Mutex<Option<mpsc::Receiver<Deliverance>>>>,
}

impl Alertmanager {
    /// Prepares it; nothing happens before [`Self::run`]. `loader` is asked at once, and again at each reload.
    ///
    /// # Errors
    /// When the configuration is wrong or a metric's name is taken.
    pub(crate) fn new(
        loader: Loader,
        context: Arc<Context>,
        registry: &prometheus::Registry,
    ) -> Result<Self, AlertingError> {
        let config = loader().map_err(AlertingError::Alertmanager)?;
        let (intake, requests) = mpsc::channel(INTAKE_MAX);
        let metrics = Metrics::new(registry)?;
        metrics.config_reloaded_at.set(crate::clock::now().timestamp());
        let shared = Shared::new(context, (config, loader), metrics, intake);
        Ok(Self {
            shared: Arc::new(shared.map_err(AlertingError::Alertmanager)?),
            requests: Arc::new(Mutex::new(Some(requests))),
        })
    }

    /// Takes alerts in, and as leader tells people, until `token` is cancelled.
    pub(crate) async fn run(
        &self,
        token: CancellationToken,
        term: watch::Receiver<Term>,
        ear: Ear,
    ) {
        let Some(requests) = self.requests.lock().await.take() else { return };
        let shared = || Arc::clone(&self.shared);
        // The intake waits for each to be answered.
        let (dispatcher, handovers) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow::follow(shared(), token.clone()));
        tasks.spawn(alone::heed(shared(), ear, token.clone()));
        tasks.spawn(intake::run(shared(), requests, dispatcher, token.clone()));
        tasks.spawn(conduct::run(shared(), term, handovers, token));
        tasks.join_all().await;
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

    /// Whether the registry is lost.
    pub(crate) fn lost(&self) -> watch::Receiver<bool> {
        self.shared.lost.subscribe()
    }

    /// The alerts of rules that fire, as they are known.
    pub(crate) fn told_by_rules(&self) -> Vec<Arc<Alert>> {
        alone::told_by_rules(&self.shared.board(), crate::clock::now())
    }

    /// Tells what rules found without the registry.
    pub(crate) fn tell_alone(&self, alerts: Vec<Alert>) {
        alone::tell(&self.shared, alerts, crate::clock::now());
    }

    /// `/api/v2/*`.
    pub(crate) fn router(&self) -> Router {
        api::router(Arc::clone(&self.shared))
    }
}
