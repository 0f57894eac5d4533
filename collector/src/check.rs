//! The task of one target: probe on schedule, form an opinion, hand over the samples.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tracing::{Instrument, Span, field::Empty, info, info_span, warn};
use watchkeep_catalog::{Opinion, trace};

use crate::{
    metrics::{Metrics, TargetMetrics},
    opinion::{Belief, Seen, Thresholds},
    probe::{Context, Outcome, Prober},
    publish::Publisher,
    samples::{Series, Sink},
    target::Target,
};

/// What all checks of a collector share.
pub(crate) struct Shared {
    pub(crate) collector: String,
    /// What schedules count from.
    pub(crate) epoch: Instant,
    pub(crate) permits: Semaphore,
    pub(crate) context: Arc<Context>,
    pub(crate) publisher: Publisher,
    /// Most facts of a probe that become samples.
    pub(crate) facts_max: usize,
    pub(crate) sink: Sink,
    pub(crate) metrics: Metrics,
}

/// Probes `target` for ever. Publishes only between two awaits: once it is aborted and joined, it is silent.
pub(crate) async fn run(target: Target, shared: Arc<Shared>) {
    let mut check = Running::new(target, shared);
    let schedule = check.target.schedule(&check.shared.collector);
    let epoch = check.shared.epoch;
    let mut due = schedule.first(epoch.elapsed());
    loop {
        sleep_until(epoch + due).await;
        check.probe(due).await;
        let (next, missed) = schedule.next(due, epoch.elapsed());
        check.shared.metrics.missed_runs.inc_by(missed);
        due = next;
    }
}

struct Running {
    target: Target,
    shared: Arc<Shared>,
    /// The reason, when the check can never succeed.
    prober: Result<Prober, String>,
    belief: Belief,
    opinion_key: String,
    series: Series,
    /// Made with the first result.
    metrics: Option<TargetMetrics>,
}

impl Running {
    fn new(target: Target, shared: Arc<Shared>) -> Self {
        let collector = &shared.collector;
        let mut check = Self {
            prober: Prober::new(&target, &shared.context),
            belief: Belief::default(),
            opinion_key: target.id.opinion_key(collector),
            series: Series::new(&target.id, collector),
            metrics: None,
            target,
            shared,
        };
        if let Err(reason) = &check.prober {
            let id = &check.target.id;
            let (service, instance) = (&id.service, &id.instance);
            warn!(service, instance, check = id.check, reason, "the check can never succeed");
            let (belief, opinion) = Belief::broken(reason, Utc::now());
            check.belief = belief;
            check.publish(opinion, &Span::none());
        }
        check
    }

    async fn probe(&mut self, due: Duration) {
        let shared = self.shared.clone();
        // Never closed.
        let Ok(permit) = shared.permits.acquire().await else { return };
        let lag = shared.epoch.elapsed().saturating_sub(due);
        shared.metrics.lag.observe(lag.as_secs_f64());
        let started = Utc::now();
        let span = self.span();
        let outcome = match &self.prober {
            Ok(prober) => prober.run().instrument(span.clone()).await,
            Err(reason) => Outcome::never(reason),
        };
        drop(permit);
        // The opinion first: somebody may be waiting to be failed over.
        let seen = Seen { good: outcome.good, at: started, reason: &outcome.reason };
        let check = &self.target.check;
        let thresholds = Thresholds { rise: check.rise, fall: check.fall };
        let (belief, opinion) = self.belief.after(seen, thresholds, Utc::now());
        self.belief = belief;
        if let Some(opinion) = opinion {
            self.publish(opinion, &span);
        }
        record(&span, &outcome);
        self.account(&outcome, started.timestamp_millis());
    }

    fn publish(&self, mut opinion: Opinion, span: &Span) {
        let id = &self.target.id;
        opinion.trace_parent = trace::trace_parent(span);
        let status = opinion.status.as_str();
        self.shared.metrics.opinion_changes.with_label_values(&[status]).inc();
        // A record of strings and times always has a JSON form.
        let value = serde_json::to_vec(&opinion).map(Bytes::from).unwrap_or_default();
        let write = info_span!(parent: span, "publish opinion", status);
        self.shared.publisher.put(&self.opinion_key, value, write);
        let (service, instance, reason) = (&id.service, &id.instance, &opinion.reason);
        info!(service, instance, check = id.check, status, reason, "opinion");
    }

    fn account(&mut self, outcome: &Outcome, started_ms: i64) {
        let seconds = outcome.duration.as_secs_f64();
        self.shared.sink.push(self.series.samples(outcome, self.shared.facts_max, started_ms));
        let metrics = self.metrics.get_or_insert_with(|| {
            let (kind, collector) = (self.target.check.kind_name(), &self.shared.collector);
            self.shared.metrics.target(&self.target.id, kind, collector)
        });
        metrics.probed(outcome.good, seconds);
    }

    fn span(&self) -> Span {
        let id = &self.target.id;
        info_span!(
            "probe",
            service = id.service,
            instance = id.instance,
            check = id.check,
            kind = self.target.check.kind_name(),
            success = Empty,
            reason = Empty,
            resolve_ms = Empty,
            connect_ms = Empty,
            tls_ms = Empty,
            processing_ms = Empty,
            transfer_ms = Empty,
        )
    }
}

fn record(span: &Span, outcome: &Outcome) {
    span.record("success", outcome.good).record("reason", outcome.reason.as_str());
    let phases = &outcome.phases;
    for (name, phase) in [
        ("resolve_ms", phases.resolve),
        ("connect_ms", phases.connect),
        ("tls_ms", phases.tls),
        ("processing_ms", phases.processing),
        ("transfer_ms", phases.transfer),
    ] {
        span.record(name, phase.as_secs_f64() * 1e3);
    }
}
