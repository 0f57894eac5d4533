//! Wires a node: listeners, then the rooms that run here, then the HTTP API over them; and takes it all down.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use axum::Router;
use prometheus::process_collector::ProcessCollector;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use watchkeep_alerting::{Alerting, Loader, Source, slo::openslo, source::External};
use watchkeep_catalog::{Client, View};
use watchkeep_collector::{Collector, Recorder, blackbox::probe_router, write_router};
use watchkeep_registry::Node;
use watchkeep_series::SeriesStore;

use crate::{
    config::{Config, Role, alertmanager},
    dns::{Dns, Domain},
    http::{self, Asked, ClusterMember, ClusterState, ClusterView, Facts, Guard, Reader, Site},
    metrics::{DnsMetrics, HttpMetrics, QueryMetrics, ReaderMetrics, WebMetrics},
    notify,
    own_runtime::OwnRuntime,
    querier::Querier,
    rules, self_watch,
    series_source::StoreSource,
    telemetry, web, welcome,
};

/// Longest wait for the rooms to end in order.
const ROOMS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for HTTP requests that are under way at the end.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the node until `stop`.
///
/// # Errors
/// When a port is in use, the data belongs to another node, or a room ends by itself.
pub(crate) async fn serve(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    let metrics = prometheus::Registry::new();
    metrics.register(Box::new(ProcessCollector::for_self()))?;
    let http_metrics = Arc::new(HttpMetrics::new(&metrics)?);
    let web_metrics = WebMetrics::new(&metrics)?;
    let listener = web::bind(config.listen.http).await?;
    let kept = keep(config).await?;

    let apart = OwnRuntime::start("registry")?;
    let node = match config.runs(Role::Registry) {
        true => {
            let (config, metrics) = (config.registry_config(), metrics.clone());
            let starting = async move { Node::start(config, &metrics).await };
            Some(Arc::new(apart.run(starting).await??))
        }
        false => None,
    };
    let mut client = config.client()?;
    // A user that is known by a certificate has to show it.
    let shows_certificate =
        config.registry.client_tls.as_ref().is_some_and(|tls| tls.cert.is_some());
    if let Some(node) = node.as_ref().filter(|_| !shows_certificate) {
        client = client.with_own_member(&config.own_endpoint(), &node.client_service());
    }
    if let Some(credentials) = config.credentials().context("registry.password_file")? {
        client = client.with_credentials(credentials);
    }
    let mut rooms = Rooms { tasks: JoinSet::new(), stop: CancellationToken::new() };
    let site = rooms.furnish(config, &client, &metrics, node.as_ref()).await?;
    rooms.start("self-registration", {
        let (config, client, stop) = (config.clone(), client.clone(), rooms.stop.clone());
        async move {
            if let Err(error) = self_watch::run(&config, client, stop).await {
                warn!(%error, "this node does not watch itself");
            }
        }
    });
    if let Some(exporter) = telemetry::Exporter::new(&config.telemetry, &config.node.name)? {
        let (metrics, series) = (site.metrics.clone(), site.series_metrics.clone());
        let gather = move || http::gather(&metrics, series.as_ref());
        rooms.start("metrics by OTLP", exporter.run(gather, rooms.stop.clone()));
    }
    if let Some(kept) = kept.clone() {
        let (stop, fresh) = (rooms.stop.clone(), kept.keep_fresh(web_metrics.clone()));
        rooms.start("web configuration", async move {
            stop.run_until_cancelled(fresh).await;
        });
    }
    let closing = CancellationToken::new();
    let guard = kept.clone().map(|kept| Guard::new(kept, web_metrics.clone()));
    let router = http::router(site, guard, http_metrics);
    let mut server = web::serve(listener, kept, &web_metrics, router, closing.clone())?;
    welcome::print(config);
    notify::ready();

    tokio::select! {
        () = stop.cancelled() => {
            info!("stopping");
            notify::stopping();
        }
        reason = failed(node.as_deref()) => bail!("registry: {reason}"),
        name = rooms.ended() => bail!("{name} ended by itself; start the node again"),
        served = &mut server => return served?.context("HTTP listener"),
    }
    rooms.end().await;
    closing.cancel();
    if tokio::time::timeout(REQUESTS_TIMEOUT, &mut server).await.is_err() {
        server.abort();
    }
    if let Some(node) = node.and_then(Arc::into_inner) {
        node.shutdown().await;
    }
    Ok(())
}

