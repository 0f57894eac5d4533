//! What failovers have moved: `/v1/drains` and `/v1/roles`, to be seen and to be taken back by hand.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Drain, DrainAbsence, RoleHolder, Time, keys};

use super::{Asked, Problem, changes::read, check_id};
use crate::{clock, context::Context, incident::check_by, text::shorten};

/// Longest reason, in characters.
const REASON_MAX: usize = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Also those that ended because their instance was gone for long.
    #[serde(default)]
    all: bool,
}

/// A drain in the answer.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    drain: Drain,
    /// Since when its instance is not registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_since: Option<Time>,
    /// When it ends unless the instance comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
}

#[derive(Serialize)]
pub(super) struct Drains {
    drains: Vec<Shown>,
}

/// `GET /v1/drains[?all=true]`.
pub(super) async fn drains(
    State(context): State<Arc<Context>>,
    Asked(Filter { all }): Asked<Filter>,
) -> Result<Json<Drains>, Problem> {
    let client = &context.client;
    let (drains, absences) =
        tokio::try_join!(client.list(keys::DRAINS), client.list(keys::ABSENT_DRAINS))?;
    let absences: Vec<DrainAbsence> = absences.0.iter().filter_map(|kv| kv.json().ok()).collect();
    let places: HashMap<_, _> =
        absences.iter().map(|known| ((&*known.service, &*known.instance), known)).collect();
    let stands = |drain: Drain| {
        let known = places.get(&(&*drain.service, &*drain.instance));
        let gone_since = known.filter(|known| known.is_of(&drain)).map(|known| known.since);
        let kept = context.rules.drain_retention;
        let ends_at = gone_since.zip(kept).and_then(|(at, kept)| at.checked_add_signed(kept));
        Shown { drain, gone_since, ends_at, ended_at: None }
    };
    let mut shown: Vec<_> = drains.0.iter().filter_map(|kv| kv.json().ok()).map(stands).collect();
    if all {
        shown.extend(absences.iter().filter_map(|known| {
            let (drain, gone_since) = (known.drain.clone()?, Some(known.since));
            Some(Shown { drain, gone_since, ends_at: None, ended_at: known.ended_at })
        }));
    }
    Ok(Json(Drains { drains: shown }))
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
