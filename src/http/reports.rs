//! `/v1/services/{service}/instances/{instance}/checks/{check}`: a service reports itself, for a check of kind `ttl`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing,
};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Client, ReportError, ReportStatus, report};

use super::problem::{Body, Problem};

/// `POST` and `PUT …/checks/{check}`, which do the same.
pub(super) fn router(client: Client) -> Router {
    let path = "/v1/services/{service}/instances/{id}/checks/{check}";
    Router::new().route(path, routing::post(take).put(take)).with_state(client)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    status: ReportStatus,
    #[serde(default)]
    output: String,
}

/// How long the report stands.
#[derive(Debug, Serialize)]
struct Taken {
    ttl_ms: u64,
}

async fn take(
    State(client): State<Client>,
    Path((service, id, check)): Path<(String, String, String)>,
    Body(said): Body<Said>,
) -> Result<Json<Taken>, Problem> {
    let (what, how) = ((&*service, &*id, &*check), (said.status, &*said.output));
    Ok(Json(Taken { ttl_ms: report(&client, what, how, Utc::now()).await? }))
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Client(error) => error.into(),
            ReportError::Name(error) => error.into(),
            ReportError::Unknown { .. } | ReportError::NoCheck { .. } => {
                Self::new(StatusCode::NOT_FOUND, error.to_string())
            }
        }
    }
}
