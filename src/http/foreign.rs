//! `GET /v1/foreign`: what this node mirrors of foreign registrations, and what it cannot take.

use axum::{Json, Router, extract::State, routing};
use serde::Serialize;
use watchkeep_collector::{ForeignState, PrefixState};

use super::problem::Problem;

/// `GET /v1/foreign`.
pub(super) fn router(state: Option<ForeignState>) -> Router {
    Router::new().route("/v1/foreign", routing::get(get)).with_state(state)
}

#[derive(Debug, Serialize)]
struct Prefixes {
    prefixes: Vec<PrefixState>,
}

async fn get(State(state): State<Option<ForeignState>>) -> Result<Json<Prefixes>, Problem> {
    let state = state.ok_or_else(|| {
        Problem::not_found("role collector does not run on this node: ask one where it does")
    })?;
    Ok(Json(Prefixes { prefixes: state.prefixes() }))
}
