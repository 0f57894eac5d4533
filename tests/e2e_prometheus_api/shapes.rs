//! The same requests to Prometheus 2.42 and to a node that hold the same samples.

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    common::{Cluster, http},
    peers::{Peer, STEP_MS, asked, native, post, samples, write},
};

/// How far two answers have to agree.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    /// In everything.
    All,
    /// In status, error type, and that there are words.
    Error,
    /// In the fields of objects and the types of values.
    Shape,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_the_same_answer() {
    let dir = TempDir::new().expect("temporary folder");
    let prometheus = Peer::prometheus(dir.path(), "").await;
    let cluster =
        Cluster::start(1, &[("collector", serde_json::json!({"self_scrape": false}))]).await;
    let ours = cluster.nodes[0].url("");
    let now_ms = chrono::Utc::now().timestamp_millis() / STEP_MS * STEP_MS;
    let samples = samples(now_ms);
    for base in [&prometheus.base, &ours] {
        write(base, &samples).await;
        post(base, &native(now_ms)).await;
    }
    let (now, before) = ((now_ms / 1_000).to_string(), (now_ms / 1_000 - 120).to_string());
    let mut failed = Vec::new();
    for (same, path, query) in requests(&now, &before) {
        let query: Vec<(&str, &str)> = query.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let expected = asked(&prometheus.base, path, &query).await.expect("Prometheus answers");
        let found = asked(&ours, path, &query).await.expect("we answer");
        let agree = match same {
            Same::All => sorted(expected.clone()) == sorted(found.clone()),
            Same::Error => {
                expected.1["errorType"] == found.1["errorType"]
                    && found.1["error"].as_str().is_some_and(|words| !words.is_empty())
            }
            Same::Shape => shape(&expected.1) == shape(&found.1),
        };
        if !agree || expected.0 != found.0 {
            failed.push(format!(
                "{path} {query:?}\n  Prometheus: {expected:?}\n  ours:       {found:?}"
            ));
        }
    }
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));

    // A form is as good as a query string, and long answers are packed for whoever asks.
    let form = [("query", "shape_total"), ("start", &before), ("end", &now), ("step", "10")];
    let url = format!("{ours}/api/v1/query_range");
    let posted = http::client().post(&url).form(&form);
    let posted = http::json(posted).await.expect("an answer");
    let got = asked(&ours, "/api/v1/query_range", &form).await.expect("an answer").1;
    assert_eq!(posted, got);
    let wide = [("query", "{__name__=~\".+\"}"), form[1], form[2], ("step", "1")];
    let packed = http::client().get(&url).query(&wide).header("Accept-Encoding", "gzip");
    let packed = packed.send().await.expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
}

type Request = (Same, &'static str, Vec<(&'static str, String)>);

