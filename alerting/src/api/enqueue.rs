//! `POST /v2/enqueue`: what programs report as PagerDuty's Events API v2 has it.
//!
//! Source: <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>. The routing key says which integration of
//! the configuration it is; 202 means that the event is in the registry.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use watchkeep_catalog::{Time, read_json};

use super::Problem;
use crate::{
    clock,
    context::{Context, Gate},
    incident::{self, Finding, INCIDENT_REPORTED, Report},
    text::shorten,
};

/// Longest event, in bytes: PagerDuty's.
const BODY_MAX: usize = 512 * 1024;
/// Longest `dedup_key`, in bytes: PagerDuty's.
const KEY_MAX: usize = 255;
/// Longest summary, in characters: PagerDuty's.
const SUMMARY_MAX: usize = 1_024;
/// Custom details that are kept, and the longest of them in characters.
const DETAILS_MAX: usize = 50;
const DETAIL_MAX: usize = 2_000;

#[derive(Deserialize)]
struct Event {
    routing_key: Option<String>,
    event_action: Option<String>,
    dedup_key: Option<String>,
    payload: Option<Payload>,
    links: Option<Vec<Link>>,
    client: Option<String>,
    client_url: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    summary: Option<String>,
    source: Option<String>,
    severity: Option<String>,
    timestamp: Option<String>,
    component: Option<String>,
    group: Option<String>,
    class: Option<String>,
    custom_details: Option<Value>,
}

#[derive(Deserialize)]
struct Link {
    href: Option<String>,
    text: Option<String>,
}

/// Takes an event.
pub(super) async fn enqueue(State(context): State<Arc<Context>>, body: Bytes) -> Response {
    let now = clock::now();
    if body.len() > BODY_MAX {
        return refused(&[format!("the event has {} bytes: at most {BODY_MAX}", body.len())]);
    }
    let event: Event = match read_json(&body) {
        Ok(event) => event,
        Err(error) => return refused(&[format!("the body is not an event: {error}")]),
    };
    let Some(gate) = context.gate(event.routing_key.as_deref().unwrap_or_default()) else {
        return refused(&[
            "'routing_key' is of no integration: set alerting.integrations".to_owned()
        ]);
    };
    let report = match report(event, gate, &context.id, now) {
        Ok(report) => report,
        Err(errors) => return refused(&errors),
    };
    let key = report.dedup_key().strip_prefix(&prefix(gate)).unwrap_or_default().to_owned();
    match incident::report(&context.client, &context.rules, None, &report, now).await {
        Ok(_) => {
            let answer =
                json!({"status": "success", "message": "Event processed", "dedup_key": key});
            (StatusCode::ACCEPTED, Json(answer)).into_response()
        }
        // Whoever sends events tries again on a 5xx.
        Err(error) => Problem::from(error).into_response(),
    }
}

fn refused(errors: &[String]) -> Response {
    let answer = json!({
        "status": "invalid event", "message": "Event object is invalid", "errors": errors,
    });
    (StatusCode::BAD_REQUEST, Json(answer)).into_response()
}

/// Two integrations may use the same key for different things.
fn prefix(gate: &Gate) -> String {
    format!("events/{}/", gate.name)
}

fn report(event: Event, gate: &Gate, node: &str, now: Time) -> Result<Report, Vec<String>> {
    let key = match (event.dedup_key.as_deref(), event.event_action.as_deref()) {
        (Some(key), _) if key.len() > KEY_MAX => {
            return Err(vec![format!("'dedup_key' has more than {KEY_MAX} bytes")]);
        }
        (Some(key), _) if !key.is_empty() => key.to_owned(),
        (_, Some("trigger")) => {
            let seed = format!("{node}/{}/{}", gate.name, now.timestamp_micros());
            incident::digest(&seed)[..32].to_owned()
        }
        _ => String::new(),
    };
    let (dedup_key, by) = (format!("{}{key}", prefix(gate)), gate.name.clone());
    match event.event_action.as_deref() {
        Some("trigger") => trigger(event, gate, dedup_key, now).map(Report::Trigger),
        Some("acknowledge" | "resolve") if key.is_empty() => {
            Err(vec!["'dedup_key' is missing or blank".to_owned()])
        }
        Some("acknowledge") => Ok(Report::Acknowledge { dedup_key, by }),
        Some("resolve") => Ok(Report::Resolve { dedup_key, by, why: "resolved".to_owned() }),
        _ => Err(vec!["'event_action' must be trigger, acknowledge or resolve".to_owned()]),
    }
}

