//! What the collector tells of itself, on the registry it is given.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

use crate::target::TargetId;

/// Boundaries of latency histograms; the promise of 0.1 s is one of them.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All metrics of the collector and of the series store. Cheap to clone. Made once per registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    probe_success: IntGaugeVec,
    probe_duration: HistogramVec,
    probes: IntCounterVec,
    pub(crate) lag: Histogram,
    pub(crate) missed_runs: IntCounter,
    pub(crate) shed_runs: IntCounter,
    pub(crate) targets: IntGauge,
    pub(crate) targets_known: IntGauge,
    pub(crate) leaving: IntGauge,
    pub(crate) members: IntGauge,
    pub(crate) flapping: IntGauge,
    listed: IntGauge,
    unlisted: IntGauge,
    pub(crate) invalid_instances: IntGauge,
    pub(crate) opinion_changes: IntCounterVec,
    pub(crate) opinion_write: Histogram,
    pub(crate) lease_changes: IntCounter,
    pub(crate) samples_dropped: IntCounter,
    scrapes: IntCounterVec,
    scrape_duration: Histogram,
    pub(crate) scrapes_missed: IntCounter,
    pub(crate) scrape_targets: IntGauge,
    foreign: IntGaugeVec,
    remote_samples: IntCounterVec,
    remote_queue: IntGaugeVec,
    remote_queue_bytes: IntGaugeVec,
    remote_lag: GaugeVec,
    pub(crate) remote_requests: IntCounterVec,
    pub(crate) probe_requests: IntCounterVec,
    pub(crate) series: SeriesMetrics,
}

/// Metrics of the series store.
#[derive(Debug, Clone)]
pub(crate) struct SeriesMetrics {
    pub(crate) active: IntGauge,
    pub(crate) appended: IntCounter,
    pub(crate) rejected: IntCounterVec,
    pub(crate) disk_bytes: IntGauge,
    pub(crate) flush: Histogram,
    pub(crate) errors: IntCounterVec,
}

/// The metrics of one target.
#[derive(Debug)]
pub(crate) struct TargetMetrics {
    /// Its own series; none: there were too many already.
    own: Option<(IntGauge, Histogram)>,
    good: IntCounter,
    bad: IntCounter,
    /// Targets that have such series, or have none: this one counts as long as it lives.
    counted: IntGauge,
}

impl TargetMetrics {
    pub(crate) fn probed(&self, good: bool, duration_seconds: f64) {
        if let Some((success, duration)) = &self.own {
            success.set(good.into());
            duration.observe(duration_seconds);
        }
        if good { &self.good } else { &self.bad }.inc();
    }
}

impl Drop for TargetMetrics {
    fn drop(&mut self) {
        self.counted.dec();
    }
}

/// The metrics of one receiver of remote write. Once it is forgotten they may still be set, unseen.
#[derive(Debug, Clone)]
pub(crate) struct ReceiverMetrics {
    queue: IntGauge,
    queue_bytes: IntGauge,
    pub(crate) lag: Gauge,
    pub(crate) sent: IntCounter,
    pub(crate) refused: IntCounter,
    /// Samples of requests that failed and are sent again.
    pub(crate) retried: IntCounter,
    pub(crate) dropped: IntCounter,
}

impl ReceiverMetrics {
    /// How much waits on disk.
    pub(crate) fn waiting(&self, samples: u64, bytes: u64) {
        self.queue.set(i64::try_from(samples).unwrap_or(i64::MAX));
        self.queue_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// Registers one metric after the other.
struct On<'a>(&'a Registry);

impl On<'_> {
    fn add<M: Collector + Clone + 'static>(
        &self,
        metric: prometheus::Result<M>,
    ) -> prometheus::Result<M> {
        let metric = metric?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, by: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), by))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, by: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), by))
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.add(Histogram::with_opts(options))
    }
}

