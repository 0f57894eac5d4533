//! PromQL, as Prometheus 3 understands it: a text becomes a plan, and a plan is evaluated over series.
//!
//! Pure: no async, no clock, no threads. What an evaluation may read and hold is bounded, and its caller can stop it.
//!
//! ```text
//! text ─parse/─▶ plan ─eval/─▶ rows (one series over all steps) ─▶ answer
//!                               ▲ streams: a sum over 100,000 series holds only its groups
//! ```
//!
//! Every series is evaluated over all steps at once, windows slide, and labels are hashed once per series. Names
//! are dropped when the query ends, not when a function would drop them (Prometheus's delayed name removal).

mod error;
mod eval;
mod functions;
mod kahan;
mod memory;
pub mod notation;
mod notes;
mod parse;
mod plan;
mod row;

use std::sync::Arc;

pub use self::{
    error::{EvalError, ParseError},
    memory::MemorySeries,
    parse::{Expr, ExprKind},
};
use crate::{Histogram, Labels, Points, Queryable};

/// Most steps of a range query, as in Prometheus: the first one, and 11,000 from one to the next.
pub const STEPS_MAX: u64 = 11_001;
/// Times beyond these milliseconds mean nothing.
const TIME_MS_MAX: i64 = i64::MAX / 4;

/// How queries are evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// How far back an instant selector looks for a sample, in milliseconds.
    pub lookback_ms: i64,
    /// Most samples that one query may read, and most values that it may hold.
    pub samples_max: usize,
    /// Most steps of a range query.
    pub steps_max: u64,
    /// Step of a subquery that names none, in milliseconds.
    pub subquery_step_ms: i64,
    /// Whether experimental functions and operators may be used.
    pub experimental: bool,
}

impl Default for EngineOptions {
    /// 5 minutes, 50 million, 11,001, 1 minute, no.
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            samples_max: 50_000_000,
            steps_max: STEPS_MAX,
            subquery_step_ms: 60_000,
            experimental: false,
        }
    }
}

/// A float or a native histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A histogram.
    Histogram(Arc<Histogram>),
}

/// One series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// The time of the evaluation.
    pub timestamp_ms: i64,
    /// Its value.
    pub value: SampleValue,
}

/// What an expression evaluates to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Scalar {
        /// The time of the evaluation.
        timestamp_ms: i64,
        /// The number.
        value: f64,
    },
    /// A text.
    String {
        /// The time of the evaluation.
        timestamp_ms: i64,
        /// The text.
        value: String,
    },
    /// Series at one time, in the order that the expression gives them.
    Vector(Vec<VectorSample>),
    /// Series over time, sorted by labels.
    Matrix(Vec<Points>),
}

/// An evaluation's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Why it may be wrong.
    pub warnings: Vec<String>,
    /// Why it may not be what was meant.
    pub infos: Vec<String>,
    /// Samples that were read for it.
    pub samples_read: u64,
}

