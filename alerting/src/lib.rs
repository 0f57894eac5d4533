//! Alerting: verdicts, failovers, incidents, on-call, pages and the SLO report.
//!
//! A client of the registry like any other. Whatever has an effect outside is a transaction in the registry
//! first, so that the next leader can finish what this one began.
//!
//! ```text
//! registry ─watch─▶ mirror ─▶ decide ─▶ one transaction: verdict + failover + incident with pages
//!                     ▲                                      │
//!                     └── outcomes ◀── failover, notify ◀────┘ what is pending
//! ```

use std::sync::Arc;

use axum::Router;
use thiserror::Error;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::Client;

pub mod alertmanager;
mod alone;
mod api;
mod backoff;
mod clock;
pub mod config;
mod context;
mod decide;
mod dependency;
mod dispute;
mod escalation;
mod failover;
#[cfg(test)]
mod fixtures;
mod fleet;
mod incident;
mod leader;
mod link;
mod lost;
mod maintenance;
mod metrics;
mod mirror;
mod notify;
mod oncall;
pub mod paging;
mod panic;
mod post;
mod room;
pub mod rule;
mod rules;
mod signature;
pub mod slo;
mod smtp;
pub mod source;
mod store;
pub mod template;
mod text;
mod throttle;
mod verdict;

pub use alertmanager::{Alertmanager, AlertmanagerConfig, Loader};
pub use api::wrong_query;
pub use config::{AlertingConfig, Invalid};
pub use dependency::circle;
pub use failover::replay;
pub use notify::RUNBOOKS;
pub use oncall::{wall_clock, wall_instant};
pub use slo::{Slo, SloConfig};
pub use source::{QueryAnswer, QueryData, SeriesData, Source, SourceError};
pub use store::stop_of;

use context::Context;
use leader::Election;
use lost::Ear;

