//! Every call that Grafana's Prometheus data source makes (docs/grafana.md lists them), made as it makes it, and answered in
//! the shape that it reads.

use reqwest::RequestBuilder;
use serde_json::Value;

use crate::{
    common::{Cluster, http},
    peers::{NATIVE, STEP_MS, native, post as write_request, samples, write},
};

/// Sends a call and takes `data` out of the answer.
async fn data(call: RequestBuilder) -> Value {
    let answer = http::json(call).await.expect("an answer");
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"].clone()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_data_source() {
    let cluster = Cluster::start(1, &[]).await;
    let ours = cluster.nodes[0].url("");
    let now_ms = chrono::Utc::now().timestamp_millis() / STEP_MS * STEP_MS;
    write(&ours, &samples(now_ms)).await;
    write_request(&ours, &native(now_ms)).await;
    let (end, start) = ((now_ms / 1_000).to_string(), (now_ms / 1_000 - 60).to_string());
    let url = |path: &str| format!("{ours}/api/v1/{path}");
    let get = |path: &str, query: &[(&str, &str)]| http::client().get(url(path)).query(query);
    let post = |path: &str, form: &[(&str, &str)]| http::client().post(url(path)).form(form);

    // "Save & test": one question, and which Prometheus this is.
    let health = data(post("query", &[("query", "1+1"), ("time", &end)])).await;
    assert_eq!((&health["resultType"], &health["result"][1]), (&"scalar".into(), &"2".into()));
    let build = data(get("status/buildinfo", &[])).await;
    let version = build["version"].as_str().expect("a version");
    assert!(version.starts_with("3."), "{version}: Grafana reads what may be called from it");

    // Panels: range, instant, exemplars.
    let span = [("start", start.as_str()), ("end", end.as_str()), ("step", "15")];
    let with =
        |name: &'static str, value: &'static str| [span.to_vec(), vec![(name, value)]].concat();
    let range =
        data(post("query_range", &with("query", "sum by (job) (rate(shape_total[1m0s]))"))).await;
    assert_eq!(
        (&range["resultType"], range["result"].as_array().map(Vec::len)),
        (&"matrix".into(), Some(2))
    );
    let point = &range["result"][0]["values"][0];
    assert!(point[0].is_number() && point[1].is_string(), "{point}");
    let instant = data(post("query", &[("query", "shape_total"), ("time", &end)])).await;
    assert_eq!(instant["resultType"], "vector");
    assert_eq!(
        data(post("query_exemplars", &with("query", "shape_total"))).await,
        serde_json::json!([])
    );

    // A panel of a native histogram: count, sum and buckets, each with which of its ends are in it.
    let heat = data(post("query_range", &with("query", NATIVE))).await;
    let histogram = &heat["result"][0]["histograms"][0];
    assert!(histogram[0].is_number() && heat["result"][0]["values"].is_null(), "{heat}");
    assert!(histogram[1]["count"].is_string() && histogram[1]["sum"].is_string(), "{histogram}");
    let bucket = &histogram[1]["buckets"][0];
    assert!(bucket[0].is_u64() && (1..4).all(|n| bucket[n].is_string()), "{bucket}");
    let instant = data(post("query", &[("query", NATIVE), ("time", &end)])).await;
    assert_eq!(instant["result"][0]["histogram"][1]["count"], "360", "{instant}");

    // Notices over a panel: lists of texts beside the data.
    for (query, notes) in
        [("rate(shape_gauge[1m])", "infos"), ("quantile(2, shape_total)", "warnings")]
    {
        let call = post("query_range", &with("query", query));
        let answer = http::json(call).await.expect("an answer");
        assert_eq!((&answer["status"], texts(&answer[notes]).len()), (&"success".into(), 1));
        assert!(answer["data"]["result"].is_array(), "{answer}");
    }

    // Variables and completion: metrics, labels, values, series; by GET and by POST.
    let limited = with("limit", "40000");
    let names = data(get("label/__name__/values", &limited)).await;
    assert!(texts(&names).contains(&"shape_total"), "{names}");
    let matched = with("match[]", "shape_total");
    for call in [get("labels", &matched), post("labels", &matched)] {
        assert_eq!(texts(&data(call).await), ["__name__", "job", "path"]);
    }
    assert_eq!(texts(&data(get("label/job/values", &matched)).await), ["a", "b"]);
    for call in [get("series", &matched), post("series", &matched)] {
        assert_eq!(data(call).await.as_array().map(Vec::len), Some(2));
    }
    let metadata = data(get("metadata", &[("limit", "40000")])).await;
    let uptime = &metadata["process_start_time_seconds"][0];
    assert!(uptime["type"] == "gauge" && uptime["help"].is_string(), "{uptime}");

    // The list of rules and alerts.
    assert!(data(get("rules", &[])).await["groups"].is_array());
    assert!(data(get("alerts", &[])).await["alerts"].is_array());

    // Errors are shown as they come.
    let (status, text) = http::send(post("query", &[("query", "sum(")])).await.expect("an answer");
    let error: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status.as_u16(), &error["errorType"]), (400, &"bad_data".into()));
    assert!(
        error["error"]
            .as_str()
            .is_some_and(|words| words.starts_with("invalid parameter \"query\": "))
    );
}
