//! Evaluation of a plan. Rows are pushed into a sink as they come, so that who only sums them need not hold them.

mod accumulate;
mod aggregate;
mod answer;
mod arithmetic;
mod call;
mod extended;
mod grouping;
mod histograms;
mod info;
mod labels;
mod matching;
mod matrix;
mod over_time;
mod ranked;
pub(crate) mod remark;
mod select;

use std::cell::{Cell as Counter, RefCell};

pub(crate) use self::matrix::{Cursor, Series, Window};
use super::{
    EngineOptions, EvalError, SampleValue,
    error::execution,
    functions::Function,
    notes::Notes,
    plan::{At, Binary, Call, Ends, Kind, Node, What, When},
    row::{Row, Steps},
};
use crate::Queryable;

/// Takes the rows of an expression, one after the other; may take their buffers.
pub(crate) type Sink<'s> = dyn FnMut(&mut Row) -> Result<(), EvalError> + 's;

/// One evaluation.
pub(crate) struct Evaluator<'a> {
    source: &'a dyn Queryable,
    options: &'a EngineOptions,
    stop: &'a dyn Fn() -> bool,
    steps: Steps,
    /// Ends of the whole query: what `start()` and `end()` mean.
    start_ms: i64,
    pub(crate) end_ms: i64,
    /// The step of the whole query; zero for an instant one.
    step_ms: i64,
    notes: RefCell<Notes>,
    read: Counter<usize>,
    held: Counter<usize>,
    /// Whether of the histograms that are read only count and sum are asked.
    parts_only: Counter<bool>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        source: &'a dyn Queryable,
        options: &'a EngineOptions,
        stop: &'a dyn Fn() -> bool,
        steps: Steps,
        step_ms: i64,
    ) -> Self {
        Self {
            source,
            options,
            stop,
            steps,
            start_ms: steps.start_ms,
            end_ms: steps.end_ms(),
            step_ms,
            notes: RefCell::default(),
            read: Counter::new(0),
            held: Counter::new(0),
            parts_only: Counter::new(false),
        }
    }

    /// The time that a selector means at a step.
    fn time(&self, when: When, step_ms: i64) -> i64 {
        let base = match when.at {
            At::Step => step_ms,
            At::Start => self.start_ms,
            At::End => self.end_ms,
            At::Time(time) => time,
        };
        base.saturating_sub(when.offset_ms)
    }

    fn check_stop(&self) -> Result<(), EvalError> {
        if (self.stop)() { Err(EvalError::Stopped) } else { Ok(()) }
    }

    /// Counts values that stay in memory.
    fn hold(&self, values: usize) -> Result<(), EvalError> {
        let held = self.held.get().saturating_add(values);
        self.held.set(held);
        if held > self.options.samples_max {
            return Err(EvalError::SamplesMax(self.options.samples_max));
        }
        Ok(())
    }

    fn release(&self, values: usize) {
        self.held.set(self.held.get().saturating_sub(values));
    }

    pub(crate) fn warn(&self, message: String) {
        self.notes.borrow_mut().warn(message);
    }

    pub(crate) fn info(&self, message: String) {
        self.notes.borrow_mut().info(message);
    }

    /// Evaluates with `parts_only` set.
    fn asking<T>(&self, parts_only: bool, evaluate: impl FnOnce() -> T) -> T {
        let before = self.parts_only.replace(parts_only);
        let result = evaluate();
        self.parts_only.set(before);
        result
    }

    /// Pushes the rows of an instant vector.
    fn rows(&self, node: &Node, steps: Steps, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        match &node.what {
            What::Paren(inner) => self.rows(inner, steps, sink),
            What::Vector(selector) if selector.ends == Ends::Smoothed => {
                self.select_smoothed(selector, node.position, steps, sink)
            }
            What::Vector(selector) => self.select(selector, steps, sink),
            What::Negate(inner) => self.rows(inner, steps, &mut |row| {
                row.drop_name = true;
                row.map(|_, cell| Some(arithmetic::negate(cell)));
                sink(row)
            }),
            What::Call(call) => {
                let parts = call.function.asks_parts().unwrap_or(self.parts_only.get());
                self.asking(parts, || self.call(call, steps, sink))
            }
            What::Binary(binary) => {
                let parts = self.parts_only.get() && !binary.op.is_trim();
                self.asking(parts, || self.binary(binary, steps, sink))
            }
            What::Aggregate(aggregate) => self.aggregate(aggregate, steps, sink),
            What::Number(_) | What::Text(_) | What::Range(..) | What::Subquery(_) => {
                Err(execution("expected an instant vector"))
            }
        }
    }

    /// The rows of an instant vector, all of them; give their number back to `release` afterwards.
    fn collect(&self, node: &Node, steps: Steps) -> Result<Vec<Row>, EvalError> {
        let mut rows = Vec::new();
        self.rows(node, steps, &mut |row| {
            self.hold(steps.count)?;
            rows.push(std::mem::take(row));
            Ok(())
        })?;
        Ok(rows)
    }

    /// A scalar at every step.
    fn scalars(&self, node: &Node, steps: Steps) -> Result<Vec<f64>, EvalError> {
        match &node.what {
            What::Paren(inner) => self.scalars(inner, steps),
            What::Number(value) => Ok(vec![*value; steps.count]),
            What::Negate(inner) => {
                Ok(self.scalars(inner, steps)?.into_iter().map(|v| -v).collect())
            }
            What::Call(call) => self.scalar_call(call, steps),
            What::Binary(binary) => self.scalar_binary(binary, steps),
            _ => Err(execution("expected a scalar")),
        }
    }

    fn scalar_call(&self, call: &Call, steps: Steps) -> Result<Vec<f64>, EvalError> {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let constant = |value: f64| Ok(vec![value; steps.count]);
        let both = |f: fn(f64, f64) -> f64| {
            let (a, b) = (self.scalars(&call.args[0], steps)?, self.scalars(&call.args[1], steps)?);
            Ok(a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect())
        };
        match call.function {
            Function::Time => Ok(steps.times().map(seconds).collect()),
            Function::Pi => constant(std::f64::consts::PI),
            Function::Start => constant(seconds(self.start_ms)),
            Function::End => constant(seconds(self.end_ms)),
            Function::Range => constant(seconds(self.end_ms.saturating_sub(self.start_ms))),
            Function::Step => constant(seconds(self.step_ms)),
            Function::MaxOf => both(arithmetic::max),
            Function::MinOf => both(arithmetic::min),
            Function::Scalar => self.only_value(&call.args[0], steps),
            _ => Err(execution("expected a scalar")),
        }
    }

    /// The value of the only series with a float, NaN where there are none or several.
    fn only_value(&self, node: &Node, steps: Steps) -> Result<Vec<f64>, EvalError> {
        let mut values = vec![(f64::NAN, 0_u32); steps.count];
        self.rows(node, steps, &mut |row| {
            for (step, (value, count)) in values.iter_mut().enumerate() {
                if let super::row::Cell::Float(float) = row.cell(step) {
                    *value = float;
                    *count += 1;
                }
            }
            Ok(())
        })?;
        Ok(values.into_iter().map(|(v, count)| if count == 1 { v } else { f64::NAN }).collect())
    }

    fn scalar_binary(&self, binary: &Binary, steps: Steps) -> Result<Vec<f64>, EvalError> {
        let lhs = self.scalars(&binary.lhs, steps)?;
        let rhs = self.scalars(&binary.rhs, steps)?;
        Ok(lhs.into_iter().zip(rhs).map(|(a, b)| arithmetic::scalars(binary.op, a, b)).collect())
    }

    fn binary(&self, binary: &Binary, steps: Steps, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        match (binary.lhs.kind(), binary.rhs.kind()) {
            (Kind::Vector, Kind::Scalar) => self.with_scalar(binary, false, steps, sink),
            (Kind::Scalar, Kind::Vector) => self.with_scalar(binary, true, steps, sink),
            _ if binary.op.is_set() => self.set_operation(binary, steps, sink),
            _ => self.between(binary, steps, sink),
        }
    }

    /// An operation between a vector and a scalar; `swapped`: the scalar is on the left.
    fn with_scalar(
        &self,
        binary: &Binary,
        swapped: bool,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let (vector, scalar) =
            if swapped { (&binary.rhs, &binary.lhs) } else { (&binary.lhs, &binary.rhs) };
        let scalars = self.scalars(scalar, steps)?;
        let op = binary.op;
        let renames = op.renames() || binary.return_bool;
        self.rows(vector, steps, &mut |row| {
            row.map(|step, cell| {
                let scalar = super::row::Cell::Float(scalars[step]);
                let (lhs, rhs) = if swapped { (scalar, cell) } else { (cell, scalar) };
                let outcome = arithmetic::apply(op, lhs, rhs);
                outcome.note(self, op, binary.lhs.position);
                let kept = outcome.kept?;
                if binary.return_bool {
                    return Some(SampleValue::Float(f64::from(u8::from(kept))));
                }
                // A comparison answers with the vector's value, on whichever side it stands.
                let value =
                    if op.is_comparison() { arithmetic::owned(cell) } else { outcome.value };
                value.filter(|_| kept)
            });
            row.drop_name |= renames;
            if row.is_empty() { Ok(()) } else { sink(row) }
        })
    }
}
