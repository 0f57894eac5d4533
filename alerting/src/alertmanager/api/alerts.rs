//! `/api/v2/alerts` and `/api/v2/alerts/groups`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use watchkeep_catalog::{Alert, LabelSet, Time};

use super::{Problem, filter::Filter, misfit};
use crate::{
    alertmanager::{
        board::{Board, Quiet},
        intake::Deliverance,
        merge::{Posted, accept},
        shared::Shared,
    },
    clock,
    text::instant,
};

/// Alerts in one request.
const ALERTS_MAX: usize = 100_000;
/// Alerts that are looked at under one hold of the board.
const ALERTS_HELD_MAX: usize = 256;

/// An alert as it is posted. Go's zero time means that there is none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Postable {
    labels: Option<LabelSet>,
    #[serde(default)]
    annotations: Option<LabelSet>,
    #[serde(default)]
    starts_at: Option<Time>,
    #[serde(default)]
    ends_at: Option<Time>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gettable {
    annotations: LabelSet,
    ends_at: String,
    fingerprint: String,
    receivers: Vec<Name>,
    starts_at: String,
    status: Status,
    updated_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "String::is_empty")]
    generator_url: String,
    labels: LabelSet,
}

#[derive(Debug, Clone, Serialize)]
struct Name {
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    inhibited_by: Vec<String>,
    silenced_by: Vec<String>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Group {
    alerts: Vec<Gettable>,
    labels: LabelSet,
    receiver: Name,
}

fn zero_is_none(at: Option<Time>) -> Option<Time> {
    at.filter(|at| at.timestamp() > -62_135_596_800)
}

pub(super) async fn post(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let posted: Vec<Postable> = match serde_json::from_slice(&body) {
        Ok(posted) => posted,
        Err(error) => {
            let message = format!("parsing alerts body from \"\" failed, because {error}");
            return misfit(StatusCode::BAD_REQUEST, 400, message);
        }
    };
    if posted.len() > ALERTS_MAX {
        let message = format!("{} alerts in one request: send at most {ALERTS_MAX}", posted.len());
        return misfit(StatusCode::PAYLOAD_TOO_LARGE, 413, message);
    }
    if let Some(at) = posted.iter().position(|alert| alert.labels.is_none()) {
        let message = format!("alerts.{at}.labels in body is required");
        return misfit(StatusCode::UNPROCESSABLE_ENTITY, 602, message);
    }
    let (now, resolve_timeout) = (clock::now(), shared.setup().plan.config.global.resolve_timeout);
    let (mut alerts, mut wrong) = (Vec::with_capacity(posted.len()), Vec::new());
    for alert in posted {
        let accepted = accept(
            Posted {
                labels: alert.labels.unwrap_or_default(),
                annotations: alert.annotations.unwrap_or_default(),
                starts_at: zero_is_none(alert.starts_at),
                ends_at: zero_is_none(alert.ends_at),
                generator_url: alert.generator_url.unwrap_or_default(),
            },
            resolve_timeout,
            now,
        );
        match accepted {
            Ok(alert) => alerts.push(alert),
            Err(error) => {
                shared.metrics.invalid.inc();
                wrong.push(error);
            }
        }
    }
    let resolved = alerts.iter().filter(|alert| alert.is_resolved(now)).count() as u64;
    shared.metrics.received(true, resolved);
    shared.metrics.received(false, alerts.len() as u64 - resolved);
    // What is right is taken, whatever else is wrong.
    if let Err(problem) = take(&shared, alerts).await {
        return problem.into_response();
    }
    match wrong.as_slice() {
        [] => StatusCode::OK.into_response(),
        _ => Problem::bad_request(wrong.join("; ")).into_response(),
    }
}

async fn take(shared: &Shared, alerts: Vec<Alert>) -> Result<(), Problem> {
    let unavailable = |message: String| Problem(StatusCode::SERVICE_UNAVAILABLE, message);
    if alerts.is_empty() {
        return Ok(());
    }
    let (done, written) = oneshot::channel();
    let stopping = || unavailable("this node is stopping: send it to another".to_owned());
    shared.intake.send(Deliverance { alerts, done }).await.map_err(|_| stopping())?;
    written.await.map_err(|_| stopping())?.map_err(unavailable)
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Gettable>>, Problem> {
    let filter = Filter::read(query.as_deref())?;
    aside(move || {
        let mut found = Vec::new();
        each(&shared, &filter, |board, fingerprint, alert, quiet| {
            let receivers = receivers(board, &alert.labels);
            if receivers.iter().any(|r| filter.wants_receiver(&r.name)) {
                found.push(gettable(fingerprint, alert, receivers, quiet));
            }
        });
        found.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        Json(found)
    })
    .await
}

/// On a thread that may take its time.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Shows every alert that fires and is wanted, some at a time: each is held against all silences, and meanwhile nobody who
/// has to be told must wait for the board.
fn each(shared: &Shared, filter: &Filter, mut show: impl FnMut(&Board, u64, &Alert, &Quiet)) {
    let now = clock::now();
    let all: Vec<(u64, Arc<Alert>)> = {
        let board = shared.board();
        let fires = board.alerts.iter().filter(|(_, kept)| !kept.alert.is_resolved(now));
        fires.map(|(at, kept)| (*at, Arc::clone(&kept.alert))).collect()
    };
    for some in all.chunks(ALERTS_HELD_MAX) {
        let board = shared.board();
        for (fingerprint, alert) in some {
            if filter.wants_labels(&alert.labels) {
                let quiet = board.quiet(&alert.labels, now);
                if filter.wants_state(&quiet) {
                    show(&board, *fingerprint, alert, &quiet);
                }
            }
        }
    }
}

fn receivers(board: &Board, labels: &LabelSet) -> Vec<Name> {
    let routes = board.plan.tree.matching(labels).into_iter();
    routes.map(|at| Name { name: board.plan.tree.routes[at].receiver.clone() }).collect()
}

fn gettable(fingerprint: u64, alert: &Alert, receivers: Vec<Name>, quiet: &Quiet) -> Gettable {
    Gettable {
        annotations: alert.annotations.clone(),
        // Alertmanager writes its zero time where there is none.
        ends_at: alert.ends_at.map_or_else(|| "0001-01-01T00:00:00.000Z".to_owned(), instant),
        fingerprint: format!("{fingerprint:016x}"),
        receivers,
        starts_at: instant(alert.starts_at),
        status: Status {
            inhibited_by: quiet.inhibited_by.iter().map(|at| format!("{at:016x}")).collect(),
            silenced_by: quiet.silenced_by.clone(),
            state: if quiet.is_quiet() { "suppressed" } else { "active" },
        },
        updated_at: instant(alert.updated_at),
        generator_url: alert.generator_url.clone(),
        labels: alert.labels.clone(),
    }
}

pub(super) async fn groups(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Group>>, Problem> {
    let filter = Filter::read(query.as_deref())?;
    aside(move || Json(grouped(&shared, &filter))).await
}

fn grouped(shared: &Shared, filter: &Filter) -> Vec<Group> {
    let mut groups: BTreeMap<(LabelSet, String, usize), Vec<Gettable>> = BTreeMap::new();
    each(shared, filter, |board, fingerprint, alert, quiet| {
        // Of those that were asked for, as in Alertmanager.
        let mut all = receivers(board, &alert.labels);
        all.retain(|receiver| filter.wants_receiver(&receiver.name));
        for at in board.plan.tree.matching(&alert.labels) {
            let route = &board.plan.tree.routes[at];
            if filter.wants_receiver(&route.receiver) {
                let key = (route.group_by.labels(&alert.labels), route.receiver.clone(), at);
                let group = groups.entry(key).or_default();
                group.push(gettable(fingerprint, alert, all.clone(), quiet));
            }
        }
    });
    let groups = groups.into_iter().map(|((labels, receiver, _), mut alerts)| {
        alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        Group { alerts, labels, receiver: Name { name: receiver } }
    });
    groups.collect()
}
