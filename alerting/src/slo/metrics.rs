//! The SLO report's metrics. The gauges per service are exported by the alerting leader only, so a query
//! over all nodes takes `max by (service, …)`.

use std::collections::BTreeSet;

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounterVec, Opts, Registry,
    register_gauge_vec_with_registry, register_histogram_with_registry,
    register_int_counter_vec_with_registry,
};

use super::{
    detail::{Burn, SHORT, WINDOWS},
    openslo,
    report::{Report, Window},
};

/// The two objectives, as the label `slo` names them.
const AVAILABILITY: &str = "availability";
const LATENCY: &str = "latency";
const BOTH: &[&str] = &[AVAILABILITY, LATENCY];

/// What the report exports.
#[derive(Debug)]
pub(super) struct Metrics {
    availability: GaugeVec,
    latency: GaugeVec,
    remaining: GaugeVec,
    burn_rate: GaugeVec,
    burn_confirmed: GaugeVec,
    downtime: GaugeVec,
    objective: GaugeVec,
    latency_objective: GaugeVec,
    pub(super) report_seconds: Histogram,
    pub(super) rollups: IntCounterVec,
}

impl Metrics {
    /// Declares them all on `registry`.
    ///
    /// # Errors
    /// When a name is taken.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let help =
                format!("{help} Exported by the alerting leader only: use max by (service).");
            register_gauge_vec_with_registry!(Opts::new(name, help), labels, registry)
        };
        let metrics = Self {
            availability: gauge(
                "watchkeep_slo_availability_ratio",
                "Share of probes in the window that succeeded.",
                &["service", "window"],
            )?,
            latency: gauge(
                "watchkeep_slo_latency_ratio",
                "Share of probes in the window that succeeded within the latency objective.",
                &["service", "window"],
            )?,
            remaining: gauge(
                "watchkeep_slo_error_budget_remaining_ratio",
                "Share of the window's error budget that is left; negative when overspent.",
                &["service", "slo", "window"],
            )?,
            burn_rate: gauge(
                "watchkeep_slo_burn_rate",
                "Share of bad probes in the window over the share that the objective allows; what was before the first \
                 probe counts as kept.",
                &["service", "slo", "window"],
            )?,
            burn_confirmed: gauge(
                "watchkeep_slo_burn_confirmed",
                "1 when the window's bad probes are enough to mean something, else not there.",
                &["service", "slo", "window"],
            )?,
            downtime: gauge(
                "watchkeep_slo_downtime_seconds",
                "Time in the window during which no serving instance was up and one was known bad.",
                &["service", "window"],
            )?,
            objective: gauge(
                "watchkeep_slo_objective",
                "Share of probes that must be good.",
                &["service", "slo"],
            )?,
            latency_objective: gauge(
                "watchkeep_slo_latency_objective_seconds",
                "Slowest probe that counts as in time.",
                &["service"],
            )?,
            report_seconds: register_histogram_with_registry!(
                HistogramOpts::new(
                    "watchkeep_slo_report_seconds",
                    "Time to bring one service's report up to date and compute it."
                )
                .buckets(vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]),
                registry
            )?,
            rollups: register_int_counter_vec_with_registry!(
                Opts::new(
                    "watchkeep_slo_rollups_total",
                    "Day records written to the registry, by outcome."
                ),
                &["result"],
                registry
            )?,
        };
        for result in ["written", "fenced", "failed"] {
            metrics.rollups.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// Shows what the report says; a window without probes shows no shares.
    pub(super) fn show(&self, report: &Report) {
        let service = report.service.as_str();
        let objective = report.objective;
        // A document promises nothing about times of answers.
        let slos = if openslo::is_key(service) { &BOTH[..1] } else { BOTH };
        for slo in slos.iter().copied() {
            self.objective.with_label_values(&[service, slo]).set(objective.availability);
        }
        let timed = slos.contains(&LATENCY);
        if timed {
            let seconds = objective.latency_ms as f64 / 1000.0;
            self.latency_objective.with_label_values(&[service]).set(seconds);
        }
        for window in &report.windows {
            let name = window.window.name();
            let (availability, latency) = (&window.availability, &window.latency);
            set(&self.availability, &[service, name], availability.ratio);
            for (slo, budget) in slos.iter().copied().zip([availability, latency]) {
                let labels = [service, slo, name];
                set(&self.remaining, &labels, budget.remaining_ratio);
            }
            if timed {
                set(&self.latency, &[service, name], latency.ratio);
                let downtime = window.downtime.seconds;
                self.downtime.with_label_values(&[service, name]).set(downtime);
            }
        }
        for rate in &report.burn {
            self.show_burn(&[service, AVAILABILITY, rate.window], &rate.availability);
            if timed {
                self.show_burn(&[service, LATENCY, rate.window], &rate.latency);
            }
        }
    }

    fn show_burn(&self, labels: &[&str; 3], burn: &Burn) {
        // Of 30 days, the budget that is left says the same.
        if labels[2] != Window::Month.name() {
            set(&self.burn_rate, labels, burn.rate);
        }
        if SHORT.contains(&labels[2]) {
            // Alerts ask whether it is there: most of the time it is not, and costs nothing.
            let confirmed = burn.rate.filter(|_| burn.confirmed).map(|_| 1.0);
            set(&self.burn_confirmed, labels, confirmed);
        }
    }

    /// Shows nothing any more of these services.
    pub(super) fn hide(&self, services: &BTreeSet<String>, windows: &[&str]) {
        // Removing what was never shown is no error that matters.
        let remove = |gauge: &GaugeVec, labels: &[&str]| drop(gauge.remove_label_values(labels));
        for service in services.iter().map(String::as_str) {
            remove(&self.latency_objective, &[service]);
            for slo in BOTH.iter().copied() {
                remove(&self.objective, &[service, slo]);
                for window in windows {
                    remove(&self.remaining, &[service, slo, window]);
                }
                for window in WINDOWS {
                    remove(&self.burn_rate, &[service, slo, window.name]);
                    remove(&self.burn_confirmed, &[service, slo, window.name]);
                }
            }
            for window in windows {
                for gauge in [&self.availability, &self.latency, &self.downtime] {
                    remove(gauge, &[service, window]);
                }
            }
        }
    }
}

fn set(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        // Nothing to remove is as good.
        None => drop(gauge.remove_label_values(labels)),
    }
}
