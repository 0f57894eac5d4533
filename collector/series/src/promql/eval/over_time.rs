//! Drives functions over range vectors: a series at a time, all steps.

use super::{Cursor, Evaluator, Series, Sink, Window, extended, remark};
use crate::{
    Labels, METRIC_NAME, Matcher,
    promql::{
        EvalError, SampleValue,
        functions::{
            OverTime,
            over_time::{self, Slice, Teller},
            rate,
        },
        plan::{Call, Ends, Kind, Node, Position, What},
        row::{Row, Steps},
    },
};

/// After so many steps of a series, or a window of so many samples, it is asked again whether to stop.
const STOP_STEPS: usize = 16;
const STOP_SAMPLES: usize = 10_000;

/// What was already said of a metric need not be said of each of its series.
#[derive(Default)]
struct Counters {
    metric: String,
    kind: String,
}

impl Counters {
    /// Whether the series before was of another metric or type.
    fn is_new(&mut self, labels: &Labels) -> bool {
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        let kind = labels.get("__type__").unwrap_or_default();
        let new = self.metric != metric || self.kind != kind;
        if new {
            self.metric = metric.to_owned();
            self.kind = kind.to_owned();
        }
        new
    }
}

impl Evaluator<'_> {
    pub(super) fn over_time(
        &self,
        function: OverTime,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let Some(matrix) = call.args.iter().find(|a| a.kind() == Kind::Matrix) else {
            return Ok(());
        };
        let ends = extended::ends_of(matrix);
        extended::check(ends, Some(function), function.name())?;
        let mut params = Vec::new();
        for node in call.args.iter().filter(|a| a.kind() == Kind::Scalar) {
            params.push(self.scalars(node, steps)?);
        }
        let param = |at: usize, step: usize| params.get(at).map_or(0.0, |p: &Vec<f64>| p[step]);
        let position = call.args.first().map_or(matrix.position, |a| a.bare().position);
        let renames = !matches!(function, OverTime::First | OverTime::Last);
        let mut row = Row::default();
        let mut resets = rate::Resets::default();
        let mut counters = Counters::default();
        self.matrix(matrix, steps, &mut |series, windows| {
            row.reset(series.labels, renames || series.drop_name, steps.count);
            let rates = matches!(function, OverTime::Rate | OverTime::Increase | OverTime::Delta);
            if ends != Ends::Plain {
                let metric = series.labels.get(METRIC_NAME).unwrap_or_default();
                let teller = Teller { evaluator: self, metric, position };
                self.extended_row(&mut row, function, ends, (&series, windows), steps, &teller)?;
            } else if rates && series.histograms.is_empty() {
                resets.find(series.floats, series.starts);
                rate_row(&mut row, function, &series, windows, &resets);
            } else {
                let metric = series.labels.get(METRIC_NAME).unwrap_or_default();
                let teller = Teller { evaluator: self, metric, position };
                let params = |step| [param(0, step), param(1, step)];
                apply_row(&mut row, function, &series, windows, steps, &params, &teller)?;
            }
            if matches!(function, OverTime::Rate | OverTime::Increase) {
                let has_floats = row.floats.iter().any(|v| !crate::is_stale(*v));
                if has_floats && counters.is_new(series.labels) {
                    self.note_counter(series.labels, position);
                }
                if !series.starts.is_empty() {
                    self.note_overlap(&series, windows, position);
                }
            }
            if row.is_empty() { Ok(()) } else { sink(&mut row) }
        })
    }

    /// Says so when what is treated as a counter does not look like one.
    fn note_counter(&self, labels: &Labels, position: Position) {
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        let named = ["_total", "_sum", "_count", "_bucket"].iter().any(|s| metric.ends_with(s));
        if metric.is_empty() {
            return;
        }
        match labels.get("__type__") {
            Some("counter" | "histogram") => {}
            Some(kind) => self.info(remark::type_is_no_counter(metric, kind, position)),
            None if named => {}
            None => self.info(remark::maybe_no_counter(metric, position)),
        }
    }

    fn note_overlap(&self, series: &Series<'_>, windows: &[Window], position: Position) {
        let mut times: Vec<i64> = series.floats.iter().map(|s| s.timestamp_ms).collect();
        times.extend(series.histograms.iter().map(|h| h.timestamp_ms));
        times.sort_unstable();
        let within = |a: i64, b: i64| windows.iter().any(|w| a > w.from_ms && b <= w.to_ms);
        let overlap = |pair: &[i64]| {
            rate::overlaps(series.starts, pair[0], pair[1]) && within(pair[0], pair[1])
        };
        if times.windows(2).any(overlap) {
            let metric = series.labels.get(METRIC_NAME).unwrap_or_default();
            self.warn(remark::start_overlap(metric, position));
        }
    }

    /// One series with 1 where the argument has none.
    pub(super) fn absent_over_time(
        &self,
        matrix: &Node,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        extended::check(extended::ends_of(matrix), None, "absent_over_time")?;
        let mut found = vec![false; steps.count];
        self.matrix(matrix, steps, &mut |series, windows| {
            let mut cursor = Cursor::default();
            for (step, found) in found.iter_mut().enumerate() {
                *found |= cursor.next(&series, windows, step).is_some();
            }
            Ok(())
        })?;
        self.absence(matrix, &found, steps, sink)
    }

    pub(super) fn absent(
        &self,
        node: &Node,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let mut found = vec![false; steps.count];
        self.rows(node, steps, &mut |row| {
            for (step, found) in found.iter_mut().enumerate() {
                *found |= row.has(step);
            }
            Ok(())
        })?;
        self.absence(node, &found, steps, sink)
    }

    fn absence(
        &self,
        node: &Node,
        found: &[bool],
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let mut row = Row::new(asked_labels(node), false, steps.count);
        for (step, found) in found.iter().enumerate() {
            row.set(step, (!found).then_some(SampleValue::Float(1.0)));
        }
        if row.is_empty() { Ok(()) } else { sink(&mut row) }
    }
}

