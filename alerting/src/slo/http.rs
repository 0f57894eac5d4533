//! `GET /v1/slo[?window=24h]` and `GET /v1/slo/{service}[?window=24h]`: JSON, or a page for people. What lies under
//! a service is in [`report`].

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::ACCEPT},
    response::{Html, IntoResponse, Response},
    routing,
};
use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use super::{
    engine::Engine,
    page,
    report::{Report, Window},
    time::instant,
};
use crate::{api::Asked, source::SourceError};

mod report;

/// What the loop reported is good enough for a list when it is not older.
const LIST_AGE_MS_MAX: i64 = 10_000;

/// Everything of this room under `/v1/slo`.
pub(super) fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/slo", routing::get(list))
        .route("/v1/slo/{service}", routing::get(one))
        .merge(report::router())
        .with_state(engine)
}

/// What may stand behind the `?`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    window: Option<String>,
    format: Option<String>,
}

/// All services over one window.
#[derive(Debug, Serialize)]
struct List {
    as_of: Time,
    window: Window,
    services: Vec<Report>,
}

/// What can go wrong, with its status.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("window {0:?} is not known: use 1h, 24h or 30d")]
    Window(String),
    #[error("format {0:?} is not known: use json or html")]
    Format(String),
    #[error("{0}")]
    Range(String),
    #[error(
        "service {0:?} is not known: /v1/slo lists those that are; one is known once it is registered"
    )]
    Unknown(String),
    #[error("the registry has not been read yet: try again in a moment")]
    NotReady,
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Window(_) | Self::Format(_) | Self::Range(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::NotReady | Self::Source(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(serde_json::json!({ "error": self.to_string() }))).into_response()
    }
}

async fn list(
    State(engine): State<Arc<Engine>>,
    headers: HeaderMap,
    Asked(asked): Asked<Wish>,
) -> Result<Response, Problem> {
    let html = wants_html(&headers, asked.format.as_deref())?;
    let window = window(asked.window)?.unwrap_or(Window::Day);
    let known = services(&engine)?;
    let now = crate::clock::now().timestamp_millis();
    let mut services = Vec::with_capacity(known.len());
    for service in known {
        services.push(match engine.kept(&service, now, LIST_AGE_MS_MAX) {
            Some(report) => report.in_short(window),
            None => engine.report(&service, &[window], now).await?.in_short(window),
        });
    }
    if html {
        return Ok(Html(page::list(window, &services, now)).into_response());
    }
    Ok(Json(List { as_of: instant(now), window, services }).into_response())
}

async fn one(
    State(engine): State<Arc<Engine>>,
    Path(service): Path<String>,
    headers: HeaderMap,
    Asked(asked): Asked<Wish>,
) -> Result<Response, Problem> {
    let html = wants_html(&headers, asked.format.as_deref())?;
    let windows = window(asked.window)?.map_or(Window::ALL.to_vec(), |window| vec![window]);
    if !services(&engine)?.contains(&service) {
        return Err(Problem::Unknown(service));
    }
    let now = crate::clock::now().timestamp_millis();
    let report = engine.report(&service, &windows, now).await?;
    if html {
        return Ok(Html(page::one(&report)).into_response());
    }
    Ok(Json(report).into_response())
}

fn services(engine: &Engine) -> Result<std::collections::BTreeSet<String>, Problem> {
    let world = engine.world();
    if world.is_ready() { Ok(world.services()) } else { Err(Problem::NotReady) }
}

fn window(name: Option<String>) -> Result<Option<Window>, Problem> {
    name.map(|name| Window::named(&name).ok_or(Problem::Window(name))).transpose()
}

/// `?format=` decides, else whether `Accept` names `text/html`.
fn wants_html(headers: &HeaderMap, format: Option<&str>) -> Result<bool, Problem> {
    match format {
        Some("html") => Ok(true),
        Some("json") => Ok(false),
        Some(other) => Err(Problem::Format(other.to_owned())),
        None => {
            let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            Ok(accept
                .flat_map(|a| a.split(','))
                .any(|a| a.split(';').next().is_some_and(|media| media.trim() == "text/html")))
        }
    }
}
