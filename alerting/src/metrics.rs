//! Alerting's metrics, each declared once.

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

/// Bucket boundaries in seconds, from a pure function's time to a slow receiver's; one lies at 0.1.
const SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// From the first failed probe to the delivered callback: intervals of some seconds.
const FAULT_SECONDS: [f64; 13] =
    [0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.1, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) is_leader: IntGauge,
    pub(crate) leader_changes: IntCounter,
    pub(crate) verdicts: IntGaugeVec,
    pub(crate) verdict_changes: IntCounterVec,
    pub(crate) evaluations: IntCounter,
    pub(crate) evaluation_seconds: Histogram,
    pub(crate) decision_seconds: Histogram,
    pub(crate) callbacks: IntCounterVec,
    pub(crate) callback_seconds: Histogram,
    pub(crate) fault_to_callback_seconds: Histogram,
    pub(crate) notifications: IntCounterVec,
    pub(crate) notification_seconds: HistogramVec,
    pub(crate) pending_pages: IntGauge,
    pub(crate) oldest_page: Gauge,
    pub(crate) dead_man_calls: IntCounterVec,
    pub(crate) incidents: IntGaugeVec,
    pub(crate) failovers: IntGaugeVec,
    pub(crate) failovers_over: IntCounterVec,
    pub(crate) failovers_held: IntCounterVec,
    pub(crate) failover_seconds: Histogram,
    pub(crate) failover_stopped: IntGauge,
    pub(crate) disagreement: IntGaugeVec,
    pub(crate) outvoted: IntGaugeVec,
    pub(crate) panics: IntGaugeVec,
    pub(crate) silenced: IntGaugeVec,
    pub(crate) maintenance_windows_open: IntGauge,
    pub(crate) registry_lost: IntGauge,
    pub(crate) registry_answer_timestamp_seconds: IntGauge,
}

/// What came of one attempt to reach somebody.
pub(crate) const DELIVERED: &str = "delivered";
pub(crate) const FAILED: &str = "failed";

