//! `/api/v1/rules`, `/api/v1/alerts` in Prometheus's shapes, and `POST /-/reload`. What rules there are and how they
//! stand is alerting's; here it becomes JSON.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use watchkeep_alerting::{
    Alertmanager,
    rule::{Active, AlertState, GroupView, Labels, Measure, Rule, RuleKind, RuleState, Rules},
};

/// The routes. What is reloaded are the rules and, where there is one, the `alertmanager.yml`.
pub(crate) fn router(rules: Rules, alertmanager: Option<Alertmanager>) -> Router {
    let files = Router::new()
        .route("/-/reload", post(reload).put(reload))
        .with_state((rules.clone(), alertmanager));
    Router::new()
        .route("/api/v1/rules", get(list))
        .route("/api/v1/alerts", get(alerts))
        .with_state(rules)
        .merge(files)
}

/// Each file is judged by itself: one that is wrong stays as it was.
async fn reload(State((rules, alertmanager)): State<(Rules, Option<Alertmanager>)>) -> Response {
    let mut wrong = String::new();
    if let Err(lines) = rules.reload().await {
        wrong = format!("the rules from before stay in force:\n{lines}\n");
    }
    if let Some(alertmanager) = alertmanager
        && let Err(lines) = alertmanager.reload().await
    {
        wrong = format!("{wrong}the alertmanager.yml from before stays in force:\n{lines}\n");
    }
    if wrong.is_empty() {
        return StatusCode::OK.into_response();
    }
    (StatusCode::INTERNAL_SERVER_ERROR, wrong).into_response()
}

async fn list(State(rules): State<Rules>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let name = name.trim_end_matches("[]").to_owned();
        wanted.entry(name).or_default().push(value.into_owned());
    }
    if let Some(kind) = wanted.get("type").and_then(|kinds| kinds.first())
        && !matches!(kind.as_str(), "alert" | "record")
    {
        let error = format!("type {kind:?} is not known: give alert or record");
        let body = json!({ "status": "error", "errorType": "bad_data", "error": error });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    match rules.groups().await {
        Ok(groups) => {
            let groups: Vec<Value> = groups.iter().filter_map(|g| group(g, &wanted)).collect();
            success(&json!({ "groups": groups }))
        }
        Err(message) => unavailable(&message),
    }
}

async fn alerts(State(rules): State<Rules>) -> Response {
    match rules.groups().await {
        Ok(groups) => {
            let states = groups.iter().flat_map(|view| &view.state.rules);
            let active = states.flat_map(|state| &state.active);
            let alerts: Vec<Value> = active.map(|(labels, active)| alert(labels, active)).collect();
            success(&json!({ "alerts": alerts }))
        }
        Err(message) => unavailable(&message),
    }
}

fn success(data: &Value) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

fn unavailable(message: &str) -> Response {
    let body = json!({ "status": "error", "errorType": "unavailable", "error": message });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// A group, with the rules that are asked for; none when there are none.
fn group(view: &GroupView, wanted: &BTreeMap<String, Vec<String>>) -> Option<Value> {
    let is = |name: &str, value: &str| {
        wanted.get(name).is_none_or(|values| values.iter().any(|wanted| wanted == value))
    };
    let group = &view.group;
    if !is("rule_group", &group.name) || !is("file", &group.file) {
        return None;
    }
    let of_type = |rule: &Rule| match (&rule.kind, wanted.get("type").and_then(|t| t.first())) {
        (RuleKind::Alert(_), Some(kind)) => kind == "alert",
        (RuleKind::Record(_), Some(kind)) => kind == "record",
        (_, None) => true,
    };
    let pairs = group.rules.iter().zip(&view.state.rules);
    let rules: Vec<Value> = pairs
        .filter(|(rule, _)| is("rule_name", rule.name()) && of_type(rule))
        .map(|(rule, state)| self::rule(rule, state))
        .collect();
    if rules.is_empty() && !wanted.is_empty() {
        return None;
    }
    let seconds: f64 = view.state.rules.iter().map(|rule| rule.duration.as_secs_f64()).sum();
    Some(json!({
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": group.interval.as_secs_f64(),
        "limit": group.limit,
        "evaluationTime": seconds,
        "lastEvaluation": instant(view.state.evaluated_at_ms),
    }))
}

fn rule(rule: &Rule, state: &RuleState) -> Value {
    let labels: BTreeMap<_, _> = rule.labels.iter().map(|(n, text)| (n, &text.raw)).collect();
    let mut shown = json!({
        "name": rule.name(),
        "query": rule.expr,
        "labels": labels,
        "health": state.health.as_str(),
        "evaluationTime": state.duration.as_secs_f64(),
        "lastEvaluation": instant(state.evaluated_at_ms),
        "type": "recording",
    });
    if let Some(error) = &state.last_error {
        shown["lastError"] = json!(error);
    }
    if let RuleKind::Alert(alerting) = &rule.kind {
        let firing = state.active.values().any(|active| active.state == AlertState::Firing);
        let annotations: BTreeMap<_, _> =
            alerting.annotations.iter().map(|(n, text)| (n, &text.raw)).collect();
        let alerts: Vec<_> = state.active.iter().map(|(labels, a)| alert(labels, a)).collect();
        shown["type"] = json!("alerting");
        shown["state"] = json!(match (firing, state.active.is_empty()) {
            (true, _) => "firing",
            (false, false) => "pending",
            (false, true) => "inactive",
        });
        shown["duration"] = json!(alerting.hold.as_secs_f64());
        shown["keepFiringFor"] = json!(alerting.keep_firing.as_secs_f64());
        shown["annotations"] = json!(annotations);
        shown["alerts"] = json!(alerts);
    }
    shown
}

fn alert(labels: &Labels, active: &Active) -> Value {
    let value = match &active.value {
        Measure::Float(value) => format!("{value:e}"),
        Measure::Histogram(histogram) => histogram.text.to_string(),
    };
    let mut shown = json!({
        "labels": labels,
        "annotations": active.annotations,
        "state": active.state.as_str(),
        "activeAt": instant(Some(active.active_at_ms)),
        "value": value,
    });
    if let Some(since) = active.keep_firing_since_ms {
        shown["keepFiringSince"] = json!(instant(Some(since)));
    }
    shown
}

/// RFC 3339; Go's zero time where there is none.
fn instant(millis: Option<i64>) -> String {
    let at = millis.and_then(DateTime::<Utc>::from_timestamp_millis);
    at.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}
