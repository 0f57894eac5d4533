//! `GET /v1/incidents[?status=&limit=&before=]`, `GET /v1/incidents/{id}[/report]`, what others find: `POST /v1/incidents`, and what
//! people do: `POST /v1/incidents/{id}`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use watchkeep_catalog::{Incident, IncidentStatus, KeyValue, Time, keys};

use super::{Asked, Problem, changes::read, check_id, enqueue::detail, pages::Page};
use crate::{
    clock,
    context::Context,
    incident::{self, Action, Finding, INCIDENT_REPORTED, Raised, Report},
    store,
};

/// Longest dedup key, in bytes.
const KEY_MAX: usize = 1_024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    status: Option<String>,
    limit: Option<usize>,
    before: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct List {
    incidents: Vec<Incident>,
    /// There are older ones: they are before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// What is asked for by: incidents with long timelines that are not asked for are not read as a whole.
#[derive(Deserialize)]
struct Facts {
    status: IncidentStatus,
}

fn take(wanted: Option<IncidentStatus>, kv: &KeyValue) -> Option<Incident> {
    if let Some(wanted) = wanted
        && kv.json::<Facts>().ok()?.status != wanted
    {
        return None;
    }
    kv.json().ok()
}

/// The latest first. A record that cannot be read is left out: the mirror has warned of it.
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<List>, Problem> {
    let wanted = filter.status.as_deref().map(status).transpose()?;
    let page = Page::read(filter.limit, filter.before)?;
    let take = |kv: &KeyValue| take(wanted, kv);
    let (incidents, next) =
        page.of(&context.client, keys::INCIDENTS, wanted.is_none(), take).await?;
    Ok(Json(List { incidents, next }))
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
        None => Err(Problem::not_found(format!(
            "incident {id} does not exist: /v1/incidents lists them"
        ))),
    }
}

/// What people do; answers with the incident as it is then. On any node.
pub(super) async fn act(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Incident>, Problem> {
    check_id("incident", &id)?;
    let action: Action = read(&body, "{\"action\":\"acknowledge\",\"by\":\"alice\"}")?;
    incident::check_by(action.by()).map_err(Problem::bad_request)?;
    let now = clock::now();
    let change = |incident: &mut Incident| incident::act(incident, &action, &context.rules, now);
    let incident = store::update_incident(&context.client, None, &id, change).await?;
    Ok(Json(incident.record))
}

/// What a program, or a person, reports.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct New {
    #[serde(default)]
    action: NewAction,
    #[serde(default)]
    title: String,
    #[serde(default = "critical")]
    severity: String,
    dedup_key: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    details: BTreeMap<String, Value>,
    escalation: Option<String>,
    #[serde(default = "api")]
    by: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum NewAction {
    #[default]
    Trigger,
    Acknowledge,
    Resolve,
}

fn critical() -> String {
    "critical".to_owned()
}

fn api() -> String {
    "api".to_owned()
}

/// `POST /v1/incidents`: 201 it is new, 200 it is known, or is so no more.
pub(super) async fn create(
    State(context): State<Arc<Context>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let example = "{\"title\": \"the cellar is under water\", \"severity\": \"critical\", \"dedup_key\": \"cellar\"}";
    let new: New = read(&body, example)?;
    incident::check_by(&new.by).map_err(Problem::bad_request)?;
    let now = clock::now();
    let report = new.report(&context, now)?;
    let raised = incident::report(&context.client, &context.rules, None, &report, now).await?;
    let status = match &raised {
        Raised::Opened(_) => StatusCode::CREATED,
        Raised::Changed(_) | Raised::Unchanged(_) => StatusCode::OK,
        Raised::Nothing => {
            return Err(Problem::not_found("no incident with this dedup_key is open"));
        }
    };
    Ok((status, Json(raised.incident())).into_response())
}

impl New {
    fn report(self, context: &Context, now: Time) -> Result<Report, Problem> {
        let wrong = |text: &str| Err(Problem::bad_request(text));
        let by = self.by;
        let dedup_key = match (self.dedup_key, &self.action) {
            (Some(key), _) if key.is_empty() || key.len() > KEY_MAX => {
                return Err(Problem::bad_request(format!("dedup_key: give 1 to {KEY_MAX} bytes")));
            }
            (Some(key), _) => key,
            (None, NewAction::Trigger) => {
                let seed = format!("{}/{}/{}", context.id, now.timestamp_micros(), self.title);
                incident::digest(&seed)[..32].to_owned()
            }
            (None, _) => return wrong("dedup_key: it says which incident is meant"),
        };
        match self.action {
            NewAction::Acknowledge => Ok(Report::Acknowledge { dedup_key, by }),
            NewAction::Resolve => Ok(Report::Resolve { dedup_key, by, why: "resolved".to_owned() }),
            NewAction::Trigger if self.title.trim().is_empty() => {
                wrong("title: say in one line what is wrong")
            }
            NewAction::Trigger => {
                if let Some(name) = &self.escalation {
                    let known = context.rules.check_escalation(name);
                    known.map_err(|refusal| Problem::bad_request(refusal.to_string()))?;
                }
                let said = self.details.into_iter().filter(|(_, value)| !value.is_null());
                let mut details: BTreeMap<String, String> =
                    said.map(|(name, value)| (name, detail(value))).collect();
                if !self.description.is_empty() {
                    details.insert("description".to_owned(), self.description);
                }
                let alert = self.labels.get("alertname").cloned();
                Ok(Report::Trigger(Finding {
                    dedup_key,
                    title: self.title,
                    alert: alert.unwrap_or_else(|| INCIDENT_REPORTED.to_owned()),
                    severity: self.severity,
                    labels: self.labels,
                    details,
                    source: by,
                    escalation: self.escalation,
                    started_at: now,
                }))
            }
        }
    }
}

/// `GET /v1/incidents/{id}/report`: a draft of the post-mortem, as Markdown.
pub(super) async fn report(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let Json(incident) = show(State(context), Path(id)).await?;
    let text = incident::post_mortem(&incident);
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response())
}