impl Metrics {
    /// Declares the metrics; the series of every policy are there from the start.
    pub(crate) fn new(registry: &Registry, policies: &[&str]) -> Result<Self, prometheus::Error> {
        let of = |name: &str, help: &str| Opts::new(format!("watchkeep_alerting_{name}"), help);
        let seconds = |name: &str, help: &str, buckets: &[f64]| {
            HistogramOpts::from(of(name, help)).buckets(buckets.to_vec())
        };
        let metrics = Self {
            is_leader: add(
                registry,
                IntGauge::with_opts(of(
                    "is_leader",
                    "Whether this node is the alerting leader (1) or not (0).",
                )),
            )?,
            leader_changes: add(
                registry,
                IntCounter::with_opts(of(
                    "leader_changes_total",
                    "Alerting leaders this node has seen take office.",
                )),
            )?,
            verdicts: add(
                registry,
                IntGaugeVec::new(of("verdicts", "Instances by verdict."), &["status"]),
            )?,
            verdict_changes: add(
                registry,
                IntCounterVec::new(
                    of("verdict_changes_total", "Verdicts decided by this node."),
                    &["status"],
                ),
            )?,
            evaluations: add(
                registry,
                IntCounter::with_opts(of(
                    "evaluations_total",
                    "Instances whose opinions were weighed by this node.",
                )),
            )?,
            evaluation_seconds: add(
                registry,
                Histogram::with_opts(seconds(
                    "evaluation_seconds",
                    "Time to weigh the opinions on one instance.",
                    &SECONDS,
                )),
            )?,
            decision_seconds: add(
                registry,
                Histogram::with_opts(seconds(
                    "decision_seconds",
                    "Time from an opinion's arrival to the committed decision.",
                    &SECONDS,
                )),
            )?,
            callbacks: add(
                registry,
                IntCounterVec::new(
                    of("callbacks_total", "Attempts of failover callbacks by result."),
                    &["policy", "result"],
                ),
            )?,
            callback_seconds: add(
                registry,
                Histogram::with_opts(seconds(
                    "callback_seconds",
                    "Time of one attempt of a failover callback.",
                    &SECONDS,
                )),
            )?,
            fault_to_callback_seconds: add(
                registry,
                Histogram::with_opts(seconds(
                    "fault_to_callback_seconds",
                    "Time from the first failed probe to the delivered callback.",
                    &FAULT_SECONDS,
                )),
            )?,
            notifications: add(
                registry,
                IntCounterVec::new(
                    of("notifications_total", "Attempts to deliver a page by result."),
                    &["channel", "result"],
                ),
            )?,
            notification_seconds: add(
                registry,
                HistogramVec::new(
                    seconds(
                        "notification_seconds",
                        "Time of one attempt to deliver a page.",
                        &SECONDS,
                    ),
                    &["channel"],
                ),
            )?,
            pending_pages: add(
                registry,
                IntGauge::with_opts(of("pending_pages", "Pages that are still to be delivered.")),
            )?,
            oldest_page: add(
                registry,
                Gauge::with_opts(of(
                    "oldest_pending_page_seconds",
                    "Time for which the oldest page has been due and is not delivered, as the leader sees it.",
                )),
            )?,
            dead_man_calls: add(
                registry,
                IntCounterVec::new(
                    of("dead_man_calls_total", "Calls of the dead man's switch by result."),
                    &["result"],
                ),
            )?,
            incidents: add(
                registry,
                IntGaugeVec::new(of("incidents", "Incidents on record by status."), &["status"]),
            )?,
            failovers: add(
                registry,
                IntGaugeVec::new(of("failovers", "Failovers on record by state."), &["state"]),
            )?,
            failovers_over: add(
                registry,
                IntCounterVec::new(
                    of("failovers_over_total", "Failovers that ended on this node, by outcome."),
                    &["policy", "outcome"],
                ),
            )?,
            failovers_held: add(
                registry,
                IntCounterVec::new(
                    of("failovers_held_total", "Failovers that a guard has held, by guard."),
                    &["policy", "guard"],
                ),
            )?,
            failover_seconds: add(
                registry,
                Histogram::with_opts(seconds(
                    "failover_seconds",
                    "Time from the first step of a failover to its end.",
                    &FAULT_SECONDS,
                )),
            )?,
            failover_stopped: add(
                registry,
                IntGauge::with_opts(of(
                    "failover_stopped",
                    "Whether failovers are stopped by the kill switch (1) or not (0).",
                )),
            )?,
            disagreement: add(
                registry,
                IntGaugeVec::new(
                    of(
                        "opinion_disagreement",
                        "Instances on which collectors contradict each other.",
                    ),
                    &["service"],
                ),
            )?,
            outvoted: add(
                registry,
                IntGaugeVec::new(
                    of(
                        "opinions_outvoted",
                        "Checks on which this collector stands against the others.",
                    ),
                    &["collector"],
                ),
            )?,
            panics: add(
                registry,
                IntGaugeVec::new(
                    of(
                        "panics",
                        "Services so much of which seems critical at once that it is not believed.",
                    ),
                    &["service"],
                ),
            )?,
            silenced: add(
                registry,
                IntGaugeVec::new(
                    of("silenced", "Critical instances that nobody is told of, by reason."),
                    &["reason"],
                ),
            )?,
            maintenance_windows_open: add(
                registry,
                IntGauge::with_opts(of(
                    "maintenance_windows_open",
                    "Maintenance windows that are open, as the leader sees it.",
                )),
            )?,
            registry_lost: add(
                registry,
                IntGauge::with_opts(of(
                    "registry_lost",
                    "Whether the registry cannot be reached, so that this node tells people by itself.",
                )),
            )?,
            registry_answer_timestamp_seconds: add(
                registry,
                IntGauge::with_opts(of(
                    "registry_answer_timestamp_seconds",
                    "When the registry last answered this node, which asks once a second; 0 before it ever has.",
                )),
            )?,
        };
        metrics.begin(policies);
        Ok(metrics)
    }

    /// It is decided on: it may be over by that.
    pub(crate) fn failover_judged(&self, record: &watchkeep_catalog::Failover) {
        if record.state.is_over() {
            self.failover_over(record);
        }
    }

    /// A failover is over; rehearsals do not count.
    pub(crate) fn failover_over(&self, record: &watchkeep_catalog::Failover) {
        if record.rehearsal {
            return;
        }
        let labels = [record.policy.as_str(), record.state.as_str()];
        self.failovers_over.with_label_values(&labels).inc();
        if let (Some(began), Some(ended)) = (record.started_at, record.finished_at) {
            self.failover_seconds.observe((ended - began).as_seconds_f64().max(0.0));
        }
        for guard in record.guards.iter().filter(|guard| guard.held) {
            self.failovers_held.with_label_values(&[&record.policy, &guard.guard]).inc();
        }
    }

    /// A series that begins with its first event shows no increase: so all begin now.
    fn begin(&self, policies: &[&str]) {
        for status in ["passing", "critical"] {
            self.verdict_changes.with_label_values(&[status]);
        }
        for result in [DELIVERED, FAILED] {
            self.dead_man_calls.with_label_values(&[result]);
            for policy in policies {
                self.callbacks.with_label_values(&[policy, result]);
                self.failovers_over.with_label_values(&[policy, result]);
            }
            for channel in ["email", "webhook"] {
                self.notifications.with_label_values(&[channel, result]);
                self.notification_seconds.with_label_values(&[channel]);
            }
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
