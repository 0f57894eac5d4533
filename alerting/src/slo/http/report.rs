//! `GET /v1/slo/{service}/report`, `…/gate` and `…/badge.svg`.

use std::{str::FromStr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    response::{Html, IntoResponse, Response},
    routing,
};
use chrono_tz::Tz;
use serde::Deserialize;

use super::{Problem, services};
use crate::{
    api::Asked,
    slo::{
        detail::{self, Detail},
        engine::Engine,
        gate::{Gate, Verdict},
        openslo::TimeWindow,
        range::{Range, Wish},
    },
};

pub(super) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/v1/slo/{service}/report", routing::get(report))
        .route("/v1/slo/{service}/gate", routing::get(gate))
        .route("/v1/slo/{service}/badge.svg", routing::get(badge))
}

/// What may stand behind the `?` of a report.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    window: Option<String>,
    from: Option<String>,
    to: Option<String>,
    time_zone: Option<String>,
    format: Option<String>,
}

/// In which form a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Html,
    Csv,
    Markdown,
}

impl Format {
    /// `?format=` decides, else the first that `Accept` names, else JSON.
    fn of(asked: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        match asked {
            Some("json") => return Ok(Self::Json),
            Some("html") => return Ok(Self::Html),
            Some("csv") => return Ok(Self::Csv),
            Some("md") => return Ok(Self::Markdown),
            Some(other) => {
                let message = format!("format {other:?} is not known: use json, html, csv or md");
                return Err(Problem::Range(message));
            }
            None => {}
        }
        let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut media = accept.flat_map(|a| a.split(',')).filter_map(|a| a.split(';').next());
        let found = media.find_map(|media| match media.trim() {
            "application/json" => Some(Self::Json),
            "text/html" => Some(Self::Html),
            "text/csv" => Some(Self::Csv),
            "text/markdown" => Some(Self::Markdown),
            _ => None,
        });
        Ok(found.unwrap_or(Self::Json))
    }
}

async fn report(
    State(engine): State<Arc<Engine>>,
    Path(service): Path<String>,
    headers: HeaderMap,
    Asked(asked): Asked<Wanted>,
) -> Result<Response, Problem> {
    let format = Format::of(asked.format.as_deref(), &headers)?;
    let (own, zone) = usual(&engine, &service);
    let zone = match &asked.time_zone {
        None => zone,
        Some(name) => Tz::from_str(name).map_err(|_| {
            Problem::Range(format!(
                "time_zone {name:?} is not known: give an IANA name such as Europe/Berlin"
            ))
        })?,
    };
    if !services(&engine)?.contains(&service) {
        return Err(Problem::Unknown(service));
    }
    let now = crate::clock::now().timestamp_millis();
    let wish = Wish {
        window: asked.window.as_deref().or(own.as_deref().filter(|_| asked.from.is_none())),
        from: asked.from.as_deref(),
        to: asked.to.as_deref(),
    };
    let range = Range::of(wish, zone, now, engine.config.retention_days).map_err(Problem::Range)?;
    let material = engine.material(&service, &range, now).await?;
    let range = material.range(&range, now);
    let counted = material.counted();
    let found = Detail::of(counted, &range, zone);
    Ok(match format {
        Format::Json => Json(found).into_response(),
        Format::Html => Html(detail::page(&found, &counted, &range, zone)).into_response(),
        Format::Csv => {
            let name = format!("attachment; filename=\"slo-{service}.csv\"");
            let kind = "text/csv; charset=utf-8; header=present".to_owned();
            let headers = [(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)];
            (headers, detail::csv(&found)).into_response()
        }
        Format::Markdown => {
            let headers = [(CONTENT_TYPE, "text/markdown; charset=utf-8")];
            (headers, detail::markdown(&found)).into_response()
        }
    })
}

async fn gate(
    State(engine): State<Arc<Engine>>,
    Path(service): Path<String>,
) -> Result<Response, Problem> {
    let policy = engine.config.policy(&service);
    let named = engine.config.policies.iter().any(|known| known.name == policy.name);
    let own = usual(&engine, &service).0.filter(|_| !named);
    let window = own.as_deref().unwrap_or(&policy.window);
    let found = over(&engine, &service, window).await?;
    let gate = Gate::of(&policy, &found);
    let status = match gate.verdict {
        Verdict::Open | Verdict::Warn => StatusCode::OK,
        Verdict::Frozen => StatusCode::CONFLICT,
    };
    Ok((status, Json(gate)).into_response())
}

/// What may stand behind the `?` of a badge.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Worn {
    window: Option<String>,
}

async fn badge(
    State(engine): State<Arc<Engine>>,
    Path(service): Path<String>,
    Asked(asked): Asked<Worn>,
) -> Result<Response, Problem> {
    let window = asked.window.or(usual(&engine, &service).0);
    let found = over(&engine, &service, window.as_deref().unwrap_or("30d")).await?;
    let headers = [(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "max-age=60")];
    Ok((headers, detail::badge(&found)).into_response())
}

/// The window that is usual for what is reported on, where it says so itself, and its calendar.
fn usual(engine: &Engine, service: &str) -> (Option<String>, Tz) {
    let zone = engine.config.zone();
    match engine.openslo(service).map(|slo| &slo.window) {
        Some(TimeWindow::Rolling(hours)) if hours % 24 == 0 => {
            (Some(format!("{}d", hours / 24)), zone)
        }
        Some(TimeWindow::Rolling(hours)) => (Some(format!("{hours}h")), zone),
        Some(TimeWindow::Calendar(unit, zone)) => (Some((*unit).to_owned()), *zone),
        None => (None, zone),
    }
}

/// The report on a service over a window that ends now, or before.
async fn over(engine: &Engine, service: &str, window: &str) -> Result<Detail, Problem> {
    if !services(engine)?.contains(service) {
        return Err(Problem::Unknown(service.to_owned()));
    }
    let (_, zone) = usual(engine, service);
    let now = crate::clock::now().timestamp_millis();
    let wish = Wish { window: Some(window), ..Wish::default() };
    let range = Range::of(wish, zone, now, engine.config.retention_days).map_err(Problem::Range)?;
    Ok(engine.detail(service, &range, zone, now).await?)
}
