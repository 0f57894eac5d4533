//! Logs to stderr, traces and metrics by OTLP. The only place that knows any of them.

use std::{io::IsTerminal, time::Duration};

use anyhow::Context;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{self, LogFormat};

mod bridge;
mod line;
mod metrics;
mod sampler;

pub(crate) use metrics::Exporter;

use line::WithTrace;
use sampler::FaultsAlways;

/// What is logged unless RUST_LOG says otherwise: our own words, and of the libraries only what went wrong.
/// Not what openraft says each time that it tries to reach a member that is away: the registry says it once.
pub(crate) const LOGGED: &str = "warn,watchkeep=info,openraft::replication=error,\
                      openraft::engine::handler::replication_handler=error,openraft::core::heartbeat=error";
/// Longest wait for one export. An absent collector costs its spans, never more.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the last spans and metrics at exit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Who sends: `service.name` of every resource.
const SERVICE: &str = "watchkeep";

/// Keeps traces flowing; [`Telemetry::flush`] sends the last of them.
#[derive(Debug)]
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging, and tracing when there is an endpoint. Called once, inside the runtime. `name` is the node's; `logged` says
/// what is logged, as RUST_LOG would, which beats it.
///
/// # Errors
/// When the endpoint is not a URL or RUST_LOG is not a filter.
pub(crate) fn start(
    settings: &config::Telemetry,
    name: &str,
    logged: Option<&str>,
) -> anyhow::Result<Telemetry> {
    let endpoint = settings.otlp_endpoint.as_deref();
    let traces = endpoint.map(|to| provider(to, settings.sampling_ratio, name)).transpose()?;
    let spans = traces.as_ref().map(|provider| {
        // What is traced does not depend on what is logged: our own spans, whatever RUST_LOG says.
        let own = Targets::new().with_target("watchkeep", LevelFilter::DEBUG);
        tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE)).with_filter(own)
    });
    tracing_subscriber::registry()
        .with(logs(settings.log_format, logged.unwrap_or(LOGGED))?)
        .with(spans)
        .init();
    Ok(Telemetry { traces })
}

fn logs(format: LogFormat, logged: &str) -> anyhow::Result<Box<dyn Layer<Registry> + Send + Sync>> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(filter) => EnvFilter::builder().parse(filter),
        Err(_) => EnvFilter::builder().parse(logged),
    };
    let filter =
        filter.context("RUST_LOG is not a filter; write it like info,watchkeep_registry=debug")?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            let layer = layer.with_ansi(ansi);
            layer
                .map_event_format(|f| WithTrace::text(f.with_ansi(ansi)))
                .with_filter(filter)
                .boxed()
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true);
            layer.map_event_format(WithTrace::json).with_filter(filter).boxed()
        }
    })
}

fn provider(endpoint: &str, ratio: f64, name: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .with_context(|| format!("telemetry.otlp_endpoint {endpoint}"))?;
    let attributes = attributes(name).map(|(key, value)| KeyValue::new(key, value));
    let resource = Resource::builder().with_service_name(SERVICE).with_attributes(attributes);
    Ok(SdkTracerProvider::builder()
        .with_sampler(FaultsAlways::at(ratio))
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

/// What tells one node's spans and metrics from another's.
fn attributes(name: &str) -> [(&'static str, String); 2] {
    [
        ("service.instance.id", name.to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

impl Telemetry {
    /// Sends what is left, for at most [`FLUSH_TIMEOUT`].
    pub(crate) async fn flush(self) {
        let Some(traces) = self.traces else { return };
        // An error means that the collector is not there: nothing is left to do for these spans.
        let flush = move || drop(traces.shutdown_with_timeout(FLUSH_TIMEOUT));
        let _ = tokio::task::spawn_blocking(flush).await;
    }
}
