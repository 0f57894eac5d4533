//! Functions of histograms, native and classic. The buckets of a classic one are series that differ in `le`.

use std::collections::HashMap;

use super::{Evaluator, Sink, answer, remark};
use crate::{
    Histogram, Labels, METRIC_NAME, NanNote,
    promql::{
        EvalError, SampleValue,
        functions::{
            HistogramPart,
            buckets::{self, Bucket},
        },
        plan::{Call, Node, Position},
        row::{Cell, Row, Steps},
    },
};

/// A classic histogram's rows with their bounds, and a native one of the same labels.
#[derive(Default)]
struct Found {
    buckets: Vec<(f64, usize)>,
    native: Vec<usize>,
}

/// What is asked of each histogram.
enum Question {
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

impl Evaluator<'_> {
    /// `histogram_count` and its like: of native histograms only.
    pub(super) fn histogram_part(
        &self,
        part: HistogramPart,
        node: &Node,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        self.rows(node, steps, &mut |row| {
            row.map(|_, cell| match cell {
                Cell::Histogram(histogram) => Some(SampleValue::Float(match part {
                    HistogramPart::Avg => histogram.avg(),
                    HistogramPart::Count => histogram.count,
                    HistogramPart::Stddev => histogram.stddev(),
                    HistogramPart::Stdvar => histogram.stdvar(),
                    HistogramPart::Sum => histogram.sum,
                })),
                Cell::Float(_) | Cell::Absent => None,
            });
            row.drop_name = true;
            if row.is_empty() { Ok(()) } else { sink(row) }
        })
    }

    pub(super) fn histogram_quantile(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let qs = self.scalars(&call.args[0], steps)?;
        self.check_quantiles(&qs, call.args[0].bare().position);
        let question = Question::Quantile(qs);
        let rows = self.collect(&call.args[1], steps)?;
        self.ask(&rows, &question, call.args[1].bare().position, None, steps, sink)?;
        self.release(rows.len() * steps.count);
        Ok(())
    }

    /// One series per quantile, which is put into a label.
    pub(super) fn histogram_quantiles(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let label = answer::text(&call.args[1]);
        let mut asked = Vec::new();
        for node in &call.args[2..] {
            let qs = self.scalars(node, steps)?;
            self.check_quantiles(&qs, node.bare().position);
            asked.push(qs);
        }
        let rows = self.collect(&call.args[0], steps)?;
        let position = call.args[0].bare().position;
        for qs in asked {
            // A quantile that changes from step to step is several series.
            let mut distinct = qs.clone();
            distinct.sort_by(f64::total_cmp);
            distinct.dedup_by(|a, b| a.to_bits() == b.to_bits());
            for q in distinct {
                let at = |step: usize| qs[step].to_bits() == q.to_bits();
                let question = Question::Quantile(vec![q; steps.count]);
                let value = open_metrics(q);
                self.ask(&rows, &question, position, Some((label, &value)), steps, &mut |row| {
                    super::aggregate::keep_only(row, at);
                    if row.is_empty() { Ok(()) } else { sink(row) }
                })?;
            }
        }
        self.release(rows.len() * steps.count);
        Ok(())
    }

    pub(super) fn histogram_fraction(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let lower = self.scalars(&call.args[0], steps)?;
        let upper = self.scalars(&call.args[1], steps)?;
        let question = Question::Fraction(lower, upper);
        let rows = self.collect(&call.args[2], steps)?;
        self.ask(&rows, &question, call.args[2].bare().position, None, steps, sink)?;
        self.release(rows.len() * steps.count);
        Ok(())
    }