fn trigger(
    event: Event,
    gate: &Gate,
    dedup_key: String,
    now: Time,
) -> Result<Finding, Vec<String>> {
    let Some(payload) = event.payload else {
        return Err(vec!["'payload' is missing or blank".to_owned()]);
    };
    let mut errors = Vec::new();
    let mut required = |name: &str, value: &Option<String>| {
        let value = value.clone().unwrap_or_default();
        if value.trim().is_empty() {
            errors.push(format!("'payload.{name}' is missing or blank"));
        }
        value
    };
    let summary = required("summary", &payload.summary);
    let source = required("source", &payload.source);
    let severity = required("severity", &payload.severity);
    if !severity.is_empty() && !["critical", "error", "warning", "info"].contains(&&*severity) {
        errors.push("'payload.severity' must be critical, error, warning or info".to_owned());
    }
    let started_at = match payload.timestamp.as_deref().map(str::parse::<Time>) {
        None => now,
        // A year of five digits makes no id, and nothing began before computers counted.
        Some(Ok(at)) => at.min(now).max(Time::UNIX_EPOCH),
        Some(Err(_)) => {
            errors.push("'payload.timestamp' is not an ISO 8601 time".to_owned());
            now
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), INCIDENT_REPORTED.to_owned()),
        ("severity".to_owned(), severity.clone()),
        ("source".to_owned(), source),
        ("integration".to_owned(), gate.name.clone()),
    ]);
    let named =
        [("component", payload.component), ("group", payload.group), ("class", payload.class)];
    for (name, value) in named {
        labels.extend(value.map(|value| (name.to_owned(), value)));
    }
    let mut details = details(payload.custom_details);
    details.extend(event.client.map(|client| ("client".to_owned(), client)));
    details.extend(event.client_url.map(|url| ("client_url".to_owned(), url)));
    let links = event.links.unwrap_or_default();
    for (at, link) in links.into_iter().take(DETAILS_MAX).enumerate() {
        let name = link.text.unwrap_or_else(|| format!("link {}", at + 1));
        details.extend(link.href.map(|href| (name, href)));
    }
    Ok(Finding {
        dedup_key,
        title: shorten(&summary, SUMMARY_MAX),
        alert: INCIDENT_REPORTED.to_owned(),
        severity,
        labels,
        details,
        source: "events".to_owned(),
        escalation: gate.escalation.clone(),
        started_at,
    })
}

/// Custom details as text by name, however they are nested.
fn details(custom: Option<Value>) -> BTreeMap<String, String> {
    let fields = match custom {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(other) => Map::from_iter([("details".to_owned(), other)]),
    };
    let fields = fields.into_iter().take(DETAILS_MAX);
    fields.map(|(name, value)| (name, shorten(&detail(value), DETAIL_MAX))).collect()
}

/// A detail as text, whatever it is.
pub(super) fn detail(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    fn read(event: Value) -> Result<Report, Vec<String>> {
        let gate = Gate { name: "cron".to_owned(), escalation: Some("db".to_owned()) };
        report(serde_json::from_value(event).unwrap(), &gate, "n", time(0))
    }

    #[test]
    fn events_as_pagerduty_has_them() {
        let payload = json!({"summary": "disk full", "source": "web-1", "severity": "error",
            "timestamp": "2026-01-05T08:59:00Z", "component": "disk", "custom_details": {"free": 0, "path": "/"}});
        let trigger = json!({"routing_key": "k", "event_action": "trigger", "dedup_key": "d", "payload": payload,
            "links": [{"href": "http://example.org/", "text": "graph"}]});
        let Report::Trigger(finding) = read(trigger).unwrap() else { panic!() };
        assert_eq!(finding.dedup_key, "events/cron/d");
        assert_eq!((finding.title.as_str(), finding.severity.as_str()), ("disk full", "error"));
        assert_eq!(finding.started_at, time(-60));
        assert_eq!(finding.labels["component"], "disk");
        assert_eq!(
            (&*finding.details["free"], &*finding.details["graph"]),
            ("0", "http://example.org/")
        );
        assert_eq!(finding.escalation.as_deref(), Some("db"));
        let early = json!({"event_action": "trigger", "links": null, "payload": {"summary": "s", "source": "a",
            "severity": "info", "timestamp": "-262143-01-01T00:00:00Z"}});
        let Report::Trigger(finding) = read(early).unwrap() else { panic!() };
        assert_eq!(finding.started_at, Time::UNIX_EPOCH);
        let resolve = read(json!({"event_action": "resolve", "dedup_key": "d"})).unwrap();
        assert!(
            matches!(resolve, Report::Resolve { dedup_key, .. } if dedup_key == "events/cron/d")
        );
        for (wrong, part) in [
            (json!({"event_action": "trigger"}), "'payload' is missing"),
            (
                json!({"event_action": "trigger", "payload": {"source": "a", "severity": "info"}}),
                "summary",
            ),
            (
                json!({"event_action": "trigger", "payload": {"summary": "s", "source": "a", "severity": "bad"}}),
                "critical, error, warning or info",
            ),
            (json!({"event_action": "acknowledge"}), "'dedup_key'"),
            (json!({"event_action": "explode", "dedup_key": "d"}), "'event_action'"),
            (json!({"event_action": "resolve", "dedup_key": "x".repeat(256)}), "255"),
        ] {
            let errors = read(wrong).unwrap_err();
            assert!(errors.iter().any(|error| error.contains(part)), "{errors:?}");
        }
    }
}