/// Why alerting cannot start.
#[derive(Debug, Error)]
pub enum AlertingError {
    /// The settings are wrong.
    #[error("alerting is not set up right: {}", .0.iter().map(|i| format!("{}: {}", i.path, i.message)).collect::<Vec<_>>().join("; "))]
    Config(Vec<Invalid>),
    /// A secret cannot be read.
    #[error("{0}")]
    Secret(String),
    /// The way to the mail server cannot be prepared.
    #[error("mail server {host}: {message}")]
    Smtp {
        /// The host.
        host: String,
        /// What is wrong.
        message: String,
    },
    /// The alertmanager.yml is wrong.
    #[error("{0}")]
    Alertmanager(String),
    /// HTTP requests cannot be prepared.
    #[error("HTTP client: {0}; is a rustls crypto provider installed?")]
    Http(#[from] reqwest::Error),
    /// Rule files are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Rules(Vec<rule::Problem>),
    /// A metric's name is taken.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The alerting room of one node. Cheap to clone.
#[derive(Clone)]
pub struct Alerting {
    context: Arc<Context>,
    slo: Slo,
    rules: Option<rule::Rules>,
    ttl_seconds: i64,
    term: watch::Sender<Option<i64>>,
    alertmanager: Option<Alertmanager>,
}

impl Alerting {
    /// Prepares the room; nothing happens before [`Self::run`].
    ///
    /// `id` is the node's name and `self_url` the base URL of its HTTP API: other nodes send samples there, and
    /// pages link to it. A rustls crypto provider must be installed.
    ///
    /// # Errors
    /// When the settings are wrong, a secret cannot be read, or a metric's name is taken on `registry`.
    pub fn new(
        config: &AlertingConfig,
        slo: SloConfig,
        id: &str,
        self_url: &str,
        client: Client,
        source: Arc<dyn Source>,
        registry: &prometheus::Registry,
    ) -> Result<Self, AlertingError> {
        let availability = slo.availability;
        let slo = Slo::new(slo, client.clone(), Arc::clone(&source), registry)?
            .with_maintenance(&config.maintenance);
        let (id, url) = (id.to_owned(), self_url.to_owned());
        let context = Context::new(config, id, url, client, source, availability, registry)?;
        Ok(Self {
            context: Arc::new(context),
            slo,
            rules: None,
            ttl_seconds: config.lease_ttl_seconds,
            term: watch::Sender::new(None),
            alertmanager: None,
        })
    }

    /// The same with Prometheus's rules, evaluated over `source` while this node leads.
    ///
    /// # Errors
    /// When a rule file is wrong, or a metric's name is taken on `registry`.
    pub fn with_rules(
        self,
        mut settings: rule::RuleSettings,
        expressions: rule::SharedExpressions,
        source: Arc<dyn Source>,
        registry: &prometheus::Registry,
    ) -> Result<Self, AlertingError> {
        let context = Arc::clone(&self.context);
        for (_, text) in &mut settings.origin.shipped {
            *text = config::at_home(text, &context.url);
        }
        let rules = rule::Rules::new(context, source, expressions, settings, registry)?;
        Ok(Self { rules: Some(rules), ..self })
    }

    /// The same with OpenSLO documents.
    #[must_use]
    pub fn with_openslo(self, documents: Vec<slo::openslo::Slo>) -> Self {
        Self { slo: self.slo.with_openslo(documents), ..self }
    }

    /// The rules, where there are any.
    #[must_use]
    pub fn rules(&self) -> Option<rule::Rules> {
        self.rules.clone()
    }

    /// Makes the node an Alertmanager, too. `loader` reads its configuration, now and at each reload.
    ///
    /// # Errors
    /// When the configuration is wrong, or a metric's name is taken on `registry`.
    pub fn with_alertmanager(
        mut self,
        loader: Loader,
        registry: &prometheus::Registry,
    ) -> Result<Self, AlertingError> {
        let context = Arc::clone(&self.context);
        self.alertmanager = Some(Alertmanager::new(loader, context, registry)?);
        Ok(self)
    }

    /// What makes this node an Alertmanager, where it is one.
    #[must_use]
    pub fn alertmanager(&self) -> Option<Alertmanager> {
        self.alertmanager.clone()
    }

    /// The create revision of the leader key while this node leads, none while it does not.
    #[must_use]
    pub fn term(&self) -> watch::Receiver<Option<i64>> {
        self.term.subscribe()
    }

    /// Takes part in the election and, as leader, decides and acts, until `token` is cancelled. Dropped before
    /// that, everything it began stops at once, and its lease runs out by itself.
    pub async fn run(&self, token: CancellationToken) {
        let election = Election {
            client: self.context.client.clone(),
            id: self.context.id.clone(),
            url: self.context.node_url.clone(),
            ttl_seconds: self.ttl_seconds,
            term: self.term.clone(),
            metrics: self.context.metrics.clone(),
        };
        // Each a task of its own: as one, whatever one of them waits for would have all of them looked at.
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let token = token.clone();
            async move { election.run(&token).await }
        });
        tasks.spawn({
            let (context, term, token) = self.parts(&token);
            async move { room::run(context, term, &token).await }
        });
        tasks.spawn(self.slo.clone().run(token.clone(), self.term.subscribe()));
        tasks.spawn({
            let (context, term, token) = self.parts(&token);
            self.slo.clone().dispatch(context, token, term)
        });
        if let Some(rules) = self.rules.clone() {
            let (_, term, token) = self.parts(&token);
            let alertmanager = self.alertmanager.clone();
            tasks.spawn(async move { rules.run(term, alertmanager.as_ref(), &token).await });
        }
        let (context, term, token) = self.parts(&token);
        let ear = Ear::new(self.ttl_seconds);
        match self.alertmanager.clone() {
            Some(alertmanager) => {
                tasks.spawn(async move { alertmanager.run(token, term, ear).await });
            }
            None => {
                tasks.spawn(alone::watch(context, ear, token));
            }
        }
        tasks.join_all().await;
    }

    fn parts(
        &self,
        token: &CancellationToken,
    ) -> (Arc<Context>, watch::Receiver<Option<i64>>, CancellationToken) {
        (Arc::clone(&self.context), self.term.subscribe(), token.clone())
    }

    /// `/v1/oncall`, `/v1/incidents[/{id}]`, `/v1/failovers[/{id}]`, `/v1/maintenance[/{id}]`, `/v1/slo[/{service}[/report]]`, and
    /// Alertmanager's API where there is an `alertmanager.yml`.
    pub fn router(&self) -> Router {
        let router = api::router(Arc::clone(&self.context)).merge(self.slo.router());
        match &self.alertmanager {
            Some(alertmanager) => router.merge(alertmanager.router()),
            None => router,
        }
    }
}