fn rate_row(
    row: &mut Row,
    function: OverTime,
    series: &Series<'_>,
    windows: &[Window],
    resets: &rate::Resets,
) {
    let kind = function.rate_kind();
    let samples = (series.floats, series.starts);
    let mut cursor = Cursor::default();
    for step in 0..windows.len() {
        let Some((window, floats, _)) = cursor.next(series, windows, step) else { continue };
        let bounds = (floats.start, floats.end);
        if let Some(value) = rate::float_rate(kind, samples, bounds, resets, window) {
            row.floats[step] = value;
        }
    }
}

fn apply_row(
    row: &mut Row,
    function: OverTime,
    series: &Series<'_>,
    windows: &[Window],
    steps: Steps,
    params: &dyn Fn(usize) -> [f64; 2],
    teller: &Teller<'_, '_>,
) -> Result<(), EvalError> {
    let mut cursor = Cursor::default();
    for step in 0..windows.len() {
        let Some((window, floats, histograms)) = cursor.next(series, windows, step) else {
            continue;
        };
        if step % STOP_STEPS == 0 || floats.len() + histograms.len() > STOP_SAMPLES {
            teller.evaluator.check_stop()?;
        }
        let slice = Slice {
            window,
            at_ms: steps.at(step),
            floats: &series.floats[floats],
            histograms: &series.histograms[histograms],
            starts: series.starts,
        };
        row.set(step, over_time::apply(function, &slice, params(step), teller)?);
    }
    Ok(())
}

/// Labels that a selector asks for with `=`, once each.
fn asked_labels(node: &Node) -> Labels {
    let (What::Vector(selector) | What::Range(selector, _)) = &node.bare().what else {
        return Labels::default();
    };
    let name_of = |matcher: &Matcher| match matcher {
        Matcher::Equal(name, _)
        | Matcher::NotEqual(name, _)
        | Matcher::Regex(name, _)
        | Matcher::NotRegex(name, _) => name.clone(),
    };
    let pairs = selector.matchers.iter().filter_map(|matcher| match matcher {
        Matcher::Equal(name, value)
            if name != METRIC_NAME
                && selector.matchers.iter().filter(|m| name_of(m) == *name).count() == 1 =>
        {
            Some((name.clone(), value.clone()))
        }
        _ => None,
    });
    Labels::new(pairs.collect::<Vec<_>>())
}
