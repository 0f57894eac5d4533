//! `/api/v1/targets`: what this node's collector scrapes.

use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use watchkeep_collector::TargetState;

use super::{
    Asked,
    answer::{Answer, Refusal},
    params::Params,
};

/// How Prometheus writes a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn router(asked: Asked) -> Router {
    Router::new().route("/api/v1/targets", get(targets)).with_state(asked)
}

async fn targets(State(asked): State<Asked>, params: Params) -> Result<Answer, Refusal> {
    let state = params.get("state").map(str::to_lowercase);
    let pool = params.get("scrapePool");
    let all = asked.scrapes.map(|scrapes| scrapes.targets()).unwrap_or_default();
    let meant = all.iter().filter(|target| pool.is_none_or(|pool| pool == target.job));
    let active: Vec<_> = match state.as_deref() {
        Some("dropped") => Vec::new(),
        _ => meant.map(active).collect(),
    };
    // What rules drop never becomes a target here.
    Answer::of(&json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}))
}

fn active(target: &TargetState) -> Value {
    let (health, error, at, took) = match &target.last {
        None => ("unknown", "", NEVER.to_owned(), 0.0),
        Some(last) => {
            let at = DateTime::from_timestamp_millis(last.at_ms).unwrap_or_default();
            let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
            let error = last.error.as_deref();
            (
                if error.is_none() { "up" } else { "down" },
                error.unwrap_or_default(),
                at,
                last.seconds,
            )
        }
    };
    json!({
        "discoveredLabels": target.labels,
        "labels": target.labels,
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": error,
        "lastScrape": at,
        "lastScrapeDuration": took,
        "health": health,
        "scrapeInterval": format!("{}ms", target.interval.as_millis()),
        "scrapeTimeout": format!("{}ms", target.timeout.as_millis()),
    })
}
