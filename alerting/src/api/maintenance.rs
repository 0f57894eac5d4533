//! `GET|POST /v1/maintenance`, `GET|DELETE /v1/maintenance/{id}`: when nobody is to be told. On any node.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use watchkeep_catalog::{
    Maintenance, Time,
    client::{Compare, Op, Txn},
    keys, read_json,
};

use super::{Asked, Problem, check_id};
use crate::{
    clock,
    context::Context,
    maintenance::{Span, Window, Windows},
};

/// Longest body, in bytes.
const BODY_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Also those that are over.
    #[serde(default)]
    all: bool,
}

/// A window in the answer.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    record: Maintenance,
    /// It stands in the configuration.
    configured: bool,
    /// The span that is open now.
    open: Option<Span>,
    /// The next one.
    next: Option<Span>,
}

#[derive(Serialize)]
pub(super) struct List {
    maintenance: Vec<Shown>,
}

fn shown(window: &Window, configured: bool, now: Time) -> Shown {
    let (open, next) = (window.open(now), window.next(now));
    Shown { record: window.record.clone(), configured, open, next }
}

async fn windows(context: &Context) -> Result<Windows, Problem> {
    let (kvs, _) = context.client.list(keys::MAINTENANCE).await?;
    Ok(context.rules.windows.with(&kvs))
}

pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<List>, Problem> {
    let now = clock::now();
    let windows = windows(&context).await?;
    let mut maintenance: Vec<Shown> =
        windows.iter().map(|(window, configured)| shown(window, configured, now)).collect();
    maintenance.retain(|shown| filter.all || shown.open.is_some() || shown.next.is_some());
    Ok(Json(List { maintenance }))
}

pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    check_id("maintenance window", &id)?;
    let windows = windows(&context).await?;
    let found = windows.iter().find(|(window, _)| window.record.id == id);
    found
        .map(|(window, configured)| Json(shown(window, configured, clock::now())))
        .ok_or_else(|| missing(&id))
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!(
        "maintenance window {id} does not exist: /v1/maintenance?all=true lists them"
    ))
}

/// Registers a window. It begins now unless it says otherwise; a length may be given instead of an end.
pub(super) async fn create(
    State(context): State<Arc<Context>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    if body.len() > BODY_MAX {
        return Err(Problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has {} bytes: at most {BODY_MAX} are read", body.len()),
        ));
    }
    let record: Maintenance = read_json(&body).map_err(|e| {
        Problem::bad_request(format!(
            "maintenance window: {e}; such as {{\"scope\": {{\"service\": \"db\"}}, \"duration_seconds\": 3600}}"
        ))
    })?;
    let now = clock::now();
    let seed = format!("{}/{}/", context.id, now.timestamp_micros());
    let digest = Sha256::digest([seed.as_bytes(), &body].concat());
    let id = format!("m-{}-{}", now.format("%Y%m%d-%H%M%S"), hex::encode(&digest[..4]));
    if record.duration_seconds == Some(0) {
        return Err(Problem::bad_request("duration_seconds is 0: give 1 or more"));
    }
    let record = completed(record, now, &id);
    let window = Window::new(record).map_err(Problem::bad_request)?;
    let record = &window.record;
    let id = &record.id;
    if record.to.is_some_and(|to| to <= now) {
        return Err(Problem::bad_request("to: the window is over already: give a later end"));
    }
    if window.open(now).is_none() && window.next(now).is_none() {
        return Err(Problem::bad_request(
            "schedule: no window of it is to come: give another line, or a later to",
        ));
    }
    let taken = Problem(
        StatusCode::CONFLICT,
        format!("maintenance window {id} exists: give it another id, or end that one first"),
    );
    if context.rules.windows.is_configured(id) {
        return Err(taken);
    }
    let key = keys::maintenance(id);
    let txn = Txn::new().when(Compare::create_revision(&key, 0)).then(Op::put_json(&key, record)?);
    if !context.client.txn(txn).await?.succeeded {
        return Err(taken);
    }
    Ok((StatusCode::CREATED, Json(shown(&window, false, now))))
}