    fn check_quantiles(&self, qs: &[f64], position: Position) {
        for q in qs.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            self.warn(remark::bad_quantile(*q, position));
        }
    }

    fn ask(
        &self,
        rows: &[Row],
        question: &Question,
        position: Position,
        label: Option<(&str, &str)>,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut all: Vec<(Labels, Found)> = Vec::new();
        let mut found = |labels: Labels| {
            *places.entry(labels).or_insert_with_key(|labels| {
                all.push((labels.clone(), Found::default()));
                all.len() - 1
            })
        };
        let mut native = Vec::new();
        let mut classic = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            if row.floats.iter().any(|v| !crate::is_stale(*v)) {
                let le = row.labels.get("le").unwrap_or_default();
                match number(le) {
                    Some(bound) => classic.push((found(row.labels.with("le", "")), bound, at)),
                    None => {
                        let metric = row.labels.get(METRIC_NAME).unwrap_or_default();
                        self.warn(remark::bad_bucket(le, metric, position));
                    }
                }
            }
            if !row.histograms.is_empty() {
                native.push((found(row.labels.clone()), at));
            }
        }
        classic.into_iter().for_each(|(place, bound, at)| all[place].1.buckets.push((bound, at)));
        native.into_iter().for_each(|(place, at)| all[place].1.native.push(at));
        for (labels, found) in &all {
            self.check_stop()?;
            let labels_out = match label {
                Some((name, value)) => labels.with(name, value),
                None => labels.clone(),
            };
            let mut result = Row::new(labels_out, true, steps.count);
            let metric = labels.get(METRIC_NAME).unwrap_or_default();
            let mut buckets = Vec::with_capacity(found.buckets.len());
            for step in 0..steps.count {
                buckets.clear();
                for &(bound, at) in &found.buckets {
                    if let Cell::Float(count) = rows[at].cell(step) {
                        buckets.push(Bucket { bound, count });
                    }
                }
                let native = found.native.iter().find_map(|at| match rows[*at].cell(step) {
                    Cell::Histogram(histogram) => Some(histogram),
                    Cell::Absent | Cell::Float(_) => None,
                });
                let value = match (native, buckets.is_empty()) {
                    (None, true) => None,
                    (None, false) => {
                        Some(self.of_buckets(question, step, &mut buckets, metric, position))
                    }
                    (Some(native), true) => {
                        Some(self.of_native(question, step, native, metric, position))
                    }
                    (Some(_), false) => {
                        self.warn(remark::mixed_classic(metric, position));
                        None
                    }
                };
                result.set(step, value.map(SampleValue::Float));
            }
            if !result.is_empty() {
                sink(&mut result)?;
            }
        }
        Ok(())
    }

    fn of_buckets(
        &self,
        question: &Question,
        step: usize,
        buckets: &mut Vec<Bucket>,
        metric: &str,
        position: Position,
    ) -> f64 {
        match question {
            Question::Quantile(qs) => {
                let (value, forced) = buckets::quantile(qs[step], buckets);
                if forced {
                    self.info(remark::forced_monotonicity(metric, position));
                }
                value
            }
            Question::Fraction(lower, upper) => {
                buckets::fraction(lower[step], upper[step], buckets)
            }
        }
    }

    fn of_native(
        &self,
        question: &Question,
        step: usize,
        histogram: &Histogram,
        metric: &str,
        position: Position,
    ) -> f64 {
        let note = |text: &str| self.info(remark::nan_observations(text, metric, position));
        match question {
            Question::Quantile(qs) => {
                let quantile = histogram.quantile(qs[step]);
                match quantile.note {
                    Some(NanNote::Result) => {
                        note("histogram_quantile has NaN observations, result is NaN");
                    }
                    Some(NanNote::Skew) => {
                        note("histogram_quantile has NaN observations, result is skewed higher");
                    }
                    None => {}
                }
                quantile.value
            }
            Question::Fraction(lower, upper) => {
                let fraction = histogram.fraction(lower[step], upper[step]);
                if fraction.has_nan {
                    note(
                        "histogram_fraction has NaN observations, which are excluded from all fractions",
                    );
                }
                fraction.value
            }
        }
    }
}

/// A bound as Go reads it.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A float as OpenMetrics writes it: whole numbers with `.0`.
fn open_metrics(value: f64) -> String {
    let text = crate::general(value);
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if plain { format!("{text}.0") } else { text }
}
