//! Metrics by OTLP: what `/metrics` shows, sent at intervals. A receiver that is away misses some intervals; since sums
//! count from the start, it loses none of what they count.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient,
};
use prometheus::proto::MetricFamily;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use super::{
    EXPORT_TIMEOUT, FLUSH_TIMEOUT, SERVICE, attributes,
    bridge::{self, Span},
};
use crate::config;

/// Sends the metrics of this process.
pub(crate) struct Exporter {
    client: MetricsServiceClient<Channel>,
    interval: Duration,
    resource: Vec<(&'static str, String)>,
    start: u64,
}

impl Exporter {
    /// For node `name`; none unless metrics are to go by OTLP. Connects when it first sends.
    ///
    /// # Errors
    /// When the endpoint is not a URL.
    pub(crate) fn new(settings: &config::Telemetry, name: &str) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = settings.otlp_endpoint.clone().filter(|_| settings.otlp_metrics)
        else {
            return Ok(None);
        };
        let channel = Endpoint::from_shared(endpoint)?.connect_timeout(EXPORT_TIMEOUT);
        let mut resource = vec![("service.name", SERVICE.to_owned())];
        resource.extend(attributes(name));
        Ok(Some(Self {
            client: MetricsServiceClient::new(channel.connect_lazy()),
            interval: Duration::from_secs(settings.otlp_metrics_interval_seconds),
            resource,
            start: nanoseconds(),
        }))
    }

    /// Sends what `gather` gives, at every interval and once more at the end.
    pub(crate) async fn run(
        mut self,
        gather: impl Fn() -> Vec<MetricFamily>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut well = true;
        loop {
            let is_last = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            let families = gather();
            let sent = match is_last {
                true => self.send(&families, FLUSH_TIMEOUT).await,
                // The end does not wait for a receiver that takes its time: what is under way is in the last one, too.
                false => match stop.run_until_cancelled(self.send(&families, EXPORT_TIMEOUT)).await
                {
                    Some(sent) => sent,
                    None => continue,
                },
            };
            // Once when it begins and once when it is over, not at every interval.
            match (&sent, well) {
                (Err(error), true) => warn!(error, "metrics are not taken by the OTLP receiver"),
                (Ok(()), false) => info!("metrics are taken by the OTLP receiver again"),
                _ => {}
            }
            well = sent.is_ok();
            if is_last {
                return;
            }
        }
    }

    async fn send(&mut self, families: &[MetricFamily], timeout: Duration) -> Result<(), String> {
        let span = Span { start: self.start, now: nanoseconds() };
        let request = bridge::request(families, &self.resource, SERVICE, span);
        let answer = tokio::time::timeout(timeout, self.client.export(request)).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", timeout.as_secs()))?;
        let answer = answer.map_err(|status| status.to_string())?.into_inner();
        rejected(&answer).map_or(Ok(()), Err)
    }
}

/// What the receiver did not take, in its words.
fn rejected(answer: &ExportMetricsServiceResponse) -> Option<String> {
    let partial = answer.partial_success.as_ref().filter(|p| p.rejected_data_points > 0)?;
    Some(format!("{} points refused: {}", partial.rejected_data_points, partial.error_message))
}

fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
