//! `/v1/services/{service}/instances`: register, renew, remove, and find.

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing,
};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use watchkeep_catalog::{Client, Instance, check_name, deregister, heartbeat, register};

use super::{
    health::{self, Health, Seen},
    problem::{Body, Problem},
};

/// `GET|POST …/instances`, `GET|DELETE …/instances/{id}`, `PUT …/instances/{id}/heartbeat`.
pub(super) fn router(client: Client) -> Router {
    Router::new()
        .route("/v1/services/{service}/instances", routing::get(list).post(create))
        .route("/v1/services/{service}/instances/{id}", routing::get(get).delete(remove))
        .route("/v1/services/{service}/instances/{id}/heartbeat", routing::put(renew))
        .with_state(client)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    healthy: Option<bool>,
}

#[derive(Debug, Serialize)]
struct List {
    service: String,
    instances: Vec<Seen>,
}

async fn list(
    State(client): State<Client>,
    Path(service): Path<String>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<List>, Problem> {
    let Query(filter) = filter.map_err(|e| Problem::bad_request(e.body_text()))?;
    check_name("service", &service)?;
    let mut instances = health::of_service(&client, &service).await?;
    if let Some(healthy) = filter.healthy {
        instances.retain(|seen| (seen.status != Health::Critical) == healthy);
    }
    Ok(Json(List { service, instances }))
}

async fn get(
    State(client): State<Client>,
    Path((service, id)): Path<(String, String)>,
) -> Result<Json<Seen>, Problem> {
    check_name("service", &service)?;
    let instances = health::of_service(&client, &service).await?;
    let found = instances.into_iter().find(|seen| seen.instance.id == id);
    found.map(Json).ok_or_else(|| {
        Problem::not_found(format!("service {service:?} has no instance {id:?}: register it first"))
    })
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
    State(client): State<Client>,
    Path(service): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let (instance, ttl_seconds) = read(&service, body).map_err(Problem::bad_request)?;
    let registered = register(&client, &instance, ttl_seconds).await?;
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
fn read(service: &str, mut body: Map<String, Value>) -> Result<(Instance, Option<i64>), String> {
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
    let instance: Instance =
        serde_json::from_value(body.into()).map_err(|e| format!("instance: {e}"))?;
    for check in &instance.checks {
        let pattern = check.http.as_ref().and_then(|http| http.expected_body.as_deref());
        if let Some(Err(error)) = pattern.map(Regex::new) {
            return Err(format!("check {:?}: http.expected_body: {error}", check.name));
        }
    }
    Ok((instance, ttl_seconds))
}

async fn remove(
    State(client): State<Client>,
    Path((service, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    deregister(&client, &service, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize)]
struct Renewed {
    ttl_seconds: i64,
}

async fn renew(
    State(client): State<Client>,
    Path((service, id)): Path<(String, String)>,
) -> Result<Json<Renewed>, Problem> {
    let ttl_seconds = heartbeat(&client, &service, &id).await?;
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
            (json!({"id": "w1", "address": "h", "port": 80, "colour": "red"}), "colour"),
            (json!({"id": "w1", "address": "h"}), "port"),
            (
                json!({"id": "w1", "address": "h", "port": 80,
                       "checks": [{"name": "c", "http": {"expected_body": "("}}]}),
                "expected_body",
            ),
        ] {
            let error = read("web", body(bad)).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
