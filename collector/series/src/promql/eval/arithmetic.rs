//! Operators on two values.

use std::sync::Arc;

use super::{Evaluator, remark};
use crate::{
    Histogram, ResetHint,
    promql::{
        SampleValue,
        plan::{BinaryOp, Position},
        row::Cell,
    },
};

/// What an operation on two values gives.
pub(super) struct Outcome {
    /// The result of arithmetic; of a comparison its left side.
    pub(super) value: Option<SampleValue>,
    /// Whether a comparison holds (true for arithmetic); none: the types do not go together.
    pub(super) kept: Option<bool>,
    pub(super) remarks: Vec<Remark>,
}

/// What there is to say about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remark {
    /// The operator is not defined on these types.
    Types(&'static str, &'static str),
    /// One has exponential and the other custom buckets.
    Layouts,
    /// One says that there was a counter reset, the other that there was none.
    ResetCollision(&'static str),
    /// Custom buckets differed.
    Reconciled(&'static str),
}

impl Outcome {
    fn of(value: SampleValue) -> Self {
        Self { value: Some(value), kept: Some(true), remarks: Vec::new() }
    }

    fn types(lhs: &'static str, rhs: &'static str) -> Self {
        Self { value: None, kept: None, remarks: vec![Remark::Types(lhs, rhs)] }
    }

    /// Adds its remarks to the evaluation's notes.
    pub(super) fn note(&self, evaluator: &Evaluator<'_>, op: BinaryOp, position: Position) {
        for remark in &self.remarks {
            match remark {
                Remark::Types(lhs, rhs) => {
                    evaluator.info(remark::types(op.sign(), lhs, rhs, position));
                }
                Remark::Layouts => evaluator.warn(remark::layouts(op.sign(), position)),
                Remark::ResetCollision(during) => {
                    evaluator.warn(remark::reset_collision(during, position));
                }
                Remark::Reconciled(during) => evaluator.info(remark::reconciled(during, position)),
            }
        }
    }
}

/// Applies an operator that is no set operator.
pub(super) fn apply(op: BinaryOp, lhs: Cell<'_>, rhs: Cell<'_>) -> Outcome {
    match (lhs, rhs) {
        (Cell::Float(_), Cell::Float(_)) if op.is_trim() => Outcome::types("float", "float"),
        (Cell::Float(a), Cell::Float(b)) => {
            let (value, kept) = floats(op, a, b);
            let value = Some(SampleValue::Float(value));
            Outcome { value, kept: Some(kept), remarks: Vec::new() }
        }
        (Cell::Absent, _) | (_, Cell::Absent) => {
            Outcome { value: None, kept: None, remarks: Vec::new() }
        }
        (Cell::Histogram(a), Cell::Float(b)) => match op {
            BinaryOp::Mul => changed(a, |h| h.mul(b)),
            BinaryOp::Div => changed(a, |h| h.div(b)),
            BinaryOp::TrimUpper => trimmed(a.trim_above(b)),
            BinaryOp::TrimLower => trimmed(a.trim_below(b)),
            _ => Outcome::types("histogram", "float"),
        },
        (Cell::Float(a), Cell::Histogram(b)) => match op {
            BinaryOp::Mul => changed(b, |h| h.mul(a)),
            _ => Outcome::types("float", "histogram"),
        },
        (Cell::Histogram(a), Cell::Histogram(b)) => match op {
            BinaryOp::Equal | BinaryOp::NotEqual => {
                let kept = a.equals(b) == (op == BinaryOp::Equal);
                Outcome { kept: Some(kept), ..Outcome::of(SampleValue::Histogram(a.clone())) }
            }
            BinaryOp::Add => combined(a, b, false),
            BinaryOp::Sub => combined(a, b, true),
            _ => Outcome::types("histogram", "histogram"),
        },
    }
}

fn changed(histogram: &Histogram, change: impl FnOnce(&mut Histogram)) -> Outcome {
    let mut histogram = histogram.clone();
    change(&mut histogram);
    Outcome::of(SampleValue::Histogram(Arc::new(histogram.compact(0))))
}

fn trimmed(histogram: Histogram) -> Outcome {
    Outcome::of(SampleValue::Histogram(Arc::new(histogram)))
}

fn combined(a: &Histogram, b: &Histogram, minus: bool) -> Outcome {
    let during = if minus { "subtraction" } else { "addition" };
    let mut sum = a.clone();
    let Ok(combined) = (if minus { sum.sub(b) } else { sum.add(b) }) else {
        return Outcome { value: None, kept: None, remarks: vec![Remark::Layouts] };
    };
    if minus {
        sum.reset_hint = ResetHint::Gauge;
    }
    let mut remarks = Vec::new();
    if combined.reset_collision {
        remarks.push(Remark::ResetCollision(during));
    }
    if combined.bounds_reconciled {
        remarks.push(Remark::Reconciled(during));
    }
    Outcome { remarks, ..Outcome::of(SampleValue::Histogram(Arc::new(sum.compact(0)))) }
}

/// The result of arithmetic and true, or the left side and whether the comparison holds.
pub(super) fn floats(op: BinaryOp, a: f64, b: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (a + b, true),
        BinaryOp::Sub => (a - b, true),
        BinaryOp::Mul => (a * b, true),
        BinaryOp::Div => (a / b, true),
        BinaryOp::Mod => (a % b, true),
        BinaryOp::Pow => (a.powf(b), true),
        BinaryOp::Atan2 => (a.atan2(b), true),
        BinaryOp::Equal => (a, a == b),
        BinaryOp::NotEqual => (a, a != b),
        BinaryOp::Greater => (a, a > b),
        BinaryOp::Less => (a, a < b),
        BinaryOp::GreaterEqual => (a, a >= b),
        BinaryOp::LessEqual => (a, a <= b),
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => (a, true),
    }
}

/// Between scalars a comparison gives 1 or 0.
pub(super) fn scalars(op: BinaryOp, a: f64, b: f64) -> f64 {
    let (value, kept) = floats(op, a, b);
    if op.is_comparison() { f64::from(u8::from(kept)) } else { value }
}

pub(super) fn negate(cell: Cell<'_>) -> SampleValue {
    match cell {
        Cell::Float(value) => SampleValue::Float(-value),
        Cell::Histogram(histogram) => {
            let mut histogram = histogram.as_ref().clone();
            histogram.mul(-1.0);
            SampleValue::Histogram(Arc::new(histogram))
        }
        Cell::Absent => SampleValue::Float(f64::NAN),
    }
}

pub(super) fn owned(cell: Cell<'_>) -> Option<SampleValue> {
    match cell {
        Cell::Absent => None,
        Cell::Float(value) => Some(SampleValue::Float(value)),
        Cell::Histogram(histogram) => Some(SampleValue::Histogram(Arc::clone(histogram))),
    }
}

/// NaN wins, as in Go.
pub(super) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// NaN wins, as in Go.
pub(super) fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}