/// Fills in what follows from the rest.
fn completed(mut record: Maintenance, now: Time, id: &str) -> Maintenance {
    if record.id.is_empty() {
        id.clone_into(&mut record.id);
    }
    let from = *record.from.get_or_insert(now);
    if record.schedule.is_none()
        && record.to.is_none()
        && let Some(seconds) = record.duration_seconds.take()
    {
        let length = i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds);
        record.to = length.and_then(|length| from.checked_add_signed(length));
    }
    record
}

/// Ends a window. One that has begun stays on record with its end, for whoever reckons afterwards what was promised; one
/// that has not is removed.
pub(super) async fn end(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    check_id("maintenance window", &id)?;
    if context.rules.windows.is_configured(&id) {
        return Err(Problem(
            StatusCode::CONFLICT,
            format!("maintenance window {id} stands in the configuration: remove it there"),
        ));
    }
    let key = keys::maintenance(&id);
    let Some(kv) = context.client.get(&key).await? else { return Err(missing(&id)) };
    let now = clock::now();
    // One that cannot be read was never in force.
    let ended = kv.json::<Maintenance>().ok().and_then(|record| ended(record, now));
    let op = match &ended {
        Some(record) => Op::put_json(&key, record)?,
        None => Op::delete(&key),
    };
    let txn = Txn::new().when(Compare::mod_revision(&key, kv.mod_revision)).then(op);
    if context.client.txn(txn).await?.succeeded {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem(
        StatusCode::CONFLICT,
        format!("maintenance window {id} was changed by somebody else just now: try again"),
    ))
}

/// The record of a window that ends now; none when it has not begun.
fn ended(mut record: Maintenance, now: Time) -> Option<Maintenance> {
    if record.from.is_some_and(|from| from >= now) {
        return None;
    }
    record.to = Some(record.to.map_or(now, |to| to.min(now)));
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    fn record(json: serde_json::Value) -> Maintenance {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_length_is_as_good_as_an_end() {
        let scope = serde_json::json!({"service": "db"});
        let short = record(serde_json::json!({"scope": scope, "duration_seconds": 60}));
        let done = completed(short, time(0), "m-1");
        assert_eq!((done.id.as_str(), done.from, done.to), ("m-1", Some(time(0)), Some(time(60))));
        assert_eq!(done.duration_seconds, None);
        Window::new(done).unwrap();
        let weekly =
            record(serde_json::json!({"id": "w", "scope": scope, "schedule": "0 3 * * sun",
            "duration_seconds": 60}));
        let done = completed(weekly, time(0), "m-1");
        assert_eq!((done.id.as_str(), done.to, done.duration_seconds), ("w", None, Some(60)));
        // Nothing is guessed.
        let endless = completed(record(serde_json::json!({"scope": scope})), time(0), "m-1");
        assert!(Window::new(endless).unwrap_err().contains("to is missing"));
        let long = record(serde_json::json!({"scope": scope, "duration_seconds": u64::MAX}));
        assert!(Window::new(completed(long, time(0), "m-1")).is_err());
    }

    #[test]
    fn what_has_begun_stays_on_record() {
        let of = |from: i64, to: i64| {
            record(
                serde_json::json!({"id": "a", "scope": {"all": true}, "from": time(from), "to": time(to)}),
            )
        };
        assert_eq!(ended(of(10, 20), time(5)), None);
        assert_eq!(ended(of(10, 20), time(15)).unwrap().to, Some(time(15)));
        assert_eq!(ended(of(10, 20), time(25)).unwrap().to, Some(time(20)));
        let weekly = record(
            serde_json::json!({"id": "w", "scope": {"all": true}, "schedule": "0 3 * * sun",
            "duration_seconds": 60, "from": time(0)}),
        );
        assert_eq!(ended(weekly, time(9)).unwrap().to, Some(time(9)));
    }
}