fn requests(now: &str, before: &str) -> Vec<Request> {
    let query = |text: &str| vec![("query", text.to_owned()), ("time", now.to_owned())];
    let range = |text: &str, step: &str| {
        let mut query = vec![("query", text.to_owned()), ("step", step.to_owned())];
        query.extend([("start", before.to_owned()), ("end", now.to_owned())]);
        query
    };
    let mut all = Vec::new();
    for text in [
        "shape_total",
        "shape_gauge",
        "shape_gauge[55s]",
        "sum by (job) (rate(shape_total[55s]))",
        "1",
        "1e6 * 3",
        "\"text\"",
        "time()",
        "shape_absent",
        "shape_total{job=\"b\"} / 0",
        "histogram_quantile(0.9, rate(shape_seconds_bucket[55s]))",
        "-shape_gauge",
        "1e21",
        "0.0000001",
        "NaN",
        "topk(1, shape_total)",
        "shape_total offset 1m",
        "shape_total @ 0",
        "native_seconds",
        "native_seconds[55s]",
        "rate(native_seconds[55s])",
        "sum by (job) (native_seconds)",
        "native_seconds + native_seconds",
        "histogram_count(native_seconds)",
        "histogram_sum(native_seconds)",
    ] {
        all.push((Same::All, "/api/v1/query", query(text)));
    }
    for text in [
        "",
        "shape_total{",
        "rate(shape_total)",
        "foo(1)",
        "{}",
        "shape_total[5m] + 1",
        "1 + \"a\"",
    ] {
        all.push((Same::Error, "/api/v1/query", query(text)));
    }
    all.push((Same::Error, "/api/v1/query", query("shape_total + on () shape_total")));
    all.push((Same::Error, "/api/v1/query", vec![("query", "1".into()), ("time", "now".into())]));
    all.push((
        Same::Error,
        "/api/v1/query",
        vec![("query", "1".into()), ("timeout", "soon".into())],
    ));
    for (text, step) in [
        ("shape_total", "10"),
        ("shape_gauge", "30s"),
        ("rate(shape_total[55s])", "1m"),
        ("native_seconds", "10"),
        ("increase(native_seconds[55s])", "30"),
        ("1", "15"),
        ("vector(time())", "20.5"),
    ] {
        all.push((Same::All, "/api/v1/query_range", range(text, step)));
    }
    for (text, step) in [
        ("shape_total", "0"),
        ("shape_total", "x"),
        ("shape_total[55s]", "10"),
        ("\"a\"", "10"),
        ("shape_total", "0.001"),
        ("up{", "1"),
    ] {
        all.push((Same::Error, "/api/v1/query_range", range(text, step)));
    }
    // As many points as there may be, and one more.
    for (same, steps) in [(Same::All, 11_000), (Same::Error, 11_001)] {
        let from = now.parse::<i64>().expect("seconds") - steps;
        let mut query = range("1", "1");
        query[2].1 = from.to_string();
        all.push((same, "/api/v1/query_range", query));
    }
    let ends_first = vec![
        ("query", "1".into()),
        ("start", now.to_owned()),
        ("end", before.to_owned()),
        ("step", "1".into()),
    ];
    all.push((Same::Error, "/api/v1/query_range", ends_first));
    all.push((Same::Error, "/api/v1/query_range", vec![("query", "1".into())]));
    let matching = |texts: &[&str]| {
        let matched = texts.iter().map(|text| ("match[]", (*text).to_owned()));
        matched.chain([("start", before.to_owned()), ("end", now.to_owned())]).collect::<Vec<_>>()
    };
    all.push((
        Same::All,
        "/api/v1/series",
        matching(&["shape_total", "{__name__=~\"shape_g.*\"}", "shape_gauge"]),
    ));
    all.push((Same::All, "/api/v1/series", matching(&["none_such"])));
    for wrong in [&[][..], &["{}"], &["shape_total{"], &["sum(shape_total)"], &["{a=~\".*\"}"]] {
        all.push((Same::Error, "/api/v1/series", matching(wrong)));
    }
    all.push((Same::All, "/api/v1/labels", matching(&["shape_total"])));
    all.push((Same::All, "/api/v1/label/job/values", matching(&["shape_total"])));
    all.push((Same::All, "/api/v1/label/none/values", matching(&[])));
    all.push((Same::All, "/api/v1/label/__name__/values", matching(&["{__name__=~\"shape_.+\"}"])));
    all.push((Same::Error, "/api/v1/labels", matching(&["shape_total{"])));
    for text in ["sum(rate(shape_total[5m]))by(job)", "a+b", "up{a='b'}"] {
        all.push((Same::Shape, "/api/v1/format_query", vec![("query", text.to_owned())]));
    }
    all.push((Same::Error, "/api/v1/format_query", vec![("query", "a+".to_owned())]));
    all.push((Same::All, "/api/v1/query_exemplars", range("shape_total", "1")));
    all.push((Same::Error, "/api/v1/query_exemplars", range("shape_total{", "1")));
    for path in ["buildinfo", "runtimeinfo", "config", "tsdb"] {
        let path: &'static str = match path {
            "buildinfo" => "/api/v1/status/buildinfo",
            "runtimeinfo" => "/api/v1/status/runtimeinfo",
            "config" => "/api/v1/status/config",
            _ => "/api/v1/status/tsdb",
        };
        all.push((Same::Shape, path, Vec::new()));
    }
    all.push((Same::Shape, "/api/v1/alertmanagers", Vec::new()));
    all
}

/// Rows in one order: a vector has none.
fn sorted((status, mut answer): (u16, Value)) -> (u16, Value) {
    if let Some(rows) = answer.pointer_mut("/data/result").and_then(Value::as_array_mut) {
        rows.sort_by_key(|row| row["metric"].to_string());
    }
    // Notes are another version's.
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|name, _| name != "infos" && name != "warnings");
    }
    (status, answer)
}

/// Names of fields and types of values; a list's are those of its first item. What only we have is left out.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => Value::Array(items.iter().take(1).map(shape).collect()),
        Value::Object(fields) => {
            let newer = ["watchkeep", "CWD", "GOMEMLIMIT"];
            let known = fields.iter().filter(|(name, _)| !newer.contains(&name.as_str()));
            Value::Object(known.map(|(name, value)| (name.clone(), shape(value))).collect())
        }
    }
}
