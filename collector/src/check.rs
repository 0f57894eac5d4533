//! One check that this collector probes: its runs, what it believes, and what becomes of a result.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::{Instrument, Span, debug_span, field::Empty, info, warn};
use watchkeep_catalog::{Opinion, Time, trace};

use crate::{
    engine::{Shared, timetable::Timetable},
    flap::Limits,
    metrics::TargetMetrics,
    opinion::{Belief, Seen, Thresholds},
    probe::{Outcome, Prober},
    samples::Series,
    target::Target,
};

/// A check, its timetable included.
pub(crate) struct Check {
    pub(crate) target: Arc<Target>,
    pub(crate) timetable: Timetable,
    shared: Arc<Shared>,
    /// The reason, when the check can never succeed.
    prober: Result<Arc<Prober>, String>,
    belief: Belief,
    /// Those under way, and those that ended before one that began earlier: results count in the order of their starts.
    runs: VecDeque<Run>,
    begun: u64,
    series: Series,
    /// Made with the first result.
    metrics: Option<TargetMetrics>,
}

struct Run {
    number: u64,
    task: AbortHandle,
    /// Only of one that waits for an earlier one.
    finished: Option<Box<Finished>>,
}

/// A probe that has ended.
pub(crate) struct Finished {
    /// The check's number.
    pub(crate) check: u64,
    /// The run's number.
    run: u64,
    /// How much later than due it began.
    lag: Duration,
    at: Time,
    outcome: Outcome,
    span: Span,
}

impl Check {
    pub(crate) fn new(target: Arc<Target>, shared: Arc<Shared>, now: Duration) -> Self {
        let collector = &shared.collector;
        let millis = Duration::from_millis;
        let edge = target.check.edge_interval_ms.map(millis);
        let timeout = millis(target.check.timeout_ms);
        let mut check = Self {
            timetable: Timetable::new(target.schedule(collector), edge, timeout, now),
            prober: Prober::new(&target, &shared.context).map(Arc::new),
            belief: Belief::default(),
            // Most never have more than one under way.
            runs: VecDeque::with_capacity(1),
            begun: 0,
            series: Series::new(&target.id, collector, target.check.interval_ms),
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

    /// Probes, as check `number`, if a run waits for it; its result comes out of `probes`.
    pub(crate) fn begin(&mut self, number: u64, probes: &mut JoinSet<Finished>) {
        let Some(due) = self.timetable.begin() else { return };
        let (epoch, prober, span) = (self.shared.epoch, self.prober.clone(), self.span());
        self.begun += 1;
        let run = self.begun;
        let task = probes.spawn(async move {
            let lag = epoch.elapsed().saturating_sub(due);
            let at = Utc::now();
            let outcome = match prober {
                Ok(prober) => prober.run().instrument(span.clone()).await,
                Err(reason) => Outcome::never(&reason),
            };
            Finished { check: number, run, lag, at, outcome, span }
        });
        self.runs.push_back(Run { number: run, task, finished: None });
    }

    /// Takes a result in: it counts as soon as all that began before it have ended.
    pub(crate) fn finished(&mut self, finished: Finished) {
        match self.runs.iter().position(|run| run.number == finished.run) {
            Some(0) => {
                self.runs.pop_front();
                self.count(&finished);
            }
            Some(at) => self.runs[at].finished = Some(Box::new(finished)),
            None => {}
        }
        self.settle();
    }

    /// The task of a run broke off, which is a fault of the probe's code; true when it was one of this check.
    pub(crate) fn broke_off(&mut self, task: Id, cause: &str) -> bool {
        let Some(at) = self.runs.iter().position(|run| run.task.id() == task) else { return false };
        let run = &mut self.runs[at];
        run.finished = Some(Box::new(Finished {
            check: 0,
            run: run.number,
            lag: Duration::ZERO,
            at: Utc::now(),
            outcome: Outcome::never(&format!("the probe broke off: {cause}")),
            span: Span::none(),
        }));
        self.settle();
        true
    }

    fn settle(&mut self) {
        while self.runs.front().is_some_and(|run| run.finished.is_some()) {
            if let Some(finished) = self.runs.pop_front().and_then(|run| run.finished) {
                self.count(&finished);
            }
        }
    }

    fn count(&mut self, finished: &Finished) {
        let Finished { lag, at, outcome, span, .. } = finished;
        self.shared.metrics.lag.observe(lag.as_secs_f64());
        // The opinion first: somebody may be waiting to be failed over.
        let seen = Seen { good: outcome.good, at: *at, reason: &outcome.reason };
        let flapped = self.belief.is_flapping();
        let (belief, opinion) = self.belief.after(seen, self.thresholds(), Utc::now());
        self.belief = belief;
        self.shared.metrics.flapping.add(i64::from(belief.is_flapping()) - i64::from(flapped));
        if let Some(opinion) = opinion {
            self.publish(opinion, span);
        }
        if !span.is_disabled() {
            record(span, outcome);
        }
        self.account(outcome, at.timestamp_millis());
    }

    /// Whether the opinion may be about to change.
    pub(crate) fn is_on_edge(&self) -> bool {
        self.belief.is_on_edge(self.thresholds())
    }

    fn thresholds(&self) -> Thresholds {
        let check = &self.target.check;
        let flap = check
            .flap
            .map(|flap| Limits { low_percent: flap.low_percent, high_percent: flap.high_percent });
        Thresholds { rise: check.rise, fall: check.fall, flap }
    }

    fn publish(&self, mut opinion: Opinion, span: &Span) {
        let id = &self.target.id;
        let status = opinion.status.as_str();
        self.shared.metrics.opinion_changes.with_label_values(&[status]).inc();
        let write = debug_span!(parent: span, "opinion", service = id.service, instance = id.instance, status);
        opinion.trace_parent = trace::trace_parent(&write);
        // A record of strings and times always has a JSON form.
        // It is kept as long as the check, so with no more room than it needs.
        let text = serde_json::to_vec(&opinion).map(Vec::into_boxed_slice);
        let value = text.map(Bytes::from).unwrap_or_default();
        let (service, instance, reason) = (&id.service, &id.instance, &opinion.reason);
        write.in_scope(|| info!(service, instance, check = id.check, status, reason, "opinion"));
        self.shared.publisher.put(&id.opinion_key(&self.shared.collector), value, write);
    }

    fn account(&mut self, outcome: &Outcome, started_ms: i64) {
        let seconds = outcome.duration.as_secs_f64();
        self.shared.sink.push(self.series.samples(outcome, self.shared.facts_max, started_ms));
        let metrics = self.metrics.get_or_insert_with(|| {
            let (kind, collector) = (self.target.check.kind_name(), &self.shared.collector);
            let max = self.shared.target_metrics_max;
            self.shared.metrics.target(&self.target.id, kind, collector, max)
        });
        metrics.probed(outcome.good, seconds);
    }

    fn span(&self) -> Span {
        let id = &self.target.id;
        debug_span!(
            "probe",
            service = id.service,
            instance = id.instance,
            check = id.check,
            kind = self.target.check.kind_name(),
            // Such a probe is traced whatever the share of traces that are kept.
            edge = self.is_on_edge(),
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

impl Drop for Check {
    /// Its probes end with it; what they come to nobody hears.
    fn drop(&mut self) {
        self.runs.iter().for_each(|run| run.task.abort());
        self.shared.metrics.flapping.sub(i64::from(self.belief.is_flapping()));
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
