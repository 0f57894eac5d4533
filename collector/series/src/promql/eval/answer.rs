//! From rows to the answer: names are dropped now, and what became equal is one series or an error.

use std::collections::HashMap;

use super::Evaluator;
use crate::{
    HistogramSample, Labels, METRIC_NAME, Points, Sample,
    promql::{
        Answer, EvalError, Value, VectorSample,
        error::execution,
        plan::{Kind, Node, What},
        row::{Cell, Row},
    },
};

/// Labels that describe a metric rather than an instance of it; they go when its name goes.
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

impl Evaluator<'_> {
    pub(crate) fn instant(self, node: &Node) -> Result<Answer, EvalError> {
        let at_ms = self.start_ms;
        let value = match node.kind() {
            Kind::Scalar => {
                let values = self.scalars(node, self.steps)?;
                Value::Scalar {
                    timestamp_ms: at_ms,
                    value: values.first().copied().unwrap_or(f64::NAN),
                }
            }
            Kind::Text => Value::String { timestamp_ms: at_ms, value: text(node).to_owned() },
            Kind::Matrix => Value::Matrix(self.points(node)?),
            Kind::Vector => {
                let rows = self.finish(self.collect(node, self.steps)?)?;
                Value::Vector(rows.into_iter().filter_map(|row| sample(row, at_ms)).collect())
            }
        };
        Ok(self.answer(value))
    }

    pub(crate) fn range(self, node: &Node) -> Result<Answer, EvalError> {
        let steps = self.steps;
        let rows = if node.kind() == Kind::Scalar {
            let floats = self.scalars(node, steps)?;
            vec![Row { floats, ..Row::default() }]
        } else {
            self.finish(self.collect(node, steps)?)?
        };
        let times: Vec<i64> = steps.times().collect();
        let mut series: Vec<Points> = rows.into_iter().map(|row| points(&row, &times)).collect();
        series.retain(|p| !(p.floats.is_empty() && p.histograms.is_empty()));
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(self.answer(Value::Matrix(series)))
    }

    fn answer(self, value: Value) -> Answer {
        let samples_read = self.read.get() as u64;
        let (warnings, infos) = self.notes.into_inner().into_parts();
        Answer { value, warnings, infos, samples_read }
    }

    /// Drops names that are to be dropped, and merges what became equal.
    fn finish(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        for row in rows.iter_mut().filter(|row| row.drop_name) {
            row.labels = without_metadata(&row.labels);
            row.drop_name = false;
        }
        merge(rows)
    }
}

/// The text of a string literal.
pub(super) fn text(node: &Node) -> &str {
    match &node.bare().what {
        What::Text(text) => text,
        _ => "",
    }
}

/// The labels without the metric's name, type and unit.
pub(super) fn without_metadata(labels: &Labels) -> Labels {
    if METADATA.iter().all(|name| labels.get(name).is_none()) {
        return labels.clone();
    }
    let kept = labels.iter().filter(|(name, _)| !METADATA.contains(name));
    Labels::from_sorted(kept)
}

/// Merges rows of equal labels; they may not have values at the same step.
pub(super) fn merge(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    // As they come from a selector: each label set once.
    if rows.is_sorted_by(|a, b| a.labels < b.labels) {
        return Ok(rows);
    }
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.get(&row.labels) {
            None => {
                places.insert(row.labels.clone(), merged.len());
                merged.push(row);
            }
            Some(&place) => put(&mut merged[place], &row)?,
        }
    }
    Ok(merged)
}

fn put(into: &mut Row, row: &Row) -> Result<(), EvalError> {
    for step in 0..row.floats.len() {
        let value = super::arithmetic::owned(row.cell(step));
        if value.is_none() {
            continue;
        }
        if into.has(step) {
            return Err(execution("vector cannot contain metrics with the same labelset"));
        }
        into.set(step, value);
    }
    into.drop_name &= row.drop_name;
    Ok(())
}

fn sample(row: Row, timestamp_ms: i64) -> Option<VectorSample> {
    let value = super::arithmetic::owned(row.cell(0))?;
    Some(VectorSample { labels: row.labels, timestamp_ms, value })
}

pub(super) fn points(row: &Row, times: &[i64]) -> Points {
    let mut points = Points { labels: row.labels.clone(), ..Points::default() };
    for (step, &timestamp_ms) in times.iter().enumerate() {
        match row.cell(step) {
            Cell::Absent => {}
            Cell::Float(value) => points.floats.push(Sample { timestamp_ms, value }),
            Cell::Histogram(value) => {
                points.histograms.push(HistogramSample { timestamp_ms, value: value.clone() });
            }
        }
    }
    points
}
