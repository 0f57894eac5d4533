//! What a question may cost, and what an answer says beside its values: through the HTTP door, as clients meet them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    common::Cluster,
    peers::{STEP_MS, asked, get, samples, write},
};

const SAMPLES_MAX: u64 = 150_000;
const SERIES_MAX: u64 = 5;
const TIMEOUT_MS: u64 = 400;

/// Holds few samples and takes many seconds: 11,000 steps sort an hour of seconds each.
fn slow(now_ms: i64) -> [(&'static str, String); 4] {
    let (to, from) = (now_ms / 1_000, now_ms / 1_000 - 11_000);
    [
        ("query", "quantile_over_time(0.9, vector(time())[1h:1s])".to_owned()),
        ("start", from.to_string()),
        ("end", to.to_string()),
        ("step", "1".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_too_much_is_refused_and_answers_have_notes() {
    let query =
        json!({"samples_max": SAMPLES_MAX, "series_max": SERIES_MAX, "timeout_ms": TIMEOUT_MS});
    let sections = [("query", query), ("collector", json!({"self_scrape": false}))];
    let cluster = Cluster::start(1, &sections).await;
    let ours = cluster.nodes[0].url("");
    let now_ms = chrono::Utc::now().timestamp_millis() / STEP_MS * STEP_MS;
    write(&ours, &samples(now_ms)).await;
    let now = (now_ms / 1_000).to_string();

    refused(&ours, &now).await;
    out_of_time(&ours, now_ms).await;
    noted(&ours, &now).await;
}

/// An error's status, type and words.
async fn error(base: &str, path: &str, query: &[(&str, &str)]) -> (u16, String, String) {
    let (status, answer) = asked(base, path, query).await.expect("an answer");
    assert_eq!(answer["status"], "error", "{path} {query:?}: {answer}");
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (status, text("errorType"), text("error"))
}

async fn refused(ours: &str, now: &str) {
    let any = "{__name__=~\".+\"}";
    for (path, name, value, words) in [
        ("query", "query", "count_over_time(vector(1)[200s:1ms])", SAMPLES_MAX.to_string()),
        ("query", "query", "sum(sum_over_time(vector(1)[1d:1ms]))", SAMPLES_MAX.to_string()),
        ("series", "match[]", any, format!("more than {SERIES_MAX} (query.series_max)")),
    ] {
        let path = format!("/api/v1/{path}");
        let (status, kind, message) = error(ours, &path, &[(name, value), ("time", now)]).await;
        assert_eq!((status, &*kind), (422, "execution"), "{path} {value}: {message}");
        assert!(message.contains(&words), "{path} {value}: {message}");
    }
}

async fn out_of_time(ours: &str, now_ms: i64) {
    let slow = slow(now_ms);
    let slow: Vec<(&str, &str)> = slow.iter().map(|(name, value)| (*name, &**value)).collect();
    for (wish, limit_ms) in [(None, TIMEOUT_MS), (Some("0.1"), 100), (Some("1h"), TIMEOUT_MS)] {
        let with: Vec<_> =
            slow.iter().copied().chain(wish.map(|timeout| ("timeout", timeout))).collect();
        let begun = Instant::now();
        let (status, kind, message) = error(ours, "/api/v1/query_range", &with).await;
        assert_eq!((status, &*kind), (503, "timeout"), "{wish:?}: {message}");
        let words = format!("query timed out after {limit_ms} ms");
        assert!(message.starts_with(&words), "{wish:?}: {message}");
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(limit_ms + 3_000), "{wish:?}: {took:?}");
    }
}

async fn noted(ours: &str, now: &str) {
    let first = |answer: &Value, name: &str| {
        let notes = answer[name].as_array().cloned().unwrap_or_default();
        notes.first().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    for (path, query, notes, words) in [
        (
            "query",
            vec![("query", "rate(shape_gauge[1m])")],
            "infos",
            "PromQL info: metric might not be a counter",
        ),
        (
            "query",
            vec![("query", "quantile(2, shape_total)")],
            "warnings",
            "PromQL warning: quantile value should be between 0 and 1",
        ),
        (
            "query",
            vec![("query", "shape_total"), ("limit", "1")],
            "warnings",
            "results truncated due to limit",
        ),
        (
            "series",
            vec![("match[]", "shape_total"), ("limit", "1")],
            "warnings",
            "results truncated due to limit",
        ),
        ("labels", vec![("limit", "1")], "warnings", "results truncated due to limit"),
        (
            "label/__name__/values",
            vec![("limit", "2")],
            "warnings",
            "results truncated due to limit",
        ),
        ("query", vec![("query", "rate(shape_total[1m])"), ("limit", "2")], "", ""),
    ] {
        let mut query = query;
        query.push(("time", now));
        let answer = get(ours, &format!("/api/v1/{path}"), &query).await.expect("an answer");
        let others = ["warnings", "infos"].into_iter().filter(|other| *other != notes);
        assert!(others.into_iter().all(|other| answer[other].is_null()), "{query:?}: {answer}");
        if notes.is_empty() {
            continue;
        }
        let said = first(&answer, notes);
        assert!(said.starts_with(words), "{query:?}: {said} in {answer}");
        if let Some((_, limit)) = query.iter().find(|(name, _)| *name == "limit") {
            let data = answer["data"].get("result").unwrap_or(&answer["data"]);
            let count = data.as_array().map(Vec::len);
            assert_eq!(count.map(|n| n.to_string()).as_deref(), Some(*limit), "{answer}");
        }
    }
}
