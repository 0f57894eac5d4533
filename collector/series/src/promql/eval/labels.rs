//! Functions that look at labels, or at the order of series: `label_replace`, `label_join`, `sort` and its kin.

use std::cmp::Ordering;

use regex::Regex;

use super::{Evaluator, Sink, answer};
use crate::{
    Labels, METRIC_NAME,
    promql::{
        EvalError,
        error::execution,
        functions::Function,
        plan::{Call, Node},
        row::{Cell, Row, Steps},
    },
};

/// Longest value that a function makes of others.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// The label that changes, and what it becomes.
type Changed<'t> = Result<Option<(&'t str, String)>, EvalError>;

/// What would become of it is judged before it is made: a few thousand characters of query could make gigabytes.
fn check_size(function: &str, bytes: usize) -> Result<(), EvalError> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(execution(format!("{function}() makes a value of more than {VALUE_BYTES_MAX} bytes")))
}

impl Evaluator<'_> {
    pub(super) fn label_replace(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let [target, replacement, source, pattern] =
            [1, 2, 3, 4].map(|at| call.args.get(at).map(answer::text).unwrap_or_default());
        let regex = Regex::new(&format!("^(?s:{pattern})$")).map_err(|_| {
            execution(format!("invalid regular expression in label_replace(): {pattern}"))
        })?;
        if target.is_empty() {
            return Err(execution("invalid destination label name in label_replace(): "));
        }
        self.relabelled(&call.args[0], steps, sink, &|labels: &Labels| {
            let value = labels.get(source).unwrap_or_default();
            let Some(captures) = regex.captures(value) else { return Ok(None) };
            let bytes = replacement.matches('$').count().saturating_mul(value.len());
            check_size("label_replace", bytes.saturating_add(replacement.len()))?;
            let mut result = String::new();
            captures.expand(replacement, &mut result);
            Ok(Some((target, result)))
        })
    }

    pub(super) fn label_join(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let texts: Vec<&str> = call.args[1..].iter().map(answer::text).collect();
        let [target, separator, sources @ ..] = texts.as_slice() else {
            return Err(execution("label_join() needs a label and a separator"));
        };
        if sources.iter().any(|name| name.is_empty()) {
            return Err(execution("invalid source label name in label_join(): "));
        }
        if target.is_empty() {
            return Err(execution("invalid destination label name in label_join(): "));
        }
        self.relabelled(&call.args[0], steps, sink, &|labels: &Labels| {
            let values: Vec<&str> =
                sources.iter().map(|name| labels.get(name).unwrap_or_default()).collect();
            let bytes: usize = values.iter().map(|value| value.len() + separator.len()).sum();
            check_size("label_join", bytes)?;
            Ok(Some((*target, values.join(separator))))
        })
    }

    /// Sets one label of each series; what becomes equal is merged.
    fn relabelled<'t>(
        &self,
        node: &Node,
        steps: Steps,
        sink: &mut Sink<'_>,
        change: &dyn Fn(&Labels) -> Changed<'t>,
    ) -> Result<(), EvalError> {
        let mut rows = self.collect(node, steps)?;
        let held = rows.len() * steps.count;
        for row in &mut rows {
            if let Some((name, value)) = change(&row.labels)? {
                row.labels = row.labels.with(name, &value);
                row.drop_name &= name != METRIC_NAME;
            }
        }
        self.release(held);
        answer::merge(rows)?.iter_mut().try_for_each(sink)
    }

    /// Orders matter in instant queries only; histograms are dropped where values are compared.
    pub(super) fn sorted(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let mut rows = self.collect(&call.args[0], steps)?;
        let held = rows.len() * steps.count;
        let names: Vec<&str> = call.args[1..].iter().map(answer::text).collect();
        match call.function {
            Function::Sort | Function::SortDesc => {
                rows.iter_mut().for_each(|row| row.histograms.clear());
                rows.retain(|row| !row.is_empty());
                if steps.count == 1 {
                    let descending = call.function == Function::SortDesc;
                    rows.sort_by(|a, b| by_value(a, b, descending));
                }
            }
            Function::SortByLabel => rows.sort_by(|a, b| by_labels(a, b, &names)),
            _ => rows.sort_by(|a, b| by_labels(b, a, &names)),
        }
        self.release(held);
        rows.iter_mut().try_for_each(sink)
    }
}

fn by_value(a: &Row, b: &Row, descending: bool) -> Ordering {
    let value = |row: &Row| match row.cell(0) {
        Cell::Float(value) => value,
        Cell::Absent | Cell::Histogram(_) => f64::NAN,
    };
    let (a, b) = (value(a), value(b));
    match (a.is_nan(), b.is_nan()) {
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
        // NaN comes last either way.
        (a, b) => a.cmp(&b),
    }
}

fn by_labels(a: &Row, b: &Row, names: &[&str]) -> Ordering {
    for name in names {
        let values = [a, b].map(|row| row.labels.get(name).unwrap_or_default());
        match natural(values[0], values[1]) {
            Ordering::Equal => {}
            order => return order,
        }
    }
    a.labels.cmp(&b.labels)
}

/// Numbers in texts by their value: `node-2` before `node-10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let (a_chunk, b_chunk) = (chunk(a), chunk(b));
        let digits = |chunk: &str| chunk.starts_with(|c: char| c.is_ascii_digit());
        let order = if digits(a_chunk) && digits(b_chunk) {
            let (a, b) = (a_chunk.trim_start_matches('0'), b_chunk.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            a_chunk.cmp(b_chunk)
        };
        if order.is_ne() {
            return order;
        }
        a = &a[a_chunk.len()..];
        b = &b[b_chunk.len()..];
    }
}

/// The digits or the other characters that a text begins with.
fn chunk(text: &str) -> &str {
    let digit = |c: char| c.is_ascii_digit();
    let first = text.starts_with(digit);
    let end = text.find(|c: char| digit(c) != first).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_maximum() -> Result<(), Box<dyn std::error::Error>> {
        use crate::{
            Points, Sample,
            promql::{Engine, Expr, MemorySeries},
        };
        let mut memory = MemorySeries::new();
        memory.insert(Points {
            labels: Labels::new([("__name__", "up"), ("a", &"x".repeat(1_000))]),
            floats: vec![Sample { timestamp_ms: 0, value: 1.0 }],
            ..Points::default()
        });
        let replace =
            |n: usize| format!(r#"label_replace(up, "b", "{}", "a", "(.*)")"#, "$1".repeat(n));
        let join = |n: usize| format!(r#"label_join(up, "b", ""{})"#, r#", "a""#.repeat(n));
        for (text, fine) in [
            (replace(1_000), true),
            (replace(1_100), false),
            (join(1_000), true),
            (join(1_100), false),
        ] {
            let answer = Engine::default().instant(&memory, &Expr::parse(&text)?, 0, &|| false);
            assert_eq!(answer.is_ok(), fine, "{:?}", answer.err());
        }
        Ok(())
    }

    #[test]
    fn natural_order() {
        let long = "1000000000000000000000000";
        let mut names = ["a10", "b", "a2", long, "a", "a2b", "10", "9", "a02", ""];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "9", "10", long, "a", "a2", "a02", "a2b", "a10", "b"]);
    }
}