/// The web configuration, if there is one; its files are read on a thread of its own.
async fn keep(config: &Config) -> anyhow::Result<Option<Arc<web::Kept>>> {
    let Some(file) = config.listen.http_web_config.clone() else { return Ok(None) };
    let kept = tokio::task::spawn_blocking(move || web::Kept::load(&file)).await??;
    Ok(Some(Arc::new(kept)))
}

/// Resolves when the registry in this process cannot go on; never where there is none.
async fn failed(node: Option<&Node>) -> String {
    match node {
        Some(node) => node.failed().await,
        None => std::future::pending().await,
    }
}

/// The tasks of this node's rooms.
struct Rooms {
    tasks: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Rooms {
    fn start(&mut self, name: &'static str, room: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            room.await;
            name
        });
    }

    /// The first room that ends by itself.
    async fn ended(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(name)) => name.to_owned(),
            Some(Err(error)) => format!("a room ({error})"),
            None => std::future::pending().await,
        }
    }

    /// Ends them in order, for at most [`ROOMS_TIMEOUT`].
    async fn end(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(ROOMS_TIMEOUT, ended).await.is_err() {
            warn!(
                "some room did not end within {ROOMS_TIMEOUT:?}; its leases run out by themselves"
            );
        }
    }

    /// Starts collector and alerting as the roles say, and gathers what the HTTP API needs.
    async fn furnish(
        &mut self,
        config: &Config,
        client: &Client,
        metrics: &prometheus::Registry,
        node: Option<&Arc<Node>>,
    ) -> anyhow::Result<Site> {
        let kept = View::keep(client);
        let readers = ReaderMetrics::new(metrics, kept.clone())?;
        self.name(config, &kept, metrics).await?;
        let mut site = Site {
            client: client.clone(),
            reader: Reader::new(client.clone(), kept, readers, self.stop.child_token()),
            cluster: node.map(|node| view(node, config)),
            alerting: None,
            foreign: None,
            write: None,
            probe: None,
            asked: asked(config, metrics)?,
            metrics: metrics.clone(),
            series_metrics: None,
            name: config.node.name.clone(),
        };
        let (collects, alerts) = (config.runs(Role::Collector), config.runs(Role::Alerting));
        if !collects && !alerts {
            return Ok(site);
        }
        let store = open_series(config).await?;
        let querier =
            Querier::new(store.clone(), config.query.clone(), QueryMetrics::new(metrics)?);
        site.asked.querier = Some(querier.clone());
        let queues = config.node.data_dir.join("remote-write");
        let recorder;
        if collects {
            let mut settings = config.collector.clone();
            settings.scrape_configs.extend(self_watch::scrape(config));
            let apart = OwnRuntime::start("collector")?;
            let collector = apart.make(|| {
                Collector::new(
                    settings,
                    config.node.name.clone(),
                    config.node.zone.clone(),
                    client.clone(),
                    store.clone(),
                    alerts.then(|| config.url()),
                    queues,
                    metrics,
                )
            })?;
            site.write = alerts.then(|| write_router(store.clone(), collector.metrics()));
            site.foreign = Some(collector.foreign());
            recorder = collector.recorder();
            site.asked.scrapes = Some(collector.scrapes());
            if let Some(modules) = config.blackbox()? {
                let probe = probe_router(modules, &config.collector, collector.metrics());
                site.probe = Some(probe.map_err(|error| anyhow!("/probe: {error}"))?);
            }
            let collecting = collector.run(self.stop.clone());
            self.start("collector", async move {
                if let Err(error) = apart.run(collecting).await {
                    error!(%error, "the collector broke off");
                }
            });
        } else {
            // No collector runs here: of its metrics, only those of the series store have a meaning.
            let apart = prometheus::Registry::new();
            let series = watchkeep_collector::Metrics::new(&apart)?;
            site.write = Some(write_router(store.clone(), series.clone()));
            site.series_metrics = Some(apart);
            recorder =
                Recorder::apart(&config.collector, &config.url(), store, queues, series.clone())?;
            let kept = recorder.clone().keep(client.clone(), series, self.stop.clone());
            self.start("series store", kept);
        }
        if alerts {
            let source: Arc<dyn Source> = match &config.alerting.data_source {
                Some(external) => {
                    Arc::new(External::new(external).map_err(|(field, message)| {
                        anyhow!("alerting.data_source.{field}: {message}")
                    })?)
                }
                None => Arc::new(StoreSource::new(&querier, recorder)),
            };
            site.alerting = Some(self.alert(config, client, source, metrics)?);
        }
        Ok(site)
    }

    /// Starts the name server where there is to be one.
    async fn name(
        &mut self,
        config: &Config,
        view: &View,
        metrics: &prometheus::Registry,
    ) -> anyhow::Result<()> {
        let Some(listen) = config.listen.dns else { return Ok(()) };
        let domain: Domain = config.dns.domain.parse().map_err(|e| anyhow!("dns.domain: {e}"))?;
        let metrics = DnsMetrics::new(metrics)?;
        let dns = Dns::bind(listen, domain, config.dns.ttl_seconds, view.clone(), metrics).await?;
        self.start("name server", dns.run(self.stop.clone()));
        Ok(())
    }

    fn alert(
        &mut self,
        config: &Config,
        client: &Client,
        source: Arc<dyn Source>,
        metrics: &prometheus::Registry,
    ) -> anyhow::Result<Router> {
        let alerting = Alerting::new(
            &config.alerting,
            config.slo.clone(),
            &config.node.name,
            &config.url(),
            client.clone(),
            Arc::clone(&source),
            metrics,
        )?;
        let documents = config.openslo().map_err(|wrong| {
            anyhow!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let mut rules = config.alerting.rule_settings(&config.rules_base);
        if !documents.is_empty() {
            rules
                .origin
                .shipped
                .push(("generated/openslo.yml".to_owned(), openslo::rules(&documents)));
        }
        let alerting = alerting.with_openslo(documents);
        let alerting = alerting.with_rules(rules, Arc::new(config.promql()), source, metrics)?;
        let alerting = match config.alerting.alertmanager_config.clone() {
            None => alerting,
            Some(file) => {
                let load = move || alertmanager::load(&file).map_err(|wrong| wrong.to_string());
                let loader: Loader = Arc::new(load);
                alerting.with_alertmanager(loader, metrics)?
            }
        };
        let mut router = alerting.router();
        if let Some(rules) = alerting.rules() {
            let alertmanager = alerting.alertmanager();
            router = router.merge(http::rules_router(rules.clone(), alertmanager.clone()));
            let reload = rules::reload_on_signal(rules, alertmanager, self.stop.clone());
            self.start("reload at SIGHUP", reload);
        }
        let stop = self.stop.clone();
        self.start("alerting", async move { alerting.run(stop).await });
        Ok(router)
    }
}

/// What Prometheus's API tells of this node; its series come later.
fn asked(config: &Config, metrics: &prometheus::Registry) -> anyhow::Result<Asked> {
    // Secrets are in files, but a header may be one.
    let mut shown = config.clone();
    let remote = shown.collector.remote_write.iter_mut().map(|receiver| &mut receiver.headers);
    let source = shown.alerting.data_source.iter_mut().map(|source| &mut source.headers);
    for value in remote.chain(source).flat_map(|headers| headers.values_mut()) {
        "<secret>".clone_into(value);
    }
    let facts = Facts {
        yaml: serde_saphyr::to_string(&shown)?,
        listen: config.listen.http.to_string(),
        retention_hours: config.collector.retention_hours,
        started_at: chrono::Utc::now(),
    };
    Ok(Asked { querier: None, scrapes: None, facts: Arc::new(facts), metrics: metrics.clone() })
}

/// Opens the series store; it reads files, so on a thread of its own.
async fn open_series(config: &Config) -> anyhow::Result<Arc<SeriesStore>> {
    let (path, options): (PathBuf, _) =
        (config.node.data_dir.join("series"), config.collector.series_options());
    let open = move || -> anyhow::Result<SeriesStore> {
        std::fs::create_dir_all(&path)
            .map_err(|e: io::Error| anyhow!("{}: {e}", path.display()))?;
        Ok(SeriesStore::open(&path, options)?)
    };
    Ok(Arc::new(tokio::task::spawn_blocking(open).await??))
}

/// The registry as this node sees it. Holds the node weakly, so that it can be taken down.
fn view(node: &Arc<Node>, config: &Config) -> ClusterView {
    let (node, node_id, name) = (Arc::downgrade(node), config.node.id, config.node.name.clone());
    let member = |member: watchkeep_registry::Member| ClusterMember {
        id: member.id,
        name: member.name,
        peer: member.peer,
        is_learner: member.is_learner,
    };
    ClusterView::new(move || {
        let node = node.upgrade();
        let status = node.as_ref().map(|node| node.status());
        let members = node.map(|node| node.members()).unwrap_or_default();
        ClusterState {
            node_id,
            name: name.clone(),
            role: status.as_ref().map_or("stopped", |s| s.role).to_owned(),
            leader: status.as_ref().and_then(|s| s.leader),
            term: status.as_ref().map_or(0, |s| s.term),
            members: members.into_iter().map(member).collect(),
        }
    })
}
