//! Many at once: `PUT /v1/services/{service}/instances` registers a list, `POST /v1/heartbeats` renews one. An error is
//! an item's own: the others are done.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use watchkeep_catalog::{check_name, heartbeat_all, register_all};

use super::{
    instances::read,
    problem::{Body, Problem},
    reader::Reader,
};

/// Instances of one registration.
const INSTANCES_MAX: usize = 5_000;
/// Instances of one heartbeat.
const HEARTBEATS_MAX: usize = 10_000;

/// `PUT /v1/services/{service}/instances`, `POST /v1/heartbeats`.
pub(super) fn router(reader: Reader) -> Router {
    Router::new()
        .route("/v1/services/{service}/instances", routing::put(register))
        .route("/v1/heartbeats", routing::post(renew))
        .with_state(reader)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registrations {
    /// Of every instance that does not say its own.
    ttl_seconds: Option<i64>,
    instances: Vec<Map<String, Value>>,
}

/// What became of one item that failed.
#[derive(Debug, Serialize)]
struct Failed {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    id: String,
    error: String,
}

#[derive(Debug, Serialize)]
struct RegisteredAll {
    registered: usize,
    /// The last of them; 0 when none was.
    revision: i64,
    errors: Vec<Failed>,
}

async fn register(
    State(reader): State<Reader>,
    Path(service): Path<String>,
    Body(body): Body<Registrations>,
) -> Result<Json<RegisteredAll>, Problem> {
    check_name("service", &service)?;
    few(body.instances.len(), INSTANCES_MAX)?;
    let (mut ids, mut wanted, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for item in body.instances {
        let id = item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        match read(&service, item) {
            Ok((instance, ttl)) => {
                ids.push(id);
                wanted.push((instance, ttl.or(body.ttl_seconds)));
            }
            Err(error) => errors.push(Failed { service: None, id, error }),
        }
    }
    let known = reader.now().await?;
    let outcomes = register_all(&reader.client, &known, wanted).await;
    let (mut registered, mut revision) = (0, 0);
    for (id, outcome) in ids.into_iter().zip(outcomes) {
        match outcome {
            Ok(done) => (registered, revision) = (registered + 1, done.revision),
            Err(error) => errors.push(Failed { service: None, id, error: error.to_string() }),
        }
    }
    Ok(Json(RegisteredAll { registered, revision, errors }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeats {
    instances: Vec<PlaceOf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceOf {
    service: String,
    id: String,
}

#[derive(Debug, Serialize)]
struct RenewedAll {
    renewed: usize,
    errors: Vec<Failed>,
}

async fn renew(
    State(reader): State<Reader>,
    Body(body): Body<Heartbeats>,
) -> Result<Json<RenewedAll>, Problem> {
    few(body.instances.len(), HEARTBEATS_MAX)?;
    let places: Vec<_> = body.instances.into_iter().map(|p| (p.service, p.id)).collect();
    let known = reader.now().await?;
    let outcomes = heartbeat_all(&reader.client, &reader.renewer, &known, &places).await;
    let mut renewed = RenewedAll { renewed: 0, errors: Vec::new() };
    for ((service, id), outcome) in places.into_iter().zip(outcomes) {
        match outcome {
            Ok(_) => renewed.renewed += 1,
            Err(error) => {
                let (service, error) = (Some(service), error.to_string());
                renewed.errors.push(Failed { service, id, error });
            }
        }
    }
    Ok(Json(renewed))
}

fn few(count: usize, max: usize) -> Result<(), Problem> {
    if count <= max {
        return Ok(());
    }
    let message = format!("{count} instances in one request: send at most {max}");
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message))
}
