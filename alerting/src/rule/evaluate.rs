//! Evaluating: a rule's step (pure), and a group's rules one after the other, each seeing what the ones before it
//! recorded. What asks and what writes comes in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    alert::{self, Active, ActiveAlerts},
    model::{Answered, Ask, Group, Labels, Measure, Rule, RuleKind, Sample},
    record, stale_marker,
};
use crate::template::{Functions, Site, TemplateSample, prometheus, with_now};

/// Takes samples.
pub trait Sink {
    /// Keeps them; a later question sees them.
    ///
    /// # Errors
    /// Why they are not kept, in words.
    fn write(&self, samples: Vec<Sample>) -> Result<(), String>;
}

/// What all rules of a node share.
#[derive(Clone)]
pub struct Environment {
    /// Answers expressions, those of templates too.
    pub ask: Arc<dyn Ask>,
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// `$externalURL`.
    pub site: Site,
    /// For groups without `query_offset`.
    pub query_offset: Duration,
}

impl Environment {
    /// The functions of templates that are rendered at `at_ms`.
    pub(super) fn functions(&self, at_ms: i64) -> Functions {
        let ask = Arc::clone(&self.ask);
        let functions = prometheus(&self.site, move |expr| {
            let rows = ask.instant(expr, at_ms)?;
            let sample = |row: Answered| TemplateSample {
                value: row.value.float().unwrap_or(f64::NAN),
                labels: row.labels,
            };
            Ok(rows.into_iter().map(sample).collect())
        });
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
        with_now(functions, at_ms as f64 / 1000.0)
    }
}

/// How a rule's last evaluation went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Health {
    /// There was none.
    #[default]
    Unknown,
    /// Well.
    Ok,
    /// Not.
    Err,
}

impl Health {
    /// `unknown`, `ok`, `err`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Err => "err",
        }
    }
}

/// What a rule remembers from one evaluation to the next.
#[derive(Debug, Clone, Default)]
pub struct RuleState {
    /// Active alerts by their labels.
    pub active: BTreeMap<Labels, Active>,
    /// The series of the last evaluation that went well.
    pub series: BTreeSet<Labels>,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it did not go well.
    pub last_error: Option<String>,
    /// When it was: milliseconds since 1970.
    pub evaluated_at_ms: Option<i64>,
    /// How long it took, where somebody measured.
    pub duration: Duration,
    /// The series it gave.
    pub samples: usize,
}

/// What one step of a rule came to.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// To be written, ends of vanished series among them.
    pub samples: Vec<Sample>,
    /// Labels of the alerts that ended with this step, having fired.
    pub resolved: BTreeSet<Labels>,
}

/// One step of a rule: `(state, answer, now) → (state, samples)`.
#[must_use]
pub fn step(
    rule: &Rule,
    mut state: RuleState,
    answer: Result<Vec<Answered>, String>,
    (now_ms, sample_ms): (i64, i64),
    limit: usize,
    environment: &Environment,
) -> (RuleState, Evaluation) {
    state.evaluated_at_ms = Some(now_ms);
    let fired = |active: &ActiveAlerts| -> BTreeSet<Labels> {
        let fired = active.iter().filter(|(_, alert)| alert.fired_at_ms.is_some());
        fired.map(|(labels, _)| labels.clone()).collect()
    };
    let mut resolved = BTreeSet::new();
    let outcome = answer.and_then(|rows| match &rule.kind {
        RuleKind::Record(record) => record::step(rule, record, rows, sample_ms, limit),
        RuleKind::Alert(alert) => {
            let active = std::mem::take(&mut state.active);
            let before = fired(&active);
            let stepped =
                alert::step(rule, alert, active, rows, (now_ms, sample_ms), limit, environment);
            match stepped {
                Ok(step) => {
                    (state.active, resolved) = (step.active, step.resolved);
                    Ok(step.samples)
                }
                Err((message, left)) => {
                    resolved = before.difference(&fired(&left)).cloned().collect();
                    state.active = left;
                    Err(message)
                }
            }
        }
    });
    match outcome {
        Ok(mut samples) => {
            let series: BTreeSet<Labels> = samples.iter().map(|s| s.labels.clone()).collect();
            state.samples = series.len();
            samples.extend(ends(state.series.difference(&series), sample_ms));
            state.series = series;
            (state.health, state.last_error) = (Health::Ok, None);
            (state, Evaluation { samples, resolved })
        }
        Err(message) => {
            (state.health, state.last_error) = (Health::Err, Some(message));
            (state, Evaluation { samples: Vec::new(), resolved })
        }
    }
}

/// The ends of series.
fn ends<'a>(series: impl Iterator<Item = &'a Labels>, at_ms: i64) -> Vec<Sample> {
    let end = |labels: &Labels| Sample {
        labels: labels.clone(),
        timestamp_ms: at_ms,
        value: Measure::Float(stale_marker()),
    };
    series.map(end).collect()
}

/// What a group remembers.
#[derive(Debug, Clone, Default)]
pub struct GroupState {
    /// By the rules' places in the group.
    pub rules: Vec<RuleState>,
    /// When the last evaluation was: milliseconds since 1970.
    pub evaluated_at_ms: Option<i64>,
}

impl GroupState {
    /// For a group that was never evaluated.
    #[must_use]
    pub fn new(group: &Group) -> Self {
        Self { rules: vec![RuleState::default(); group.rules.len()], evaluated_at_ms: None }
    }

    /// Writes the ends of all series, because the group goes.
    #[must_use]
    pub fn end(&self, at_ms: i64) -> Vec<Sample> {
        self.rules.iter().flat_map(|rule| ends(rule.series.iter(), at_ms)).collect()
    }
}

/// Evaluates one rule of a group at `now_ms`: asks, steps, writes. Answers with the labels of the alerts that were
/// resolved. A sample that cannot be written makes the rule's evaluation one that did not go well.
pub fn evaluate(
    group: &Group,
    at: usize,
    state: &mut GroupState,
    now_ms: i64,
    environment: &Environment,
    sink: &dyn Sink,
) -> BTreeSet<Labels> {
    let (Some(rule), Some(known)) = (group.rules.get(at), state.rules.get_mut(at)) else {
        return BTreeSet::new();
    };
    let offset = group.query_offset.unwrap_or(environment.query_offset);
    let sample_ms = now_ms - i64::try_from(offset.as_millis()).unwrap_or(0);
    let answer = environment.ask.instant(&rule.expr, sample_ms);
    let before = std::mem::take(known);
    let (mut after, evaluation) =
        step(rule, before, answer, (now_ms, sample_ms), group.limit, environment);
    if !evaluation.samples.is_empty()
        && let Err(message) = sink.write(evaluation.samples)
    {
        (after.health, after.last_error) = (Health::Err, Some(message));
    }
    *known = after;
    state.evaluated_at_ms = Some(now_ms);
    evaluation.resolved
}
