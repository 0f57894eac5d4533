//! The metrics of this folder, with Alertmanager's names where it has them.

use std::time::Duration;

use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// Bucket boundaries in seconds; one lies at 0.1.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    received: IntCounterVec,
    pub(crate) invalid: IntCounter,
    pub(crate) notifications: IntCounterVec,
    pub(crate) failed: IntCounterVec,
    requests: IntCounterVec,
    requests_failed: IntCounterVec,
    latency: HistogramVec,
    pub(crate) groups: IntGauge,
    queue: IntGaugeVec,
    queue_oldest: Gauge,
    pub(crate) config_reloaded: IntGauge,
    pub(crate) config_reloaded_at: IntGauge,
}

/// Every integration there is.
const INTEGRATIONS: [&str; 9] = [
    "email",
    "webhook",
    "slack",
    "pagerduty",
    "opsgenie",
    "telegram",
    "discord",
    "msteamsv2",
    "oncall",
];

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of = |name: &str, help: &str| Opts::new(format!("alertmanager_{name}"), help);
        let counters = |name: &str, help: &str, label: &str| {
            add(registry, IntCounterVec::new(of(name, help), &[label]))
        };
        let gauge = |name: &str, help: &str| add(registry, IntGauge::with_opts(of(name, help)));
        let latency = HistogramOpts::from(of(
            "notification_latency_seconds",
            "Time of one attempt to deliver a notification.",
        ));
        let metrics = Self {
            received: counters(
                "alerts_received_total",
                "Alerts that were posted, by status.",
                "status",
            )?,
            invalid: add(
                registry,
                IntCounter::with_opts(of("alerts_invalid_total", "Alerts that were refused.")),
            )?,
            notifications: counters(
                "notifications_total",
                "Notifications that were to be delivered.",
                "integration",
            )?,
            failed: counters(
                "notifications_failed_total",
                "Notifications that were not delivered before their group's next look.",
                "integration",
            )?,
            requests: counters(
                "notification_requests_total",
                "Attempts to deliver a notification.",
                "integration",
            )?,
            requests_failed: counters(
                "notification_requests_failed_total",
                "Attempts to deliver a notification that failed.",
                "integration",
            )?,
            latency: add(
                registry,
                HistogramVec::new(latency.buckets(SECONDS.to_vec()), &["integration"]),
            )?,
            groups: gauge(
                "dispatcher_aggregation_groups",
                "Groups of alerts that this node tells people of.",
            )?,
            queue: add(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "watchkeep_alerting_notification_queue_length",
                        "Notifications on their way by state: to be written down (waiting), or being sent (sending).",
                    ),
                    &["state"],
                ),
            )?,
            queue_oldest: add(
                registry,
                Gauge::new(
                    "watchkeep_alerting_notification_queue_oldest_seconds",
                    "Time since the oldest notification on its way was decided.",
                ),
            )?,
            config_reloaded: gauge(
                "config_last_reload_successful",
                "Whether the last reload of the configuration succeeded (1) or not (0).",
            )?,
            config_reloaded_at: gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration was last taken.",
            )?,
        };
        metrics.begin();
        Ok(metrics)
    }

    /// A series that begins with its first event shows no increase: so all begin now.
    fn begin(&self) {
        for status in ["firing", "resolved"] {
            self.received.with_label_values(&[status]);
        }
        for kind in INTEGRATIONS {
            for counters in
                [&self.notifications, &self.failed, &self.requests, &self.requests_failed]
            {
                counters.with_label_values(&[kind]);
            }
            self.latency.with_label_values(&[kind]);
        }
        self.queued((0, 0), Duration::ZERO);
        self.config_reloaded.set(1);
    }

    /// So many wait to be written down and are being sent, and the oldest of them has been for so long.
    pub(crate) fn queued(&self, (waiting, sending): (usize, usize), oldest: Duration) {
        for (state, count) in [("waiting", waiting), ("sending", sending)] {
            self.queue.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.queue_oldest.set(oldest.as_secs_f64());
    }

    /// So many alerts were posted.
    pub(crate) fn received(&self, resolved: bool, count: u64) {
        self.received.with_label_values(&[super::payload::status(resolved)]).inc_by(count);
    }

    /// One attempt was made.
    pub(crate) fn attempted(&self, integration: &str, took: Duration, failed: bool) {
        self.requests.with_label_values(&[integration]).inc();
        self.latency.with_label_values(&[integration]).observe(took.as_secs_f64());
        if failed {
            self.requests_failed.with_label_values(&[integration]).inc();
        }
    }
}

fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<C, prometheus::Error>,
) -> Result<C, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
