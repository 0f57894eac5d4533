//! The collector: wires targets, checks, opinions and samples together.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::Utc;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use watchkeep_catalog::{Client, Collector as Record, NameError, check_name, client::Change, keys};
use watchkeep_series::SeriesStore;

use crate::{
    CollectorConfig,
    check::{self, Shared},
    keeper, membership,
    metrics::Metrics,
    probe::Context,
    publish::Publisher,
    remote_write::{self, Receivers},
    samples::Sink,
    scrape::{Job, Scraping},
    target::{Target, TargetId},
    targets::{Effect, Targets},
};

/// Longest wait for a receiver of remote write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a collector cannot be made.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// Its id cannot be a key segment.
    #[error(transparent)]
    Id(#[from] NameError),
    /// A metric is registered already: one collector per registry.
    #[error("collector's metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A setting that [`CollectorConfig::validate`] finds wrong.
    #[error("collector.{path} {message}")]
    Setting {
        /// The field.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// TLS cannot be set up.
    #[error("collector's TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("collector's HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// A collector that is ready to run.
pub struct Collector {
    config: CollectorConfig,
    id: String,
    zone: String,
    client: Client,
    store: Arc<SeriesStore>,
    metrics: Metrics,
    context: Arc<Context>,
    receivers: Arc<Receivers>,
    jobs: Vec<Arc<Job>>,
}

impl Collector {
    /// A collector named `id` (unique among collectors; the node's name) at vantage point `zone`.
    ///
    /// Its samples go to `store`, which it flushes and expires while it runs, and by remote write to every
    /// alerting member but the one whose URL is `self_url`, which reads `store` itself.
    ///
    /// # Errors
    /// When the id cannot stand in a key, or `registry` has a collector's metrics already.
    pub fn new(
        config: CollectorConfig,
        id: impl Into<String>,
        zone: impl Into<String>,
        client: Client,
        store: Arc<SeriesStore>,
        self_url: Option<String>,
        registry: &prometheus::Registry,
    ) -> Result<Self, CollectorError> {
        let id = id.into();
        check_name("collector", &id)?;
        let metrics = Metrics::new(registry)?;
        let policy = config.policy().map_err(|(path, message)| CollectorError::Setting {
            path: format!("targets.{path}"),
            message,
        })?;
        let context = Context::new(policy, config.files())?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&context.tls))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(WRITE_TIMEOUT)
            .build()?;
        let named = |(path, message)| CollectorError::Setting { path, message };
        let mut jobs = vec![Arc::new(Job::own(&context.policy).map_err(named)?)];
        for (at, scrape) in config.scrape_configs.iter().enumerate() {
            let job = Job::new(scrape, &context.policy);
            let job = job.map_err(|(f, m)| named((format!("scrape_configs[{at}].{f}"), m)))?;
            jobs.push(Arc::new(job));
        }
        let receivers = Receivers::new(self_url.as_deref(), http, metrics.clone());
        Ok(Self { config, id, zone: zone.into(), client, store, metrics, context, receivers, jobs })
    }

    /// Its metrics, for [`crate::write_router`].
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Probes until the token is cancelled; then gives its lease back, so that its opinions vanish, and
    /// flushes the store.
    pub async fn run(self, token: CancellationToken) {
        let writing = CancellationToken::new();
        let publisher = Publisher::new(self.client.clone(), self.metrics.clone(), writing.clone());
        let (local, kept) = keeper::start(self.store, self.metrics.clone());
        let sink = Sink { local, receivers: self.receivers.clone(), metrics: self.metrics.clone() };
        let scraping = Scraping::new(&self.id, self.jobs, sink.clone(), self.metrics.clone());
        let shared = Arc::new(Shared {
            collector: self.id.clone(),
            epoch: Instant::now(),
            permits: Semaphore::new(self.config.probes_max),
            context: self.context,
            publisher: publisher.clone(),
            facts_max: self.config.facts_max,
            sink,
            metrics: self.metrics.clone(),
        });
        let record = Record { id: self.id, zone: self.zone, started_at: Utc::now() };
        let ttl = self.config.lease_ttl_seconds;
        let client = &self.client;
        let stop = token.child_token();
        tokio::join!(
            membership::hold(client.clone(), publisher, self.metrics, record, ttl, stop.clone()),
            stop.run_until_cancelled(remote_write::follow(self.receivers, client.clone())),
            watch(shared, client, &token),
            scraping.run(client.clone(), token.clone()),
        );
        writing.cancel();
        // An error means that the thread panicked: its message is out already.
        let _ = kept.await;
    }
}

/// Runs the checks that the catalog asks for; at the end none runs.
async fn watch(shared: Arc<Shared>, client: &Client, token: &CancellationToken) {
    let mut changes = client.follow(keys::INSTANCES);
    let mut checks = Checks { shared, targets: Targets::default(), running: HashMap::new() };
    while let Some(Some(change)) = token.run_until_cancelled(changes.recv()).await {
        checks.apply(change).await;
    }
    let running: Vec<_> = checks.running.drain().collect();
    running.iter().for_each(|(_, task)| task.abort());
    for (id, task) in running {
        join(&id, task).await;
    }
}

/// The checks that run.
struct Checks {
    shared: Arc<Shared>,
    targets: Targets,
    running: HashMap<TargetId, JoinHandle<()>>,
}

impl Checks {
    async fn apply(&mut self, change: Change) {
        let effects = self.targets.apply(change);
        // All stop at once, then each is waited for: a task that is over publishes nothing more.
        for effect in &effects {
            if let Effect::Stop { id, .. } = effect
                && let Some(task) = self.running.get(id)
            {
                task.abort();
            }
        }
        for effect in effects {
            match effect {
                Effect::Stop { id, gone } => self.stop(&id, gone).await,
                Effect::Start(target) => self.start(*target),
                Effect::Invalid { key, message } => {
                    warn!(key, message, "instance record is not taken");
                }
            }
        }
        self.shared.metrics.targets.set(self.targets.len() as i64);
        self.shared.metrics.invalid_instances.set(self.targets.invalid() as i64);
    }

    fn start(&mut self, target: Target) {
        let id = target.id.clone();
        let task = tokio::spawn(check::run(target, self.shared.clone()));
        self.running.insert(id, task);
    }

    async fn stop(&mut self, id: &TargetId, gone: bool) {
        if let Some(task) = self.running.remove(id) {
            join(id, task).await;
        }
        if gone {
            let collector = &self.shared.collector;
            self.shared.publisher.delete(&id.opinion_key(collector));
            let last = !self.targets.has(&id.service, &id.check);
            self.shared.metrics.forget(id, collector, last);
        }
    }
}

async fn join(id: &TargetId, task: JoinHandle<()>) {
    if let Err(cause) = task.await
        && cause.is_panic()
    {
        error!(service = id.service, instance = id.instance, check = id.check, %cause, "check failed");
    }
}