/// Evaluates expressions; holds nothing but its options.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine with these options.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates at one time. `stop` is asked often, at least once per series; once it says true, the evaluation ends.
    ///
    /// # Errors
    /// When a limit is reached, `stop` says so, the series cannot be read, or the expression has no value on them.
    pub fn instant(
        &self,
        source: &dyn Queryable,
        expr: &Expr,
        at_ms: i64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Answer, EvalError> {
        self.allowed(expr)?;
        in_time(at_ms, at_ms)?;
        let steps = row::Steps { start_ms: at_ms, step_ms: 1, count: 1 };
        let computed = computed(expr, 0, 0)?;
        let plan = computed.as_ref().map_or(&expr.plan, |expr| &expr.plan);
        eval::Evaluator::new(source, &self.options, stop, steps, 0).instant(plan)
    }

    /// Evaluates at every step from `from_ms` to `to_ms`, both inclusive.
    ///
    /// # Errors
    /// As [`Self::instant`], and when the range makes no sense or has too many steps.
    pub fn range(
        &self,
        source: &dyn Queryable,
        expr: &Expr,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Answer, EvalError> {
        self.allowed(expr)?;
        in_time(from_ms, to_ms)?;
        if step_ms <= 0 {
            return Err(EvalError::BadRange("the step of a range query must be positive"));
        }
        if to_ms < from_ms {
            return Err(EvalError::BadRange("a range query ends before it starts"));
        }
        if matches!(expr.kind(), ExprKind::Matrix | ExprKind::String) {
            return Err(EvalError::BadRange(
                "invalid expression type for range query, must be Scalar or instant Vector",
            ));
        }
        let steps = to_ms.abs_diff(from_ms) / step_ms.unsigned_abs() + 1;
        if steps > self.options.steps_max {
            return Err(EvalError::StepsMax { steps, max: self.options.steps_max });
        }
        let count = usize::try_from(steps).unwrap_or(usize::MAX);
        let grid = row::Steps { start_ms: from_ms, step_ms, count };
        let mut evaluator = eval::Evaluator::new(source, &self.options, stop, grid, step_ms);
        evaluator.end_ms = to_ms;
        let computed = computed(expr, step_ms, to_ms - from_ms)?;
        evaluator.range(computed.as_ref().map_or(&expr.plan, |expr| &expr.plan))
    }

    fn allowed(&self, expr: &Expr) -> Result<(), EvalError> {
        match expr.experimental() {
            Some(name) if !self.options.experimental => {
                Err(EvalError::Experimental(name.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

fn computed(expr: &Expr, step_ms: i64, range_ms: i64) -> Result<Option<Expr>, EvalError> {
    expr.computed(step_ms, range_ms).map_err(|e| error::execution(e.message))
}

fn in_time(from_ms: i64, to_ms: i64) -> Result<(), EvalError> {
    let fine = |ms: i64| (-TIME_MS_MAX..=TIME_MS_MAX).contains(&ms);
    if fine(from_ms) && fine(to_ms) {
        Ok(())
    } else {
        Err(EvalError::BadRange("the time of the query is out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    #[test]
    fn selectors_and_arithmetic() -> Result<(), Box<dyn std::error::Error>> {
        let mut memory = MemorySeries::new();
        for (service, value) in [("web", 1.0), ("db", 2.0)] {
            memory.insert(Points {
                labels: Labels::new([("__name__", "up"), ("service", service)]),
                floats: vec![Sample { timestamp_ms: 1_000, value }],
                ..Points::default()
            });
        }
        let engine = Engine::default();
        for (text, expected) in [
            ("up", vec![r#"up{service="db"} 2"#, r#"up{service="web"} 1"#]),
            ("up{service=\"web\"} * 2 + 1", vec![r#"{service="web"} 3"#]),
            ("2 > up", vec![r#"up{service="web"} 1"#]),
            ("-up > bool -2", vec![r#"{service="db"} 0"#, r#"{service="web"} 1"#]),
            ("up @ 0", vec![]),
            // Of two matches of one group, one at most is kept.
            ("up < ignoring (service) (0 * (up{service=\"db\"}))", vec![]),
            ("up < ignoring (service) up{service=\"db\"}", vec!["up{} 1"]),
            ("up offset -1s @ 0.5", vec![r#"up{service="db"} 2"#, r#"up{service="web"} 1"#]),
        ] {
            let answer = engine.instant(&memory, &Expr::parse(text)?, 2_000, &|| false)?;
            let Value::Vector(samples) = answer.value else { return Err(text.into()) };
            let found: Vec<String> = samples
                .iter()
                .map(|s| match &s.value {
                    SampleValue::Float(value) => format!("{} {value}", s.labels),
                    SampleValue::Histogram(_) => format!("{} histogram", s.labels),
                })
                .collect();
            assert_eq!(found, expected, "{text}");
        }
        let stopped = engine.instant(&memory, &Expr::parse("up")?, 2_000, &|| true);
        assert!(matches!(stopped, Err(EvalError::Stopped)));
        Ok(())
    }
}
