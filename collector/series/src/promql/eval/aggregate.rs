//! Aggregations: one pass over the rows of the expression, into groups of one accumulator per step.

use std::collections::HashMap;

use super::{
    Evaluator, Sink,
    accumulate::{Accumulate, Context, Count, Extreme, Spread, Total, Values},
    answer, arithmetic,
    grouping::{Grouping, Groups},
    remark,
};
use crate::{
    Labels, METRIC_NAME,
    promql::{
        EvalError, SampleValue,
        error::execution,
        kahan::{Mean, Sum},
        plan::{Aggregate, AggregateOp},
        row::{Cell, Row, Steps},
    },
    query::is_stale,
};

impl Evaluator<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        use AggregateOp as Op;
        match aggregate.op {
            Op::Sum => self.fold(aggregate, steps, sink, |_| Total::<Sum>::default()),
            Op::Avg => self.fold(aggregate, steps, sink, |_| Total::<Mean>::default()),
            Op::Count => self.fold(aggregate, steps, sink, |_| Count::default()),
            Op::Group => self.fold(aggregate, steps, sink, |_| Count::one()),
            Op::Min | Op::Max => self.fold(aggregate, steps, sink, |_| Extreme::new(aggregate.op)),
            Op::Stddev | Op::Stdvar => {
                self.fold(aggregate, steps, sink, |_| Spread::new(aggregate.op))
            }
            Op::Quantile => {
                let qs = self.quantiles(aggregate, steps)?;
                self.fold(aggregate, steps, sink, |step| Values::new(qs[step]))
            }
            Op::CountValues => self.count_values(aggregate, steps, sink),
            Op::Topk | Op::Bottomk | Op::Limitk | Op::LimitRatio => {
                self.ranked(aggregate, steps, sink)
            }
        }
    }

    fn fold<A: Accumulate>(
        &self,
        aggregate: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
        make: impl Fn(usize) -> A,
    ) -> Result<(), EvalError> {
        let context = Context {
            evaluator: self,
            op: aggregate.op.name(),
            position: aggregate.expr.bare().position,
        };
        let grouping = grouping(aggregate);
        let mut groups = Groups::default();
        let mut cells: Vec<A> = Vec::new();
        let mut drop_names: Vec<bool> = Vec::new();
        let mut kept = 0;
        self.rows(&aggregate.expr, steps, &mut |row| {
            let (group, new) = groups.of(&grouping, &row.labels);
            if new {
                self.hold(steps.count)?;
                cells.extend((0..steps.count).map(&make));
                drop_names.push(false);
            }
            if A::KEEPS {
                self.hold(steps.count)?;
                kept += steps.count;
            }
            drop_names[group] |= row.drop_name;
            let cells = &mut cells[group * steps.count..][..steps.count];
            if row.histograms.is_empty() {
                for (cell, &value) in cells.iter_mut().zip(&row.floats) {
                    if !is_stale(value) {
                        cell.float(value);
                    }
                }
                return Ok(());
            }
            let metric = row.labels.get(METRIC_NAME).unwrap_or_default();
            for (step, cell) in cells.iter_mut().enumerate() {
                match row.cell(step) {
                    Cell::Absent => {}
                    Cell::Float(value) => cell.float(value),
                    Cell::Histogram(value) => cell.histogram(value, metric, &context),
                }
            }
            Ok(())
        })?;
        self.release(cells.len() + kept);
        let mut cells = cells.into_iter();
        for (member, drop_name) in groups.members().iter().zip(drop_names) {
            let mut row = Row::new(grouping.labels(member), drop_name, steps.count);
            for step in 0..steps.count {
                row.set(step, cells.next().and_then(|cell| cell.finish(&context)));
            }
            if !row.is_empty() {
                sink(&mut row)?;
            }
        }
        Ok(())
    }

    fn quantiles(&self, aggregate: &Aggregate, steps: Steps) -> Result<Vec<f64>, EvalError> {
        let param = aggregate.param.as_ref().ok_or_else(|| execution("quantile needs a number"))?;
        let qs = self.scalars(param, steps)?;
        let position = param.bare().position;
        if qs.iter().any(|q| q.is_nan()) {
            self.warn(remark::bad_quantile(f64::NAN, position));
        }
        let largest = qs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = qs.iter().copied().fold(f64::INFINITY, f64::min);
        for q in [largest, smallest] {
            if (q > 1.0 && q == largest) || (q < 0.0 && q == smallest) {
                self.warn(remark::bad_quantile(q, position));
            }
        }
        Ok(qs)
    }

    /// One series per value: how many series have it.
    fn count_values(
        &self,
        aggregate: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let label = aggregate.param.as_ref().map(answer::text).unwrap_or_default();
        if label.is_empty() {
            return Err(execution(format!("invalid label name {label:?}")));
        }
        let mut names = aggregate.labels.clone();
        if !aggregate.without {
            names.push(label.to_owned());
            names.sort_unstable();
            names.dedup();
        }
        let grouping =
            if aggregate.without { Grouping::without(&names) } else { Grouping::by(&names) };
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut counted: Vec<Row> = Vec::new();
        self.rows(&aggregate.expr, steps, &mut |row| {
            for step in 0..steps.count {
                let value = match row.cell(step) {
                    Cell::Absent => continue,
                    Cell::Float(value) => number(value),
                    Cell::Histogram(value) => value.to_string(),
                };
                let labels = grouping.labels(&row.labels.with(label, &value));
                let place = *places.entry(labels).or_insert_with_key(|labels| {
                    counted.push(Row::new(labels.clone(), false, steps.count));
                    counted.len() - 1
                });
                if place + 1 == counted.len() && counted[place].is_empty() {
                    self.hold(steps.count)?;
                }
                let before = match counted[place].cell(step) {
                    Cell::Float(count) => count,
                    Cell::Absent | Cell::Histogram(_) => 0.0,
                };
                counted[place].set(step, Some(SampleValue::Float(before + 1.0)));
            }
            Ok(())
        })?;
        self.release(counted.len() * steps.count);
        counted.iter_mut().try_for_each(sink)
    }
}

/// How an aggregation groups.
pub(super) fn grouping(aggregate: &Aggregate) -> Grouping<'_> {
    if aggregate.without {
        Grouping::without(&aggregate.labels)
    } else {
        Grouping::by(&aggregate.labels)
    }
}

/// A float as Go formats it with all its digits and no exponent.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}

/// Whether a value is there; for rows that keep only some.
pub(super) fn keep_only(row: &mut Row, keep: impl Fn(usize) -> bool) {
    row.map(|step, cell| arithmetic::owned(cell).filter(|_| keep(step)));
}
