//! What failovers have moved: `/v1/drains` and `/v1/roles`, to be seen and to be taken back by hand.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Drain, RoleHolder, keys};

use super::{Problem, changes::read, check_id};
use crate::{clock, context::Context, incident::check_by, text::shorten};

/// Longest reason, in characters.
const REASON_MAX: usize = 300;

#[derive(Serialize)]
pub(super) struct Drains {
    drains: Vec<Drain>,
}

/// `GET /v1/drains`.
pub(super) async fn drains(State(context): State<Arc<Context>>) -> Result<Json<Drains>, Problem> {
    let (kvs, _) = context.client.list(keys::DRAINS).await?;
    Ok(Json(Drains { drains: kvs.iter().filter_map(|kv| kv.json().ok()).collect() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    by: String,
    #[serde(default)]
    reason: String,
}

/// `PUT /v1/drains/{service}/{instance}`: it is left out of answers.
pub(super) async fn drain(
    State(context): State<Arc<Context>>,
    Path((service, instance)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Drain>, Problem> {
    check_id("service", &service)?;
    check_id("instance", &instance)?;
    let New { by, reason } = read(&body, "{\"by\":\"alice\",\"reason\":\"new disks\"}")?;
    check_by(&by).map_err(Problem::bad_request)?;
    if context.client.get(&keys::instance(&service, &instance)).await?.is_none() {
        return Err(Problem::not_found(format!("instance {service}/{instance} is not registered")));
    }
    let (since, reason) = (clock::now(), shorten(&reason, REASON_MAX));
    let drain = Drain { service, instance, since, by, reason };
    context.client.put_json(&keys::drain(&drain.service, &drain.instance), &drain, 0).await?;
    Ok(Json(drain))
}

/// `DELETE /v1/drains/{service}/{instance}`: it is not any more.
pub(super) async fn undrain(
    State(context): State<Arc<Context>>,
    Path((service, instance)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    check_id("service", &service)?;
    check_id("instance", &instance)?;
    match context.client.delete(&keys::drain(&service, &instance)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found(format!("instance {service}/{instance} is not drained"))),
    }
}

#[derive(Serialize)]
pub(super) struct Roles {
    roles: Vec<RoleHolder>,
}

/// `GET /v1/roles`.
pub(super) async fn roles(State(context): State<Arc<Context>>) -> Result<Json<Roles>, Problem> {
    let (kvs, _) = context.client.list(keys::ROLES).await?;
    Ok(Json(Roles { roles: kvs.iter().filter_map(|kv| kv.json().ok()).collect() }))
}

/// `DELETE /v1/roles/{service}/{role}`: instances are again what they say of themselves.
pub(super) async fn release(
    State(context): State<Arc<Context>>,
    Path((service, role)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    check_id("service", &service)?;
    check_id("role", &role)?;
    match context.client.delete(&keys::role(&service, &role)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            Err(Problem::not_found(format!("no failover has given the role {role} of {service}")))
        }
    }
}
