//! `/v1/services`: what is registered, and how it is.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, State},
    routing,
};
use serde::Serialize;
use watchkeep_catalog::{Client, Service, check_name, keys};

use super::{
    health::{self, Health, Seen},
    problem::{Body, Problem},
};

/// `GET /v1/services`, `GET|PUT /v1/services/{service}`.
pub(super) fn router(client: Client) -> Router {
    Router::new()
        .route("/v1/services", routing::get(list))
        .route("/v1/services/{service}", routing::get(get).put(put))
        .with_state(client)
}

/// A service in the answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) service: Service,
    /// Registered instances.
    pub(crate) instances: usize,
    /// Those that are passing.
    pub(crate) passing: usize,
    /// Those that are critical.
    pub(crate) critical: usize,
}

#[derive(Debug, Serialize)]
struct List {
    services: Vec<Summary>,
}

async fn list(State(client): State<Client>) -> Result<Json<List>, Problem> {
    let seen = health::all(&client).await?;
    Ok(Json(List { services: summaries(records(&client, "").await?, &seen) }))
}

async fn get(
    State(client): State<Client>,
    Path(service): Path<String>,
) -> Result<Json<Summary>, Problem> {
    check_name("service", &service)?;
    let seen = health::of_service(&client, &service).await?;
    let summaries = summaries(records(&client, &service).await?, &seen);
    let found = summaries.into_iter().find(|s| s.service.name == service);
    found.map(Json).ok_or_else(|| {
        Problem::not_found(format!(
            "service {service:?} is not known: register an instance of it first"
        ))
    })
}

async fn put(
    State(client): State<Client>,
    Path(service): Path<String>,
    Body(mut record): Body<serde_json::Map<String, serde_json::Value>>,
) -> Result<Json<Service>, Problem> {
    check_name("service", &service)?;
    let name = record.entry("name").or_insert_with(|| service.clone().into());
    if *name != service {
        return Err(Problem::bad_request(format!(
            "name is {name} in the body and {service:?} in the path: make them equal, or leave name out"
        )));
    }
    let record: Service = serde_json::from_value(record.into())
        .map_err(|e| Problem::bad_request(format!("service {service:?}: {e}")))?;
    record.validate().map_err(|e| Problem::bad_request(e.to_string()))?;
    client.put_json(&keys::service(&service), &record, 0).await?;
    Ok(Json(record))
}

/// The records of services whose name begins with `prefix`. One that cannot be read is left out.
async fn records(client: &Client, prefix: &str) -> Result<Vec<Service>, Problem> {
    let (kvs, _) = client.list(&keys::service(prefix)).await?;
    Ok(kvs.iter().filter_map(|kv| kv.json().ok()).collect())
}

/// Everything known, by name: a service is what has a record or an instance.
pub(crate) fn summaries(records: Vec<Service>, seen: &[Seen]) -> Vec<Summary> {
    let mut all = BTreeMap::new();
    for service in records {
        let empty = Summary { service, instances: 0, passing: 0, critical: 0 };
        all.insert(empty.service.name.clone(), empty);
    }
    for one in seen {
        let name = &one.instance.service;
        let summary = all.entry(name.clone()).or_insert_with(|| Summary {
            service: Service::named(name),
            instances: 0,
            passing: 0,
            critical: 0,
        });
        summary.instances += 1;
        match one.status {
            Health::Passing => summary.passing += 1,
            Health::Critical => summary.critical += 1,
            Health::Unknown => {}
        }
    }
    all.into_values().collect()
}
