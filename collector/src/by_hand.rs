//! One probe, now, with everything that it tells: for `watchkeep probe`.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use watchkeep_catalog::Check;

use crate::{
    CollectorConfig,
    blackbox::Module,
    probe::{Context, Files, Outcome, Prober, Rooms},
};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether the probe succeeded.
    pub good: bool,
    /// In words: `status 200`, or what went wrong.
    pub reason: String,
    /// From beginning to end, in milliseconds.
    pub duration_ms: f64,
    /// Each phase, in order, in milliseconds; zero: it was not reached.
    pub phases: Vec<PhaseTook>,
    /// What was measured besides.
    pub facts: Vec<Told>,
    /// What was done, and when.
    pub steps: Vec<Step>,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseTook {
    /// `resolve`, `connect`, `tls`, `processing` or `transfer`.
    pub phase: &'static str,
    /// Milliseconds.
    pub took_ms: f64,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// A metric's name, as blackbox_exporter has it where it has it, with its labels.
    pub name: String,
    /// The value.
    pub value: f64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Milliseconds after the beginning.
    pub at_ms: f64,
    /// What happened.
    pub what: String,
}

/// Probes by hand.
#[derive(Debug)]
pub struct ByHand(Arc<Context>);

impl ByHand {
    /// Under the collector's settings of which addresses may be probed. Who probes by hand may name any file.
    ///
    /// # Errors
    /// In words, when a range is none or TLS cannot be set up.
    pub fn new(config: &CollectorConfig) -> Result<Self, String> {
        let policy = config.policy().map_err(|(field, message)| format!("{field}: {message}"))?;
        let rooms = Rooms { scripts: config.scripts.dir.clone(), ..Rooms::default() };
        let context = Context::within(policy, Files::Any, rooms);
        Ok(Self(context.map_err(|error| error.to_string())?))
    }

    /// Runs `check` against `address`; it may name another port.
    ///
    /// # Errors
    /// In words, when the check can never succeed.
    pub async fn check(&self, address: &str, port: u16, check: &Check) -> Result<Report, String> {
        check.validate().map_err(|error| error.to_string())?;
        let prober = Prober::of(address, port, check, &self.0)?;
        Ok(report(&prober.run_by_hand().await))
    }

    /// Runs a module of blackbox_exporter against `target`.
    ///
    /// # Errors
    /// In words, when the target is none, or the module can never succeed.
    pub async fn module(
        &self,
        module: &Module,
        target: &str,
        hostname: Option<&str>,
        timeout: Duration,
    ) -> Result<Report, String> {
        let timeout = module.timeout.map_or(timeout, |own| own.0);
        let aimed = module.aim(target, hostname, timeout)?;
        self.check(&aimed.address, aimed.port, &aimed.check).await
    }
}

fn report(outcome: &Outcome) -> Report {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let phases = &outcome.phases;
    let phases = [
        ("resolve", phases.resolve),
        ("connect", phases.connect),
        ("tls", phases.tls),
        ("processing", phases.processing),
        ("transfer", phases.transfer),
    ];
    let facts = outcome.facts.iter().map(|fact| {
        let labels: Vec<_> = fact.labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        Told { name: format!("{}{labels}", fact.name), value: fact.value }
    });
    let steps = outcome.notes.iter().map(|(at, what)| Step { at_ms: ms(*at), what: what.clone() });
    Report {
        good: outcome.good,
        reason: outcome.reason.clone(),
        duration_ms: ms(outcome.duration),
        phases: phases.map(|(phase, took)| PhaseTook { phase, took_ms: ms(took) }).into(),
        facts: facts.collect(),
        steps: steps.collect(),
    }
}
