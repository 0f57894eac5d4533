//! The rules' metrics, by Prometheus's names where it has them.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Bucket boundaries in seconds of one rule's evaluation.
const SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// By group: `file;group`, as Prometheus labels it.
#[derive(Debug, Clone)]
pub(super) struct RuleMetrics {
    pub(super) evaluations: IntCounterVec,
    pub(super) failures: IntCounterVec,
    pub(super) missed: IntCounterVec,
    pub(super) evaluation_seconds: Histogram,
    pub(super) group_interval_seconds: GaugeVec,
    pub(super) group_duration_seconds: GaugeVec,
    pub(super) alerts: IntGaugeVec,
    pub(super) reload_successful: IntGauge,
}

impl RuleMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of = |name: &str, help: &str| Opts::new(format!("prometheus_rule_{name}"), help);
        let group = &["rule_group"];
        let metrics = Self {
            evaluations: add(
                registry,
                IntCounterVec::new(of("evaluations_total", "Evaluations of rules."), group),
            )?,
            failures: add(
                registry,
                IntCounterVec::new(
                    of("evaluation_failures_total", "Evaluations of rules that did not go well."),
                    group,
                ),
            )?,
            missed: add(
                registry,
                IntCounterVec::new(
                    of(
                        "group_iterations_missed_total",
                        "Evaluations of groups left out because the one before took too long.",
                    ),
                    group,
                ),
            )?,
            evaluation_seconds: add(
                registry,
                Histogram::with_opts(
                    HistogramOpts::from(of(
                        "evaluation_duration_seconds",
                        "Time of one rule's evaluation.",
                    ))
                    .buckets(SECONDS.to_vec()),
                ),
            )?,
            group_interval_seconds: add(
                registry,
                GaugeVec::new(of("group_interval_seconds", "Interval of a group."), group),
            )?,
            group_duration_seconds: add(
                registry,
                GaugeVec::new(
                    of("group_last_duration_seconds", "Time of a group's last evaluation."),
                    group,
                ),
            )?,
            alerts: add(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "watchkeep_alerting_rule_alerts",
                        "Active alerts of rules by state, as the leader sees them.",
                    ),
                    &["state"],
                ),
            )?,
            reload_successful: add(
                registry,
                IntGauge::new(
                    "watchkeep_alerting_rules_last_reload_successful",
                    "Whether the rule files were right when they were last read (1), or the rules from before are in force (0).",
                ),
            )?,
        };
        metrics.reload_successful.set(1);
        Ok(metrics)
    }

    /// A group's series begin with its first event otherwise, and show no increase.
    pub(super) fn begin(&self, group: &str, interval_seconds: f64) {
        for counter in [&self.evaluations, &self.failures, &self.missed] {
            counter.with_label_values(&[group]);
        }
        self.group_interval_seconds.with_label_values(&[group]).set(interval_seconds);
    }

    /// A group is gone, or another node's.
    pub(super) fn forget(&self) {
        self.group_interval_seconds.reset();
        self.group_duration_seconds.reset();
        self.alerts.reset();
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
