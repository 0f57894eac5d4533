//! `/v1/services`: what is registered, and how it is.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing,
};
use serde::Serialize;
use watchkeep_catalog::{
    Catalog, Client, Panic, Service, check_name,
    client::{Compare, Op, Txn},
    keys, read_value,
    view::ServiceSeen,
};

use super::{
    asked::Asked,
    events::{self, Topic},
    health::{self, Health, Seen},
    problem::{Body, Problem},
    reader::{Reader, indexed},
};

/// `GET /v1/services`, `GET|PUT|DELETE /v1/services/{service}`.
pub(super) fn router(reader: Reader) -> Router {
    Router::new()
        .route("/v1/services", routing::get(list))
        .route("/v1/services/{service}", routing::get(get).put(put).delete(delete))
        .with_state(reader)
}

/// A service in the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) service: Service,
    /// Registered instances.
    pub(crate) instances: usize,
    /// Those that are passing.
    pub(crate) passing: usize,
    /// Those that are critical.
    pub(crate) critical: usize,
    /// So much of it seems critical that none of it is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) panic: Option<Box<Panic>>,
}

impl Summary {
    /// A service that is there, with nothing counted yet.
    fn new(service: Service) -> Self {
        Self { service, instances: 0, passing: 0, critical: 0, panic: None }
    }

    /// Of a service without a record.
    fn nameless(name: &str) -> Self {
        Self::new(Service::named(name))
    }

    fn count(&mut self, status: Health) {
        self.instances += 1;
        match status {
            Health::Passing => self.passing += 1,
            Health::Critical => self.critical += 1,
            Health::Unknown => {}
        }
    }

    /// Of a service kept in memory.
    pub(crate) fn of(name: &str, seen: &ServiceSeen) -> Self {
        let mut summary = seen.record.clone().map_or_else(|| Self::nameless(name), Self::new);
        seen.instances.values().for_each(|seen| summary.count(seen.status));
        summary.panic.clone_from(&seen.panic);
        summary
    }
}

/// All services.
#[derive(Debug, Serialize)]
pub(super) struct List {
    services: Vec<Summary>,
}

impl List {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let services = catalog.services().iter();
        Self { services: services.map(|(name, seen)| Summary::of(name, seen)).collect() }
    }
}

async fn list(State(reader): State<Reader>, asked: Asked) -> Result<Response, Problem> {
    if asked.stream {
        return events::stream(&reader, Topic::Services, &asked).await;
    }
    if asked.is_from_memory() {
        let catalog = reader.catalog(&asked, Catalog::changed).await?;
        return Ok(indexed(catalog.changed(), catalog.revision(), List::of(&catalog)));
    }
    let (seen, revision) = health::all(&reader.client).await?;
    let (records, panics) = known(&reader.client, "").await?;
    let services = summaries(records, &seen, &panics);
    Ok(indexed(revision, revision, List { services }))
}

async fn get(
    State(reader): State<Reader>,
    Path(service): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    check_name("service", &service)?;
    if asked.stream {
        return events::stream(&reader, Topic::Service(service), &asked).await;
    }
    let (found, index, revision) = if asked.is_from_memory() {
        let catalog = reader.catalog(&asked, |c| c.changed_of(&service)).await?;
        let found = catalog.service(&service).map(|seen| Summary::of(&service, seen));
        (found, catalog.changed_of(&service), catalog.revision())
    } else {
        let (seen, revision) = health::of_service(&reader.client, &service).await?;
        let (records, panics) = known(&reader.client, &service).await?;
        let summaries = summaries(records, &seen, &panics);
        let found = summaries.into_iter().find(|s| s.service.name == service);
        (found, revision, revision)
    };
    let found = found.ok_or_else(|| {
        Problem::not_found(format!(
            "service {service:?} is not known: register an instance of it first"
        ))
    })?;
    Ok(indexed(index, revision, found))
}

async fn put(
    State(reader): State<Reader>,
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
    let record: Service = read_value(&record.into())
        .map_err(|e| Problem::bad_request(format!("service {service:?}: {e}")))?;
    record.validate().map_err(|e| Problem::bad_request(e.to_string()))?;
    refuse_circles(records(&reader.client, "").await?, &record)?;
    reader.client.put_json(&keys::service(&service), &record, 0).await?;
    Ok(Json(record))
}

/// Removes the record: what the service promises and depends on. Its instances stay.
async fn delete(
    State(reader): State<Reader>,
    Path(service): Path<String>,
) -> Result<StatusCode, Problem> {
    check_name("service", &service)?;
    let key = keys::service(&service);
    let absent = Txn::new().when(Compare::create_revision(&key, 0)).otherwise(Op::delete(&key));
    if !reader.client.txn(absent).await?.succeeded {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(format!(
        "service {service:?} has no record: one without is gone with its last instance (DELETE /v1/services/{service}/instances/ID)"
    )))
}

/// Services that depend on each other in a circle would silence each other.
fn refuse_circles(mut services: Vec<Service>, new: &Service) -> Result<(), Problem> {
    services.retain(|service| service.name != new.name);
    services.push(new.clone());
    match watchkeep_alerting::circle(&services) {
        None => Ok(()),
        Some(circle) => Err(Problem::bad_request(format!(
            "depends_on makes a circle: {circle}; leave one of these dependencies out"
        ))),
    }
}

/// The records of services whose name begins with `prefix`. One that cannot be read is left out.
async fn records(client: &Client, prefix: &str) -> Result<Vec<Service>, Problem> {
    let (kvs, _) = client.list(&keys::service(prefix)).await?;
    Ok(kvs.iter().filter_map(|kv| kv.json().ok()).collect())
}

/// The records of services whose name begins with `prefix`, and who of them is in panic.
async fn known(client: &Client, prefix: &str) -> Result<(Vec<Service>, Vec<Panic>), Problem> {
    let key = keys::panic(prefix);
    let (records, panics) = tokio::join!(records(client, prefix), client.list(&key));
    Ok((records?, panics?.0.iter().filter_map(|kv| kv.json().ok()).collect()))
}

/// Everything known, by name: a service is what has a record or an instance.
pub(crate) fn summaries(records: Vec<Service>, seen: &[Seen], panics: &[Panic]) -> Vec<Summary> {
    let mut all: BTreeMap<String, Summary> = BTreeMap::new();
    for service in records {
        all.insert(service.name.clone(), Summary::new(service));
    }
    for one in seen {
        let name = &one.instance.service;
        all.entry(name.clone()).or_insert_with(|| Summary::nameless(name)).count(one.status);
    }
    for panic in panics {
        if let Some(summary) = all.get_mut(&panic.service) {
            summary.panic = Some(Box::new(panic.clone()));
        }
    }
    all.into_values().collect()
}