impl Metrics {
    /// Registers everything on `registry`.
    ///
    /// # Errors
    /// When a metric of that name is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let on = On(registry);
        let by_check = HistogramOpts::new("probe_duration_seconds", "Duration of probes.");
        let by_check = by_check.buckets(SECONDS.to_vec());
        Ok(Self {
            probe_success: on.gauges(
                "probe_success",
                "Whether the last probe of the check succeeded.",
                &["service", "instance", "check", "collector"],
            )?,
            probe_duration: on.add(HistogramVec::new(by_check, &["service", "check"]))?,
            probes: on.counters(
                "watchkeep_collector_probes_total",
                "Probes by kind (http, tcp, …) and result (success, failure).",
                &["kind", "result"],
            )?,
            lag: on.seconds(
                "watchkeep_collector_probe_lag_seconds",
                "How much later than scheduled a probe began.",
            )?,
            missed_runs: on.counter(
                "watchkeep_collector_missed_runs_total",
                "Probes left out because those before took too long.",
            )?,
            shed_runs: on.counter(
                "watchkeep_collector_shed_runs_total",
                "Probes left out because probes_max others were under way.",
            )?,
            targets: on.gauge("watchkeep_collector_targets", "Checks that this collector probes.")?,
            targets_known: on.gauge(
                "watchkeep_collector_targets_known",
                "Checks that all collectors probe together.",
            )?,
            leaving: on.gauge(
                "watchkeep_collector_targets_leaving",
                "Checks that are probed until their new owners have opinions.",
            )?,
            members: on.gauge(
                "watchkeep_collector_members",
                "Collectors that share the checks, as this one sees it.",
            )?,
            flapping: on.gauge("watchkeep_collector_targets_flapping", "Checks that flap.")?,
            listed: on.gauge(
                "watchkeep_collector_targets_listed",
                "Checks with probe_success and probe_duration_seconds on this page.",
            )?,
            unlisted: on.gauge(
                "watchkeep_collector_targets_unlisted",
                "Checks without probe_success and probe_duration_seconds on this page: target_metrics_max others have them.",
            )?,
            invalid_instances: on.gauge(
                "watchkeep_collector_invalid_instances",
                "Instance records that are malformed and not taken.",
            )?,
            opinion_changes: on.counters(
                "watchkeep_collector_opinion_changes_total",
                "Opinions formed, by new status.",
                &["status"],
            )?,
            opinion_write: on.seconds(
                "watchkeep_collector_opinion_write_seconds",
                "From an opinion to its acknowledgement by the registry, retries included.",
            )?,
            lease_changes: on.counter(
                "watchkeep_collector_leases_total",
                "Leases obtained; each after the first means that one was lost.",
            )?,
            samples_dropped: on.counter(
                "watchkeep_collector_samples_dropped_total",
                "Samples that the local series store did not take in time.",
            )?,
            scrapes: on.counters(
                "watchkeep_collector_scrapes_total",
                "Scrapes of instances' own metrics, by result (success, failure).",
                &["result"],
            )?,
            scrape_duration: on.seconds(
                "watchkeep_collector_scrape_seconds",
                "Duration of scrapes, reading the page included.",
            )?,
            scrapes_missed: on.counter(
                "watchkeep_collector_scrapes_missed_total",
                "Scrapes left out because the one before took too long.",
            )?,
            scrape_targets: on.gauge(
                "watchkeep_collector_scrape_targets",
                "Pages of metrics that this collector fetches.",
            )?,
            foreign: on.gauges(
                "watchkeep_collector_foreign_keys",
                "Keys under the prefixes of foreign registrations, by what they are: instance, invalid.",
                &["prefix", "state"],
            )?,
            remote_samples: on.counters(
                "watchkeep_collector_remote_write_samples_total",
                "Samples by receiver and result: sent, refused, retried, or dropped from a full queue.",
                &["receiver", "result"],
            )?,
            remote_queue: on.gauges(
                "watchkeep_collector_remote_write_queue_length",
                "Samples on disk that wait to be sent, by receiver.",
                &["receiver"],
            )?,
            remote_queue_bytes: on.gauges(
                "watchkeep_collector_remote_write_queue_bytes",
                "Size on disk of what waits to be sent, by receiver.",
                &["receiver"],
            )?,
            remote_lag: on.add(GaugeVec::new(
                Opts::new(
                    "watchkeep_collector_remote_write_lag_seconds",
                    "How long the oldest request has been waiting to be taken, by receiver; 0: none waits.",
                ),
                &["receiver"],
            ))?,
            remote_requests: on.counters(
                "watchkeep_collector_remote_write_requests_total",
                "Remote write requests received, by result: ok, refused, failed.",
                &["result"],
            )?,
            probe_requests: on.counters(
                "watchkeep_collector_probe_requests_total",
                "Requests for /probe, by result: success, failure, refused, busy.",
                &["result"],
            )?,
            series: SeriesMetrics::new(&on)?,
        })
    }

    /// The metrics of a target. They appear at once: to be called with the first result.
    /// Beyond `max` targets they have no series of their own here; the samples in the store have them all.
    pub(crate) fn target(
        &self,
        id: &TargetId,
        kind: &str,
        collector: &str,
        max: usize,
    ) -> TargetMetrics {
        let labels = [&*id.service, &id.instance, &id.check, collector];
        let is_listed = usize::try_from(self.listed.get()).is_ok_and(|listed| listed < max);
        let own = is_listed.then(|| {
            let duration = self.probe_duration.with_label_values(&[&id.service, &id.check]);
            (self.probe_success.with_label_values(&labels), duration)
        });
        let counted = if is_listed { &self.listed } else { &self.unlisted };
        counted.inc();
        TargetMetrics {
            own,
            counted: counted.clone(),
            good: self.probes.with_label_values(&[kind, "success"]),
            bad: self.probes.with_label_values(&[kind, "failure"]),
        }
    }

    /// What is under a prefix of foreign registrations.
    pub(crate) fn foreign(&self, prefix: &str, instances: usize, invalid: usize) {
        for (state, keys) in [("instance", instances), ("invalid", invalid)] {
            let keys = i64::try_from(keys).unwrap_or(i64::MAX);
            self.foreign.with_label_values(&[prefix, state]).set(keys);
        }
    }

    /// Counts a scrape.
    pub(crate) fn scraped(&self, good: bool, seconds: f64) {
        let result = if good { "success" } else { "failure" };
        self.scrapes.with_label_values(&[result]).inc();
        self.scrape_duration.observe(seconds);
    }

    /// Removes the metrics of a target that is gone; the histogram too, if it was the last of its service
    /// and check.
    pub(crate) fn forget(&self, id: &TargetId, collector: &str, last: bool) {
        // An error means that there is no such metric: it was never probed.
        let labels = [&*id.service, &id.instance, &id.check, collector];
        let _ = self.probe_success.remove_label_values(&labels);
        if last {
            let _ = self.probe_duration.remove_label_values(&[&id.service, &id.check]);
        }
    }

    /// The metrics of a receiver.
    pub(crate) fn receiver(&self, id: &str) -> ReceiverMetrics {
        let samples = |result| self.remote_samples.with_label_values(&[id, result]);
        ReceiverMetrics {
            queue: self.remote_queue.with_label_values(&[id]),
            queue_bytes: self.remote_queue_bytes.with_label_values(&[id]),
            lag: self.remote_lag.with_label_values(&[id]),
            sent: samples("sent"),
            refused: samples("refused"),
            retried: samples("retried"),
            dropped: samples("dropped"),
        }
    }

    /// Removes the metrics of a receiver that is gone.
    pub(crate) fn forget_receiver(&self, receiver: &str) {
        let _ = self.remote_queue.remove_label_values(&[receiver]);
        let _ = self.remote_queue_bytes.remove_label_values(&[receiver]);
        let _ = self.remote_lag.remove_label_values(&[receiver]);
        for result in ["sent", "refused", "retried", "dropped"] {
            let _ = self.remote_samples.remove_label_values(&[receiver, result]);
        }
    }
}

impl SeriesMetrics {
    fn new(on: &On<'_>) -> prometheus::Result<Self> {
        let errors = on.counters(
            "watchkeep_series_errors_total",
            "Operations that failed: append, flush, expire.",
            &["operation"],
        )?;
        for operation in ["append", "flush", "expire"] {
            errors.with_label_values(&[operation]);
        }
        Ok(Self {
            active: on.gauge("watchkeep_series_active", "Series in the store.")?,
            appended: on.counter(
                "watchkeep_series_samples_appended_total",
                "Samples that the store took.",
            )?,
            rejected: on.counters(
                "watchkeep_series_samples_rejected_total",
                "Samples left out: out_of_order, duplicate, too_old, too_new, series_max.",
                &["reason"],
            )?,
            disk_bytes: on.gauge("watchkeep_series_disk_bytes", "Size of the store on disk.")?,
            flush: on.seconds("watchkeep_series_flush_seconds", "Duration of flushes.")?,
            errors,
        })
    }
}

#[cfg(test)]
mod tests;
