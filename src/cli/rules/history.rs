//! A node's history, read by its Prometheus API: every expression once over the whole time, others when they are asked.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use serde_json::Value;
use tokio::runtime::Handle;
use url::form_urlencoded::Serializer;
use watchkeep_alerting::rule::{Answered, Ask, Histogram, Labels, Measure};
use watchkeep_series::general;

use crate::cli::api::Api;

/// Steps of one question: what Prometheus allows is 11,000.
const CHUNK_STEPS_MAX: i64 = 10_000;

/// Times from `from` to `to`, so far apart, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) step: i64,
}

impl Grid {
    fn has(self, at: i64) -> bool {
        (self.from..=self.to).contains(&at) && (at - self.from) % self.step == 0
    }
}

/// Answers by expression and time.
pub(super) struct History {
    api: Api,
    handle: Handle,
    grid: Grid,
    known: BTreeMap<String, BTreeMap<i64, Vec<Answered>>>,
}

impl History {
    /// Reads the expressions' values at the times of the grid.
    pub(super) fn read(
        api: &Api,
        handle: &Handle,
        exprs: &[&str],
        grid: Grid,
    ) -> anyhow::Result<Self> {
        let known = BTreeMap::new();
        let mut history = Self { api: api.clone(), handle: handle.clone(), grid, known };
        let Grid { from, to, step } = grid;
        for expr in exprs {
            let mut rows = BTreeMap::<i64, Vec<Answered>>::new();
            let mut start = from;
            while start <= to {
                let end = to.min(start + step * (CHUNK_STEPS_MAX - 1));
                let times =
                    [("start", seconds(start)), ("end", seconds(end)), ("step", seconds(step))];
                let answer = history.ask("query_range", expr, &times)?;
                take(&answer, &mut rows)
                    .with_context(|| format!("{expr}: answer not understood"))?;
                start += step * CHUNK_STEPS_MAX;
            }
            history.known.insert((*expr).to_owned(), rows);
        }
        Ok(history)
    }

    fn ask(&self, call: &str, expr: &str, times: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut query = Serializer::new(String::new());
        query.append_pair("query", expr);
        query.extend_pairs(times);
        let path = format!("/api/v1/{call}?{}", query.finish());
        self.handle.block_on(self.api.get(&path))
    }
}

impl Ask for History {
    /// What is not known is asked: an expression of a template, or another time than those that were read.
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<Answered>, String> {
        if let Some(rows) = self.known.get(expr).filter(|_| self.grid.has(at_ms)) {
            return Ok(rows.get(&at_ms).cloned().unwrap_or_default());
        }
        let answer = self.ask("query", expr, &[("time", seconds(at_ms))]);
        let mut rows = BTreeMap::new();
        take(&answer.map_err(|e| e.to_string())?, &mut rows).ok_or("answer not understood")?;
        Ok(rows.into_values().flatten().collect())
    }
}

/// Milliseconds as the API takes them.
pub(super) fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// Adds the values of an answer, by their time.
fn take(answer: &Value, rows: &mut BTreeMap<i64, Vec<Answered>>) -> Option<()> {
    let data = &answer["data"];
    let result = data["result"].as_array()?;
    if data["resultType"] == "scalar" {
        return add(rows, &Labels::new(), &data["result"], float);
    }
    for series in result {
        let labels: Labels = serde_json::from_value(series["metric"].clone()).ok()?;
        for (one, many, read) in [
            ("value", "values", float as fn(&Value) -> Option<Measure>),
            ("histogram", "histograms", histogram as fn(&Value) -> Option<Measure>),
        ] {
            let points = series[many].as_array().into_iter().flatten();
            for point in series.get(one).into_iter().chain(points) {
                add(rows, &labels, point, read)?;
            }
        }
    }
    Some(())
}

fn add(
    rows: &mut BTreeMap<i64, Vec<Answered>>,
    labels: &Labels,
    point: &Value,
    read: fn(&Value) -> Option<Measure>,
) -> Option<()> {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
    let at = (point[0].as_f64()? * 1000.0).round() as i64;
    let answered = Answered { labels: labels.clone(), value: read(&point[1])? };
    rows.entry(at).or_default().push(answered);
    Some(())
}

fn float(value: &Value) -> Option<Measure> {
    number(value).map(Measure::Float)
}

/// Rust reads `+Inf`, `-Inf` and `NaN`, too.
fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

/// A native histogram of the API's JSON as Prometheus prints it, which is all that a rule sees of it.
fn histogram(value: &Value) -> Option<Measure> {
    let text = |value: &Value| number(value).map(general);
    let mut printed = format!("{{count:{}, sum:{}", text(&value["count"])?, text(&value["sum"])?);
    for bucket in value["buckets"].as_array().into_iter().flatten() {
        // Which of its bounds are in it.
        let (open, close) = match bucket[0].as_u64()? {
            0 => ('(', ']'),
            1 => ('[', ')'),
            2 => ('(', ')'),
            _ => ('[', ']'),
        };
        let (lower, upper, count) = (text(&bucket[1])?, text(&bucket[2])?, text(&bucket[3])?);
        printed.push_str(&format!(", {open}{lower},{upper}{close}:{count}"));
    }
    printed.push('}');
    Some(Measure::Histogram(Histogram { text: printed.into(), carried: Arc::new(()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_time() {
        let answer = serde_json::json!({"data": {"resultType": "matrix", "result": [
            {"metric": {"a": "1"}, "values": [[1.5, "2"], [2.5, "+Inf"]]},
            {"metric": {"a": "2"}, "values": [[2.5, "NaN"]]},
        ]}});
        let mut rows = BTreeMap::new();
        take(&answer, &mut rows).expect("understood");
        let counts: Vec<_> = rows.iter().map(|(at, rows)| (*at, rows.len())).collect();
        assert_eq!(counts, [(1500, 1), (2500, 2)]);
        assert_eq!(seconds(1500), "1.500");
    }

    /// As the API prints them, and as a rule's `$value` does.
    #[test]
    fn histograms_are_rows_too() {
        let value = serde_json::json!({"count": "6", "sum": "4500000",
            "buckets": [[3, "-0.001", "0.001", "1"], [0, "1", "2", "2"], [1, "-4", "-2", "3"]]});
        let vector = serde_json::json!({"data": {"resultType": "vector", "result": [
            {"metric": {"a": "1"}, "histogram": [1.5, value]},
        ]}});
        let matrix = serde_json::json!({"data": {"resultType": "matrix", "result": [
            {"metric": {"a": "1"}, "values": [[0.5, "1"]], "histograms": [[1.5, value]]},
        ]}});
        let expected = "{count:6, sum:4.5e+06, [-0.001,0.001]:1, (1,2]:2, [-4,-2):3}";
        for (answer, times) in [(vector, 1), (matrix, 2)] {
            let mut rows = BTreeMap::new();
            take(&answer, &mut rows).expect("understood");
            assert_eq!(rows.len(), times);
            let Measure::Histogram(found) = &rows[&1500][0].value else { panic!("a number") };
            assert_eq!(&*found.text, expected);
        }
    }

    #[test]
    fn what_is_on_the_grid() {
        let grid = Grid { from: -10_000, to: 50_000, step: 30_000 };
        for (at, is_on) in
            [(-10_000, true), (20_000, true), (50_000, true), (0, false), (80_000, false)]
        {
            assert_eq!(grid.has(at), is_on, "{at}");
        }
    }
}
