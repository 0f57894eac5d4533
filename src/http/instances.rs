//! `/v1/services/{service}/instances`: register, renew, remove, and find.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing,
};
use serde::Serialize;
use serde_json::{Map, Value};
use watchkeep_catalog::{
    Instance, RegisterError, check_name, deregister, heartbeat, read_value, register,
};

use super::{
    asked::Asked,
    health::{self, Seen},
    problem::{Body, Problem},
    reader::{Reader, indexed},
};

/// `GET|POST …/instances`, `GET|DELETE …/instances/{id}`, `PUT …/instances/{id}/heartbeat`.
pub(super) fn router(reader: Reader) -> Router {
    Router::new()
        .route("/v1/services/{service}/instances", routing::get(list).post(create))
        .route("/v1/services/{service}/instances/{id}", routing::get(get).delete(remove))
        .route("/v1/services/{service}/instances/{id}/heartbeat", routing::put(renew))
        .with_state(reader)
}

#[derive(Debug, Serialize)]
struct List {
    service: String,
    instances: Vec<Seen>,
}

/// The instances of a service as `asked`, the index to wait with, and the revision as of which they are so.
async fn read_all(
    reader: &Reader,
    service: &str,
    asked: &Asked,
) -> Result<(Vec<Seen>, i64, i64), Problem> {
    check_name("service", service)?;
    if !asked.is_from_memory() {
        let (instances, revision) = health::of_service(&reader.client, service).await?;
        return Ok((instances, revision, revision));
    }
    let catalog = reader.catalog(asked, |c| c.changed_of(service)).await?;
    let instances = catalog.service(service).into_iter().flat_map(|s| s.instances.values());
    let instances = instances.map(|seen| Seen::clone(seen)).collect();
    Ok((instances, catalog.changed_of(service), catalog.revision()))
}

async fn list(
    State(reader): State<Reader>,
    Path(service): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let (mut instances, index, revision) = read_all(&reader, &service, &asked).await?;
    if let Some(healthy) = asked.healthy {
        instances.retain(|seen| seen.is_healthy() == healthy);
    }
    Ok(indexed(index, revision, List { service, instances }))
}

async fn get(
    State(reader): State<Reader>,
    Path((service, id)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let (instances, index, revision) = read_all(&reader, &service, &asked).await?;
    let found = instances.into_iter().find(|seen| seen.instance.id == id);
    let found = found.ok_or_else(|| {
        Problem::not_found(format!("service {service:?} has no instance {id:?}: register it first"))
    })?;
    Ok(indexed(index, revision, found))
}

/// The answer to a registration.
#[derive(Debug, Serialize)]
struct Created {
    service: String,
    id: String,
    /// Hexadecimal, as etcdctl prints it; absent without a TTL.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<i64>,
    revision: i64,
}

async fn create(
    State(reader): State<Reader>,
    Path(service): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let (instance, ttl_seconds) = read(&service, body).map_err(Problem::bad_request)?;
    let registered = register(&reader.client, &instance, ttl_seconds).await?;
    let created = Created {
        service,
        id: instance.id,
        lease: ttl_seconds.map(|_| format!("{:x}", registered.lease)),
        ttl_seconds,
        revision: registered.revision,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// An instance with `ttl_seconds` beside its own fields.
pub(super) fn read(
    service: &str,
    mut body: Map<String, Value>,
) -> Result<(Instance, Option<i64>), String> {
    let ttl_seconds = match body.remove("ttl_seconds") {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_i64().ok_or_else(|| {
            format!("ttl_seconds is {value}: give a whole number of seconds, or leave it out")
        })?),
    };
    let name = body.entry("service").or_insert_with(|| service.into());
    if *name != service {
        return Err(format!(
            "service is {name} in the body and {service:?} in the path: make them equal, or leave it out"
        ));
    }
    let instance: Instance = read_value(&body.into()).map_err(|mut e| {
        // It is none of the record's fields.
        if e.ends_with("`scrape`") {
            e.push_str(", `ttl_seconds`");
        }
        format!("instance: {e}")
    })?;
    for check in &instance.checks {
        watchkeep_collector::judge(check).map_err(|e| format!("check {:?}: {e}", check.name))?;
    }
    Ok((instance, ttl_seconds))
}

async fn remove(
    State(reader): State<Reader>,
    Path((service, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    match deregister(&reader.client, &service, &id).await {
        Err(RegisterError::Unknown { .. }) => Err(Problem::not_found(format!(
            "service {service:?} has no instance {id:?}: /v1/services/{service}/instances lists those that it has"
        ))),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(StatusCode::NO_CONTENT),
    }
}

#[derive(Debug, Serialize)]
struct Renewed {
    ttl_seconds: i64,
}

async fn renew(
    State(reader): State<Reader>,
    Path((service, id)): Path<(String, String)>,
) -> Result<Json<Renewed>, Problem> {
    let ttl_seconds = heartbeat(&reader.client, &service, &id).await?;
    Ok(Json(Renewed { ttl_seconds }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_an_instance_and_a_ttl() {
        let body = |value: Value| value.as_object().expect("an object").clone();
        let good = json!({"id": "w1", "address": "h", "port": 80, "ttl_seconds": 30});
        let (instance, ttl) = read("web", body(good)).expect("good");
        assert_eq!((instance.service.as_str(), ttl), ("web", Some(30)));
        for (bad, part) in [
            (json!({"id": "w1", "address": "h", "port": 80, "service": "db"}), "in the path"),
            (json!({"id": "w1", "address": "h", "port": 80, "ttl_seconds": "x"}), "whole number"),
            (
                json!({"id": "w1", "address": "h", "port": 80, "colour": "red"}),
                "unknown field `colour`, expected one of `service`, `id`, `address`, `port`, `zone`, `role`, `weight`, \
                 `tags`, `metadata`, `checks`, `scrape`, `ttl_seconds`",
            ),
            (json!({"id": "w1", "address": "h"}), "port"),
            (
                json!({"id": "w1", "address": "h", "port": 80,
                       "checks": [{"name": "c", "http": {"expected_body": "("}}]}),
                "expected_body",
            ),
            (
                json!({"id": "w1", "address": "h", "port": 80,
                       "checks": [{"name": "c", "dns": {"query_name": "a", "query_type": "X"}}]}),
                "check \"c\": dns.query_type \"X\"",
            ),
        ] {
            let error = read("web", body(bad)).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
