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
use watchkeep_series::general;

mod wanted;

use wanted::Wanted;

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
    let wanted = match Wanted::read(&query.unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(message) => return bad_data(&message),
    };
    let mut groups = match rules.groups().await {
        Ok(groups) => groups,
        Err(message) => return unavailable(&message),
    };
    // As Prometheus sorts them; pages need an order that stays.
    groups.sort_by(|a, b| (&a.group.file, &a.group.name).cmp(&(&b.group.file, &b.group.name)));
    let views = groups.iter().map(|view| (&*view.group, view));
    match wanted.page(views, |view| group(view, &wanted)) {
        Ok((groups, None)) => success(&json!({ "groups": groups })),
        Ok((groups, Some(next))) => success(&json!({ "groups": groups, "groupNextToken": next })),
        Err(message) => bad_data(&message),
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

fn bad_data(message: &str) -> Response {
    let body = json!({ "status": "error", "errorType": "bad_data", "error": message });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// A group, with the rules that are asked for; none when there are none.
fn group(view: &GroupView, wanted: &Wanted) -> Option<Value> {
    let group = &view.group;
    if !wanted.has_group(group) {
        return None;
    }
    let pairs = group.rules.iter().zip(&view.state.rules);
    let rules: Vec<Value> = pairs
        .filter(|(rule, _)| wanted.has_rule(rule))
        .map(|(rule, state)| self::rule(rule, state, wanted.exclude_alerts))
        .collect();
    if rules.is_empty() && wanted.is_some() {
        return None;
    }
    let seconds: f64 = view.state.rules.iter().map(|rule| rule.duration.as_secs_f64()).sum();
    let mut shown = json!({
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": group.interval.as_secs_f64(),
        "limit": group.limit,
        "evaluationTime": seconds,
        "lastEvaluation": instant(view.state.evaluated_at_ms),
    });
    if let Some(offset) = group.query_offset {
        shown["queryOffset"] = json!(offset.as_secs_f64());
    }
    Some(shown)
}

fn rule(rule: &Rule, state: &RuleState, without_alerts: bool) -> Value {
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
        let active = state.active.iter().filter(|_| !without_alerts);
        let alerts: Vec<_> = active.map(|(labels, a)| alert(labels, a)).collect();
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
        Measure::Float(value) => exponential(*value),
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

/// As Go's `FormatFloat` writes it with `e`: `1e+00`, `-2.5e-07`, `+Inf`.
fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return general(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// RFC 3339; Go's zero time where there is none.
fn instant(millis: Option<i64>) -> String {
    let at = millis.and_then(DateTime::<Utc>::from_timestamp_millis);
    at.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (value, text) in [
            (0.0, "0e+00"),
            (1.0, "1e+00"),
            (-2.5e-7, "-2.5e-07"),
            (123_456.789, "1.23456789e+05"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(exponential(value), text);
        }
    }
}
