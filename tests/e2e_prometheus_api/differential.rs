//! Generated PromQL through both HTTP doors: the same samples by remote write to a node and to Prometheus 2.42, the same
//! questions to both, answers equal within 1e-9 but for the differences that collector/series/tests/differential lists. That
//! test asks the engine many more questions, and no node.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;
use watchkeep_series::Points;

use crate::{
    common::{Cluster, http},
    generate::{END_MS, Generator, Query},
    peers::{Peer, post},
};

#[path = "../../collector/series/tests/differential/compare.rs"]
mod compare;
#[path = "../../collector/series/tests/differential/data.rs"]
mod data;
#[path = "../../collector/series/tests/differential/differences.rs"]
mod differences;
#[path = "../../collector/series/tests/differential/request.rs"]
mod request;

use compare::Agreement;

const QUERIES: u64 = 500;
/// Not those of the other test.
const FIRST: u64 = 100_001;
const SHOWN_MAX: usize = 12;
/// What times are moved by: a multiple of it, so that samples, steps and windows lie to each other as before.
const MOVE_MS: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn generated_queries_are_answered_as_prometheus_answers_them() {
    let dir = TempDir::new().expect("temporary folder");
    let prometheus = Peer::prometheus(dir.path(), "").await;
    let sections =
        [("query", json!({"experimental": true})), ("collector", json!({"self_scrape": false}))];
    let cluster = Cluster::start(1, &sections).await;
    let ours = cluster.nodes[0].url("");
    // Neither takes samples of 2023.
    let by_ms = (chrono::Utc::now().timestamp_millis() - END_MS) / MOVE_MS * MOVE_MS;
    let mut series = data::series();
    series.iter_mut().for_each(|points| move_points(points, by_ms));
    for batch in series.chunks(50) {
        for base in [&prometheus.base, &ours] {
            post(base, &request::write_request(batch)).await;
        }
    }

    let (mut equal, mut known, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for seed in FIRST..FIRST + QUERIES {
        let query = moved(Generator::seeded(seed).query(), by_ms);
        // Its name in version 2.
        let text = query.text.replace("double_exponential_smoothing(", "holt_winters(");
        let (theirs, answer) =
            tokio::join!(ask(&prometheus.base, &query, &text), ask(&ours, &query, &query.text));
        match compare::same(&query, &answer, &theirs) {
            Ok(agreement) => *equal.entry(agreement).or_insert(0_u64) += 1,
            Err(why) => match differences::known(&query, &answer, &theirs, &why) {
                Some(name) => *known.entry(name).or_insert(0_u64) += 1,
                None => wrong.push(format!("seed {seed}: {query}\n    {why}")),
            },
        }
    }
    println!("equal: {equal:?}; known to differ: {known:?}");
    let shown = &wrong[..wrong.len().min(SHOWN_MAX)];
    assert!(shown.is_empty(), "{} answers differ:\n{}", wrong.len(), shown.join("\n"));
    let share = |agreement| equal.get(&agreement).map_or(0.0, |n| *n as f64 / QUERIES as f64);
    assert!(share(Agreement::Floats) > 0.6, "too few queries have an answer: {equal:?}");
    assert!(share(Agreement::Histograms) > 0.02, "too few answers are histograms: {equal:?}");
}

fn move_points(points: &mut Points, by_ms: i64) {
    points.floats.iter_mut().for_each(|sample| sample.timestamp_ms += by_ms);
    points.histograms.iter_mut().for_each(|sample| sample.timestamp_ms += by_ms);
}

/// The same question about moved samples: what names a second names another.
fn moved(query: Query, by_ms: i64) -> Query {
    let seconds = Regex::new(r"\b1[67]\d{8}\b").expect("an expression");
    let text = seconds.replace_all(&query.text, |found: &regex::Captures<'_>| {
        let second: i64 = found[0].parse().expect("digits");
        (second + by_ms / 1_000).to_string()
    });
    Query {
        text: text.into_owned(),
        at_ms: query.at_ms + by_ms,
        range: query.range.map(|(from_ms, step_ms)| (from_ms + by_ms, step_ms)),
    }
}

/// `data` of an answer, or its error.
async fn ask(base: &str, query: &Query, text: &str) -> Result<Value, String> {
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
    let mut form = vec![("query", text.to_owned())];
    let path = match query.range {
        None => {
            form.push(("time", seconds(query.at_ms)));
            "query"
        }
        Some((from_ms, step_ms)) => {
            form.push(("start", seconds(from_ms)));
            form.push(("end", seconds(query.at_ms)));
            form.push(("step", seconds(step_ms)));
            "query_range"
        }
    };
    let request = http::client().post(format!("{base}/api/v1/{path}")).form(&form);
    let (_, body) = http::send(request).await.expect("an answer");
    let mut answer: Value = serde_json::from_str(&body).expect("JSON");
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"].take()),
        _ => Err(answer["error"].as_str().unwrap_or(&body).to_owned()),
    }
}
