//! Alertmanager's API, version 2: shapes, filters and errors as its clients (`amtool`, Grafana, Prometheus) know them.
//! Every node answers: what it reads is on its board, what it changes is in the registry.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use watchkeep_catalog::ClientError;

use super::{matcher, shared::Shared};
use crate::text::instant;

mod alerts;
mod filter;
mod silences;

/// The Alertmanager whose API this is: its tools compare it with their own version, and others ask whether they know it.
const SPOKEN: &str = "0.25.0";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/v2/receivers", get(receivers))
        .route("/api/v2/alerts", get(alerts::list).post(alerts::post))
        .route("/api/v2/alerts/groups", get(alerts::groups))
        .route("/api/v2/silences", get(silences::list).post(silences::post))
        .route("/api/v2/silence/{id}", get(silences::show).delete(silences::expire))
        .with_state(shared)
}

/// An answer that says no: the message as a JSON text, as Alertmanager answers.
#[derive(Debug, PartialEq, Eq)]
struct Problem(StatusCode, String);

impl Problem {
    fn bad_request(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(Value::String(self.1))).into_response()
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// A body that does not fit the description of the API: a code and a message, as the original's framework answers.
fn misfit(status: StatusCode, code: u16, message: impl Into<String>) -> Response {
    (status, Json(json!({ "code": code, "message": message.into() }))).into_response()
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let setup = shared.setup();
    Json(json!({
        "cluster": { "name": shared.id, "peers": [], "status": "ready" },
        "config": { "original": setup.original },
        "uptime": instant(shared.started_at),
        "versionInfo": {
            "branch": "", "buildDate": "", "buildUser": "watchkeep", "goVersion": "",
            "revision": concat!("watchkeep ", env!("CARGO_PKG_VERSION")), "version": SPOKEN,
        },
    }))
}

async fn receivers(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let setup = shared.setup();
    let receivers = setup.plan.config.receivers.iter();
    Json(receivers.map(|receiver| json!({ "name": receiver.name })).collect())
}

/// The matchers of `?filter=…&filter=…`.
fn filters(texts: &[String]) -> Result<Vec<matcher::Matcher>, Problem> {
    let read = texts.iter().map(|text| matcher::parse(text));
    read.collect::<Result<_, _>>()
        .map_err(|e| Problem::bad_request(format!("bad matcher format: {e}")))
}
