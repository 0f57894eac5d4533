//! A node watches itself: it is an instance of service `watchkeep`, probed like any other.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use url::Url;
use watchkeep_catalog::{
    Check, Client, ClientError, HttpCheck, Instance, Scheme, TlsSettings, keys,
};
use watchkeep_collector::ScrapeConfig;

use crate::{advice, config::Config};

/// The service's name.
pub(crate) const SERVICE: &str = "watchkeep";
/// Seconds until a node that died without a word is no longer registered.
const TTL_SECONDS: i64 = 10;
/// Between probes.
const INTERVAL_MS: u64 = 1000;
/// Pause after a registration that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How the pages of all nodes are fetched, labelled as a Prometheus that is told their addresses would do it; none where
/// they are not, or a job of that name is configured. All nodes are thought to be reached in the way this one is.
pub(crate) fn scrape(config: &Config) -> Option<ScrapeConfig> {
    let collector = &config.collector;
    let taken = collector.scrape_configs.iter().any(|job| job.job_name == SERVICE);
    if !collector.self_scrape || taken {
        return None;
    }
    let url = Url::parse(&config.url()).ok()?;
    let interval = collector.self_scrape_interval_ms;
    let client = &collector.http_client;
    // The fields are those of the configuration file, and so are the words for them.
    let job = serde_json::json!({
        "job_name": SERVICE,
        "services": [SERVICE],
        "scheme": url.scheme(),
        "metrics_path": format!("{}/metrics", url.path().trim_end_matches('/')),
        "interval_ms": interval,
        "timeout_ms": interval.min(10_000),
        "basic_auth": client.basic_auth,
        "authorization": client.authorization,
        "tls_config": client.tls_config,
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "instance"},
            {"regex": "service", "action": "labeldrop"},
        ],
    });
    serde_json::from_value(job).ok()
}

/// This node as an instance.
fn instance(config: &Config) -> anyhow::Result<Instance> {
    let url = Url::parse(&config.url())?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let usual = Check {
        name: "healthz".to_owned(),
        interval_ms: INTERVAL_MS,
        timeout_ms: INTERVAL_MS,
        rise: 1,
        fall: 2,
        ..Check::default()
    };
    // A check that anybody may read has no certificate to show.
    let check = match config.demands.certificate {
        true => Check { tcp: Some(Box::default()), ..usual },
        false => Check { http: Some(Box::new(healthz(config, &url))), ..usual },
    };
    let instance = Instance {
        service: SERVICE.to_owned(),
        id: config.node.name.clone(),
        address: host.to_owned(),
        port,
        zone: config.node.zone.clone(),
        role: String::new(),
        weight: 1,
        tags: config.node.roles.iter().map(ToString::to_string).collect(),
        metadata: [("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
        checks: vec![check.into()],
        scrape: None,
    };
    instance.validate()?;
    Ok(instance)
}

/// How it is asked whether it lives. It names no files, since those who ask have others: where the listener has TLS of its own,
/// or the nodes' authority is one of their own, any certificate is good for that.
fn healthz(config: &Config, url: &Url) -> HttpCheck {
    let https = url.scheme() == "https";
    let own = config.demands.tls || config.collector.http_client.tls_config.is_some();
    let tls = TlsSettings { insecure_skip_verify: https && own, ..TlsSettings::default() };
    HttpCheck {
        scheme: if https { Scheme::Https } else { Scheme::Http },
        path: format!("{}/healthz", url.path().trim_end_matches('/')),
        tls,
        ..HttpCheck::default()
    }
}

/// Keeps this node registered until `stop`, then removes it.
///
/// # Errors
/// When the configuration does not make an instance.
pub(crate) async fn run(
    config: &Config,
    client: Client,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let instance = instance(config)?;
    let mut complained = false;
    while !stop.is_cancelled() {
        match stop.run_until_cancelled(hold(&client, &instance)).await {
            None | Some(Ok(())) => complained = false,
            Some(Err(error)) if complained => debug!(%error, "not registered yet"),
            Some(Err(error)) => {
                complained = true;
                let remedy = advice::on(&error.to_string(), advice::Whom::Operator);
                warn!(%error, remedy, "this node is not registered as an instance of {SERVICE} yet; trying on");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
    }
    let key = keys::instance(SERVICE, &instance.id);
    if let Ok(Err(error)) = tokio::time::timeout(RETRY_PAUSE, client.delete(&key)).await {
        debug!(%error, "still registered; the lease will see to it");
    }
    Ok(())
}

/// Registers under a lease, and returns when the lease is gone.
async fn hold(client: &Client, instance: &Instance) -> Result<(), ClientError> {
    let lease = client.hold_lease(TTL_SECONDS).await?;
    client.put_json(&keys::instance(SERVICE, &instance.id), instance, lease.id()).await?;
    info!(service = SERVICE, instance = instance.id, "registered");
    lease.lost().await;
    warn!("registration lost; registering again");
    Ok(())
}
