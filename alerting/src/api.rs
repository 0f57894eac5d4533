//! The room's HTTP API. Every node answers: what it reads and changes is in the registry.

use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use watchkeep_catalog::{ClientError, check_name};

use crate::{context::Context, incident::Refusal, store::StoreError};

mod asked;
mod changes;
mod contacts;
mod enqueue;
mod failovers;
mod heartbeats;
mod incidents;
mod links;
mod maintenance;
mod moved;
mod oncall;
mod pages;

pub(crate) use asked::Asked;
pub use asked::wrong_query;

pub(crate) fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/v1/oncall", get(oncall::who))
        .route("/v1/oncall/schedules", get(oncall::names))
        .route("/v1/oncall/schedules/{name}", get(oncall::show))
        .route("/v1/oncall/schedules/{name}/calendar.ics", get(oncall::calendar))
        .route("/v1/oncall/people/{name}/calendar.ics", get(oncall::calendar_of))
        .route("/v1/oncall/schedules/{name}/changes", get(changes::list).post(changes::create))
        .route("/v1/oncall/schedules/{name}/changes/{id}", delete(changes::remove))
        .route("/v1/oncall/schedules/{name}/changes/{id}/take", post(changes::take))
        .route("/v1/oncall/contacts/{name}/test", post(contacts::test))
        .route("/v1/heartbeats/{name}", get(heartbeats::show).post(heartbeats::beat))
        .route("/v1/links/{token}", get(links::show).post(links::press))
        .route("/v2/enqueue", post(enqueue::enqueue))
        .route("/v1/incidents", get(incidents::list).post(incidents::create))
        .route("/v1/incidents/{id}", get(incidents::show).post(incidents::act))
        .route("/v1/incidents/{id}/report", get(incidents::report))
        .route("/v1/maintenance", get(maintenance::list).post(maintenance::create))
        .route("/v1/maintenance/{id}", get(maintenance::show).delete(maintenance::end))
        .route("/v1/failovers", get(failovers::list))
        .route("/v1/failovers/rehearsals", post(failovers::rehearse))
        .route("/v1/failovers/{id}", get(failovers::show))
        .route("/v1/failovers/{id}/approve", post(failovers::approve))
        .route("/v1/failovers/{id}/abort", post(failovers::abort))
        .route("/v1/failover-policies", get(failovers::policies))
        .route(
            "/v1/failover-stop",
            get(failovers::switch).put(failovers::stop).delete(failovers::resume),
        )
        .route("/v1/drains", get(moved::drains))
        .route("/v1/drains/{service}/{instance}", put(moved::drain).delete(moved::undrain))
        .route("/v1/roles", get(moved::roles))
        .route("/v1/roles/{service}/{role}", delete(moved::release))
        .with_state(context)
}

/// An error as an answer: a status and `{"error": "…"}`.
#[derive(Debug)]
struct Problem(StatusCode, String);

impl Problem {
    fn bad_request(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, message.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let status = match &error {
            ClientError::Decode { .. } | ClientError::Encode { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            ClientError::Status { .. } | ClientError::Endpoint { .. } | ClientError::Tls(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self(status, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Client(error) => return error.into(),
            StoreError::Missing(_) => StatusCode::NOT_FOUND,
            StoreError::Refused(Refusal::Wrong(_)) => StatusCode::BAD_REQUEST,
            StoreError::Refused(_) => StatusCode::CONFLICT,
            StoreError::Contended(_) | StoreError::Fenced => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

/// An id from a path: one segment of a key, so that nobody reads elsewhere.
fn check_id(what: &'static str, id: &str) -> Result<(), Problem> {
    check_name(what, id).map_err(|error| Problem::bad_request(error.to_string()))
}
