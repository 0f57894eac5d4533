//! A node's history, read by its Prometheus API: every expression once over the whole time, others when they are asked.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;
use tokio::runtime::Handle;
use url::form_urlencoded::Serializer;
use watchkeep_alerting::rule::{Answered, Ask, Labels, Measure};

use crate::cli::api::Api;

/// Steps of one question: what Prometheus allows is 11,000.
const CHUNK_STEPS_MAX: i64 = 10_000;

/// Answers by expression and time.
pub(super) struct History {
    api: Api,
    handle: Handle,
    known: BTreeMap<String, BTreeMap<i64, Vec<Answered>>>,
}

impl History {
    /// Reads the expressions' values at `from`, `from + step`, … up to `to`, all in milliseconds.
    pub(super) fn read(
        api: &Api,
        handle: &Handle,
        exprs: &[&str],
        (from, to, step): (i64, i64, i64),
    ) -> anyhow::Result<Self> {
        let mut history = Self { api: api.clone(), handle: handle.clone(), known: BTreeMap::new() };
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
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<Answered>, String> {
        if let Some(rows) = self.known.get(expr) {
            return Ok(rows.get(&at_ms).cloned().unwrap_or_default());
        }
        let answer = self.ask("query", expr, &[("time", seconds(at_ms))]);
        let mut rows = BTreeMap::new();
        take(&answer.map_err(|e| e.to_string())?, &mut rows).ok_or("answer not understood")?;
        Ok(rows.into_values().flatten().collect())
    }
}

/// Milliseconds as the API takes them.
fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// Adds the floats of an answer, by their time.
fn take(answer: &Value, rows: &mut BTreeMap<i64, Vec<Answered>>) -> Option<()> {
    let data = &answer["data"];
    let result = data["result"].as_array()?;
    if data["resultType"] == "scalar" {
        return add(rows, &Labels::new(), &data["result"]);
    }
    for series in result {
        let labels: Labels = serde_json::from_value(series["metric"].clone()).ok()?;
        let one = series.get("value").into_iter();
        for point in one.chain(series["values"].as_array().into_iter().flatten()) {
            add(rows, &labels, point)?;
        }
    }
    Some(())
}

fn add(rows: &mut BTreeMap<i64, Vec<Answered>>, labels: &Labels, point: &Value) -> Option<()> {
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
    let at = (point[0].as_f64()? * 1000.0).round() as i64;
    let value = match point[1].as_str()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().ok()?,
    };
    let answered = Answered { labels: labels.clone(), value: Measure::Float(value) };
    rows.entry(at).or_default().push(answered);
    Some(())
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
}
