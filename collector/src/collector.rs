//! The collector: wires membership, checks, opinions and samples together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::Utc;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::{Client, Collector as Record, NameError, check_name};
use watchkeep_series::SeriesStore;

use crate::{
    CollectorConfig,
    engine::{self, Shared},
    foreign::{self, ForeignState},
    keeper, membership,
    metrics::Metrics,
    probe::{Context, Rooms},
    publish::Publisher,
    recorder::Recorder,
    remote_write::{self, Receivers},
    samples::Sink,
    scrape::{Job, ScrapeState, Scraping},
    sharing::Sharing,
};

/// Longest wait for a receiver of remote write.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

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
    foreign: ForeignState,
    scrapes: ScrapeState,
}

impl Collector {
    /// A collector named `id` (unique among collectors; the node's name) at vantage point `zone`.
    ///
    /// Its samples go to `store`, which it flushes and expires while it runs, and by remote write to every
    /// alerting member but the one whose URL is `self_url`, which reads `store` itself, and to whoever the configuration
    /// names; what waits for them lies in `queue_dir`. Call it in a runtime of tokio.
    ///
    /// # Errors
    /// When the id cannot stand in a key, or `registry` has a collector's metrics already.
    #[allow(clippy::too_many_arguments, reason = "each is a component that comes in from outside")]
    pub fn new(
        config: CollectorConfig,
        id: impl Into<String>,
        zone: impl Into<String>,
        client: Client,
        store: Arc<SeriesStore>,
        self_url: Option<String>,
        queue_dir: PathBuf,
        registry: &prometheus::Registry,
    ) -> Result<Self, CollectorError> {
        let id = id.into();
        check_name("collector", &id)?;
        let metrics = Metrics::new(registry)?;
        let policy = config.policy().map_err(|(path, message)| CollectorError::Setting {
            path: format!("targets.{path}"),
            message,
        })?;
        let rooms = Rooms {
            client: Some(client.clone()),
            reports: Some(Arc::default()),
            scripts: config.scripts.dir.clone(),
        };
        let context = Context::within(policy, config.files(), rooms)?;
        let named = |(path, message)| CollectorError::Setting { path, message };
        let public = ClientConfig::clone(&context.tls);
        let nodes = config.http_client.nodes(public).map_err(named)?;
        let mut jobs = vec![Arc::new(Job::own(&context.policy).map_err(named)?)];
        for (at, scrape) in config.scrape_configs.iter().enumerate() {
            let job = Job::new(scrape, &context.policy);
            let job = job.map_err(|(f, m)| named((format!("scrape_configs[{at}].{f}"), m)))?;
            jobs.push(Arc::new(job));
        }
        let receivers = Receivers::new(
            self_url.as_deref(),
            nodes,
            metrics.clone(),
            queue_dir,
            &config.remote_write,
            Duration::from_secs(config.retention_hours.unsigned_abs() * 3_600),
        );
        receivers.start().map_err(named)?;
        Ok(Self {
            config,
            id,
            zone: zone.into(),
            client,
            store,
            metrics,
            context,
            receivers,
            jobs,
            foreign: ForeignState::default(),
            scrapes: ScrapeState::default(),
        })
    }

    /// Its metrics, for [`crate::write_router`].
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// The way of recorded series: the same as that of its own samples.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.store.clone(), self.receivers.clone())
    }

    /// What it scrapes, and how that goes.
    #[must_use]
    pub fn scrapes(&self) -> ScrapeState {
        self.scrapes.clone()
    }

    /// What it mirrors of foreign registrations.
    #[must_use]
    pub fn foreign(&self) -> ForeignState {
        self.foreign.clone()
    }

    /// Probes until the token is cancelled; then gives its lease back, so that its opinions vanish, and
    /// flushes the store.
    pub async fn run(self, token: CancellationToken) {
        let writing = CancellationToken::new();
        let publisher = Publisher::new(self.client.clone(), self.metrics.clone(), writing.clone());
        let (local, kept) = keeper::start(self.store, self.metrics.clone());
        let sink = Sink { local, receivers: self.receivers.clone(), metrics: self.metrics.clone() };
        let scraping =
            Scraping::new(&self.id, self.jobs, sink.clone(), self.metrics.clone(), self.scrapes);
        let shared = Arc::new(Shared {
            collector: self.id.clone(),
            epoch: Instant::now(),
            probes_max: self.config.probes_max,
            context: self.context,
            publisher: publisher.clone(),
            facts_max: self.config.facts_max,
            target_metrics_max: self.config.target_metrics_max,
            sink,
            metrics: self.metrics.clone(),
        });
        let sharing = Sharing::new(&shared.collector, &self.zone, self.config.vantage_points);
        let mirroring = foreign::run(
            self.config.foreign,
            self.client.clone(),
            self.metrics.clone(),
            self.foreign,
            token.child_token(),
        );
        let record = Record { id: self.id, zone: self.zone, started_at: Utc::now() };
        let ttl = self.config.lease_ttl_seconds;
        let client = &self.client;
        let stop = token.child_token();
        let reports = shared.context.rooms.reports.clone().unwrap_or_default();
        // Each a task of its own: as one, the end of each probe would have all of them looked at.
        let mut tasks = JoinSet::new();
        let holding =
            membership::hold(client.clone(), publisher, self.metrics, record, ttl, stop.clone());
        tasks.spawn(holding);
        tasks.spawn({
            let (stop, receivers, client) = (stop.clone(), self.receivers.clone(), client.clone());
            async move {
                stop.run_until_cancelled(remote_write::follow(receivers, client)).await;
            }
        });
        tasks.spawn({
            let client = client.clone();
            async move {
                stop.run_until_cancelled(reports.follow(&client)).await;
            }
        });
        tasks.spawn(scraping.run(client.clone(), token.clone()));
        tasks.spawn(mirroring);
        tasks.spawn({
            let client = client.clone();
            async move { engine::run(shared, sharing, &client, &token).await }
        });
        tasks.join_all().await;
        writing.cancel();
        self.receivers.close().await;
        // An error means that the thread panicked: its message is out already.
        let _ = kept.await;
    }
}
