//! The calls of Grafana's Alertmanager data source (docs/grafana.md lists them), and the filters of API v2: the answers of the
//! real Alertmanager to the same alerts and silences.

use std::fs;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::SOON;
use crate::common::{
    Cluster,
    alertmanager::{Alertmanager, amtool},
    eventually, http,
    receiver::Receiver,
    wait::ensure,
};

const CONFIGURATION: &str = r#"
route:
  receiver: all
  group_by: [alertname]
  group_wait: 200ms
  routes:
  - {matchers: [team="db"], receiver: db, group_by: [team, instance], continue: true}
  - {matchers: [severity="critical"], receiver: loud}
inhibit_rules:
- {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [instance]}
receivers:
- {name: all, webhook_configs: [{url: 'URL/all'}]}
- {name: db}
- {name: loud}
"#;

/// What is asked for: each part of the filters, and what is wrong.
const QUESTIONS: [&str; 17] = [
    "alerts",
    "alerts?filter=team%3D%22db%22",
    "alerts?filter=team%3D~%22d.*%22&filter=severity%21%3Dcritical",
    "alerts?filter=absent%3D%22%22",
    "alerts?active=false",
    "alerts?silenced=false",
    "alerts?inhibited=false",
    "alerts?silenced=false&inhibited=false",
    "alerts?receiver=db",
    "alerts?receiver=d",
    "alerts?receiver=db%7Cloud",
    "alerts/groups",
    "alerts/groups?receiver=loud",
    "alerts/groups?filter=team%3D%22db%22&active=true&silenced=false",
    "receivers",
    "alerts?filter=bad%3D~%22%28%22",
    "alerts/groups?receiver=%28",
];

/// Without what differs by its nature: times, ids of silences, and the order of what has none.
fn essence(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let value = match name.as_str() {
                    "startsAt" | "updatedAt" | "endsAt" => json!(value.is_string()),
                    "silencedBy" => json!(value.as_array().map(Vec::len)),
                    _ => essence(value),
                };
                (name.clone(), value)
            })
            .collect(),
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(essence).collect();
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        value => value.clone(),
    }
}

#[tokio::test]
async fn answers_and_filters_as_alertmanager_has_them() {
    let receiver = Receiver::start().await;
    let cluster = Cluster::layout(1, &[("alerting", json!({"alertmanager_config": "am.yml"}))]);
    let configuration = CONFIGURATION.replace("URL", &receiver.url(""));
    fs::write(cluster.nodes[0].dir.join("am.yml"), &configuration).expect("written");
    let alertmanager = Alertmanager::start(cluster.dir(), &configuration).await;
    let cluster = cluster.run().await;
    cluster.alerting_leader().await;
    let (theirs, ours) = (alertmanager.address.clone(), cluster.nodes[0].http.clone());
    let ask = async |address: &str, path: &str| {
        let url = format!("http://{address}/api/v2/{path}");
        let (status, body) = http::any(Method::GET, &url, None).await;
        (status, serde_json::from_str::<Value>(&body).unwrap_or(json!(body)))
    };
    eventually("the API answers", SOON, async || {
        let (status, body) = ask(&ours, "status").await;
        ensure(status.is_success(), || body.to_string())
    })
    .await;
    let alert = |name: &str, team: &str, instance: &str, severity: &str| {
        json!({"labels": {"alertname": name, "team": team, "instance": instance, "severity": severity},
               "annotations": {"summary": format!("{name} of {instance}")},
               "generatorURL": "http://prometheus.example.org/graph"})
    };
    let alerts = json!([
        alert("Down", "db", "a", "critical"),
        alert("Slow", "db", "a", "warning"),
        alert("Slow", "web", "b", "warning"),
        alert("Full", "web", "c", "info"),
    ]);
    // Grafana makes a silence with an empty id, and without `isEqual`.
    let at = |minutes| (chrono::Utc::now() + chrono::TimeDelta::minutes(minutes)).to_rfc3339();
    let silence = json!({"id": "", "matchers": [{"name": "instance", "value": "c", "isRegex": false}],
                         "startsAt": at(0), "endsAt": at(60), "createdBy": "ann", "comment": "repair"});
    let mut silences = Vec::new();
    for address in [&theirs, &ours] {
        for (path, body) in [("alerts", &alerts), ("silences", &silence)] {
            let url = format!("http://{address}/api/v2/{path}");
            let (status, answer) = http::any(Method::POST, &url, Some(&body.to_string())).await;
            assert_eq!(status, StatusCode::OK, "{address}: {answer}");
            let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
            silences.extend(answer["silenceID"].as_str().map(ToOwned::to_owned));
        }
    }
    assert_eq!(silences.len(), 2);
    for question in QUESTIONS {
        eventually(question, SOON, async || {
            let (one, other) = (ask(&theirs, question).await, ask(&ours, question).await);
            ensure(one.0 == other.0, || format!("{question}: theirs {one:?}, ours {other:?}"))?;
            // What is wrong is said in other words.
            let same = !one.0.is_success() || essence(&one.1) == essence(&other.1);
            ensure(same, || {
                format!("{question}: theirs {:#}, ours {:#}", essence(&one.1), essence(&other.1))
            })
        })
        .await;
    }
    // "Save & test", silences: listed, one, ended, and one that there is not.
    let (_, status) = ask(&ours, "status").await;
    for (pointer, kind) in [
        ("/config/original", "a text"),
        ("/versionInfo/version", "a text"),
        ("/uptime", "a text"),
        ("/cluster/status", "a text"),
    ] {
        assert!(
            status.pointer(pointer).is_some_and(Value::is_string),
            "{pointer} is {kind}: {status}"
        );
    }
    for (address, id) in [&theirs, &ours].into_iter().zip(&silences) {
        let (_, listed) = ask(address, "silences?filter=instance%3D%22c%22").await;
        assert_eq!(
            (listed[0]["id"].as_str(), listed[0]["status"]["state"].as_str()),
            (Some(id.as_str()), Some("active"))
        );
        let (found, one) = ask(address, &format!("silence/{id}")).await;
        assert_eq!((found, one["comment"].as_str()), (StatusCode::OK, Some("repair")));
        let url = format!("http://{address}/api/v2/silence/{id}");
        assert_eq!(http::any(Method::DELETE, &url, None).await.0, StatusCode::OK);
        let (_, one) = ask(address, &format!("silence/{id}")).await;
        assert_eq!(one["status"]["state"], "expired");
        let absent = "silence/00000000-0000-4000-8000-000000000000";
        assert_eq!(ask(address, absent).await.0, StatusCode::NOT_FOUND);
    }
    // Of the cluster amtool shows what there is: no gossip.
    let shown = amtool(&ours, &["cluster", "show"]);
    assert!(shown.contains("disabled") || shown.contains("ready"), "{shown}");
}
