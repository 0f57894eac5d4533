//! `GET /v1/incidents[?status=]`, `GET /v1/incidents/{id}`, and what people do: `POST /v1/incidents/{id}`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Incident, IncidentStatus, keys};

use super::{Problem, check_id};
use crate::{clock, context::Context, incident, store};

/// Longest body of an action, in bytes.
const BODY_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    status: Option<String>,
}

#[derive(Serialize)]
pub(super) struct List {
    incidents: Vec<Incident>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Acknowledge,
    Resolve,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    action: What,
    by: String,
}

/// The latest first. A record that cannot be read is left out: the mirror has warned of it.
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<List>, Problem> {
    let Query(filter) = filter.map_err(|e| Problem::bad_request(e.body_text()))?;
    let wanted = filter.status.as_deref().map(status).transpose()?;
    let (kvs, _) = context.client.list(keys::INCIDENTS).await?;
    let mut incidents: Vec<Incident> = kvs.iter().filter_map(|kv| kv.json().ok()).collect();
    incidents.retain(|incident| wanted.is_none_or(|wanted| incident.status == wanted));
    incidents.sort_by(|a, b| b.opened_at.cmp(&a.opened_at).then_with(|| b.id.cmp(&a.id)));
    Ok(Json(List { incidents }))
}

fn status(text: &str) -> Result<IncidentStatus, Problem> {
    match text {
        "triggered" => Ok(IncidentStatus::Triggered),
        "acknowledged" => Ok(IncidentStatus::Acknowledged),
        "resolved" => Ok(IncidentStatus::Resolved),
        other => Err(Problem::bad_request(format!(
            "status {other:?} is not known: give triggered, acknowledged or resolved"
        ))),
    }
}

pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Json<Incident>, Problem> {
    check_id("incident", &id)?;
    match context.client.get(&keys::incident(&id)).await? {
        Some(kv) => Ok(Json(kv.json()?)),
        None => Err(Problem::not_found(format!("incident {id} does not exist"))),
    }
}

/// Acknowledge or resolve; answers with the incident as it is then. On any node.
pub(super) async fn act(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Incident>, Problem> {
    check_id("incident", &id)?;
    let action = read(&body)?;
    incident::check_by(&action.by).map_err(Problem::bad_request)?;
    let change = |incident: &mut Incident| match action.action {
        What::Acknowledge => incident::acknowledge(incident, &action.by, clock::now()),
        What::Resolve => {
            incident::resolve(incident, &action.by, "resolved", clock::now()).map(|()| true)
        }
    };
    let incident = store::update_incident(&context.client, None, &id, change).await?;
    Ok(Json(incident.record))
}

fn read(body: &[u8]) -> Result<Action, Problem> {
    if body.len() > BODY_MAX {
        let size = body.len();
        return Err(Problem::bad_request(format!("the body has {size} bytes: at most {BODY_MAX}")));
    }
    serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!(
            "the body is not an action: {error}; write \
             {{\"action\":\"acknowledge\",\"by\":\"alice\"}} or {{\"action\":\"resolve\",\"by\":\"alice\"}}"
        ))
    })
}
