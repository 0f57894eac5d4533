//! The same rule file in Prometheus 2.42 and in a node: `/api/v1/rules` and `/api/v1/alerts` say the same. And what the API of
//! Prometheus 3 has besides; and what is refused when the rules are read again.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    SOON,
    common::{Cluster, eventually, http, wait::ensure},
    peers::{Peer, asked, get},
};

/// Expressions are written as Prometheus writes them.
const RULES: &str = r#"
groups:
  - name: values
    interval: 1s
    limit: 10
    rules:
      - {record: one, expr: vector(1), labels: {kind: recorded}}
      - {alert: One, expr: vector(1), labels: {severity: page}, annotations: {summary: "{{ $value }} it is"}}
      - {alert: Small, expr: vector(1.5e-07)}
      - {alert: Large, expr: vector(1.234567e+06), for: 1h}
      - {alert: Endless, expr: vector(+Inf), keep_firing_for: 5m}
      - {alert: NoNumber, expr: vector(NaN)}
      - {alert: Never, expr: vector(1) == 2}
  - name: more
    interval: 1s
    rules:
      - {record: 'more:one', expr: vector(1)}
      - {alert: More, expr: vector(1) > 1}
"#;

/// Without what differs from run to run, in one order.
fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Number(number) => return json!(number.as_f64()),
        Value::Object(fields) => {
            // Prometheus leaves out what a recording rule adds, when it is nothing.
            fields.retain(|name, value| {
                name != "labels" || value.as_object().is_none_or(|l| !l.is_empty())
            });
            for (name, value) in fields.iter_mut() {
                *value = match name.as_str() {
                    "evaluationTime" => json!(value.is_number()),
                    "lastEvaluation" | "activeAt" => {
                        let time = value.as_str().unwrap_or_default();
                        json!(chrono::DateTime::parse_from_rfc3339(time).is_ok())
                    }
                    _ => plain(value.take()),
                };
            }
        }
        Value::Array(items) => {
            *items = items.iter_mut().map(|item| plain(item.take())).collect();
            if items.iter().all(|item| item.get("activeAt").is_some()) {
                items.sort_by_key(|item| item["labels"].to_string());
            }
        }
        _ => {}
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rules_the_same_answer() {
    let dir = TempDir::new().expect("temporary folder");
    let file = dir.path().join("rules.yml");
    fs::write(&file, RULES).expect("rules");
    let configuration = format!("rule_files: [{}]\n", file.display());
    let prometheus = Peer::prometheus(dir.path(), &configuration).await;
    let alerting = json!({"rule_files": [file], "shipped_rules": false});
    let cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let ours = cluster.nodes[0].url("");
    let answers = async |base: &str| {
        eventually("every rule is evaluated", SOON, async || {
            let rules = get(base, "/api/v1/rules", &[]).await?;
            let text = rules.to_string();
            ensure(text.matches("\"health\":\"ok\"").count() == 9, || text.clone())?;
            Ok((plain(rules), plain(get(base, "/api/v1/alerts", &[]).await?)))
        })
        .await
    };
    let (expected, found) = (answers(&prometheus.base).await, answers(&ours).await);
    assert_eq!(found.0, expected.0);
    assert_eq!(found.1, expected.1);
    let alerts = found.1["data"]["alerts"].as_array().cloned().unwrap_or_default();
    let values: Vec<&str> = alerts.iter().filter_map(|alert| alert["value"].as_str()).collect();
    assert_eq!(values, ["+Inf", "1.234567e+06", "NaN", "1e+00", "1.5e-07"], "{alerts:#?}");
    for kind in ["alert", "record", "none"] {
        let query = [("type", kind)];
        let expected = asked(&prometheus.base, "/api/v1/rules", &query).await.expect("an answer");
        let found = asked(&ours, "/api/v1/rules", &query).await.expect("an answer");
        assert_eq!(found.0, expected.0, "{kind}");
        assert_eq!(plain(found.1["data"].clone()), plain(expected.1["data"].clone()), "{kind}");
    }
    newer(&ours).await;
}

/// What Prometheus 3 takes and 2.42 does not know.
async fn newer(base: &str) {
    let rules =
        async |query: &[(&str, &str)]| get(base, "/api/v1/rules", query).await.expect("rules");
    let names = |answer: &Value| {
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
        rules.map(|rule| rule["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&rules(&[("match[]", "{severity=\"page\"}")]).await), ["One"]);
    let bare = rules(&[("exclude_alerts", "true"), ("rule_name[]", "One")]).await;
    assert_eq!(bare["data"]["groups"][0]["rules"][0]["alerts"], json!([]), "{bare}");
    assert_eq!(bare["data"]["groups"][0]["rules"][0]["state"], "firing", "{bare}");
    let first = rules(&[("group_limit", "1")]).await;
    assert_eq!(names(&first), ["more:one", "More"], "{first}");
    let token = first["data"]["groupNextToken"].as_str().expect("a token");
    let second = rules(&[("group_limit", "1"), ("group_next_token", token)]).await;
    assert_eq!(names(&second).len(), 7, "{second}");
    assert_eq!(second["data"].get("groupNextToken"), None, "{second}");
}

/// A rule that the engine would refuse each time is refused when it is read, and so is a question.
#[tokio::test(flavor = "multi_thread")]
async fn experimental_functions_have_to_be_switched_on() {
    const EXPERIMENTAL: &str = "groups: [{name: g, interval: 1s, rules: [{record: some, expr: 'limitk(1, vector(1))'}]}]\n";
    let dir = TempDir::new().expect("temporary folder");
    for switched_on in [false, true] {
        let file = dir.path().join("rules.yml");
        fs::write(&file, RULES).expect("rules");
        let alerting = json!({"rule_files": [file], "shipped_rules": false});
        let query = json!({"experimental": switched_on});
        let cluster = Cluster::start(1, &[("alerting", alerting), ("query", query)]).await;
        let node = &cluster.nodes[0];
        let question = [("query", "limitk(1, vector(1))")];
        let (status, answer) =
            asked(&node.url(""), "/api/v1/query", &question).await.expect("an answer");
        fs::write(&file, EXPERIMENTAL).expect("rules");
        let (reloaded, said) = http::any(Method::POST, &node.url("/-/reload"), None).await;
        if switched_on {
            assert!(status == 200 && reloaded.is_success(), "{answer} {said}");
            continue;
        }
        assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{answer}");
        for text in [answer.to_string(), said] {
            assert!(text.contains("set query.experimental to use it"), "{text}");
        }
        assert!(reloaded.is_server_error());
        let rules = get(&node.url(""), "/api/v1/rules", &[]).await.expect("rules");
        assert_eq!(rules["data"]["groups"][1]["name"], "values", "those from before: {rules}");
    }
}
