//! `POST /api/v1/write`: remote write 1.0, into the series store.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::Utc;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::json;
use watchkeep_series::{SeriesError, SeriesStore};

use super::codec;
use crate::metrics::Metrics;

/// Largest body as it comes, compressed.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Serves `POST /api/v1/write` for `store`: 204 when it was taken, 4xx with words when it never will be, 500
/// when the disk fails. Samples out of order are left out and counted, not refused: a sender must not try
/// them again. Whoever merges the router also has the store flushed, by a collector or [`crate::keep_series`].
pub fn write_router(store: Arc<SeriesStore>, metrics: Metrics) -> Router {
    Router::new()
        .route("/api/v1/write", post(write))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state((store, metrics))
}

async fn write(
    State((store, metrics)): State<(Arc<SeriesStore>, Metrics)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let taken = match body {
        Ok(body) => take(store, &headers, body).await,
        Err(error) => {
            Err((error.status(), format!("{error}: send at most {BODY_BYTES_MAX} bytes")))
        }
    };
    let (result, answer) = match taken {
        Ok(()) => ("ok", StatusCode::NO_CONTENT.into_response()),
        Err((status, error)) => {
            let result = if status.is_server_error() { "failed" } else { "refused" };
            (result, (status, Json(json!({ "error": error }))).into_response())
        }
    };
    metrics.remote_requests.with_label_values(&[result]).inc();
    answer
}

async fn take(
    store: Arc<SeriesStore>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(), (StatusCode, String)> {
    check(headers).map_err(|words| (StatusCode::UNSUPPORTED_MEDIA_TYPE, words))?;
    let append = move || {
        let batch = codec::decode(&body).map_err(|e| (StatusCode::BAD_REQUEST, e.to_string()))?;
        let appended = store.append(&batch, Utc::now().timestamp_millis());
        appended.map(|_| ()).map_err(|e| (status(&e), e.to_string()))
    };
    // The store may have to wait for its disk: not on a thread that others need.
    let appended = tokio::task::spawn_blocking(append).await;
    appended.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?
}

/// Version 2 of the protocol, and other compressions, are refused as its specification asks.
fn check(headers: &HeaderMap) -> Result<(), String> {
    let get = |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
    match get(CONTENT_ENCODING) {
        None | Some("snappy") => {}
        Some(other) => {
            return Err(format!("Content-Encoding {other:?}: only snappy is understood"));
        }
    }
    match get(CONTENT_TYPE) {
        Some(other) if other.contains("io.prometheus.write.v2") => {
            Err(format!("Content-Type {other:?}: only remote write 1.0 is understood"))
        }
        _ => Ok(()),
    }
}

fn status(error: &SeriesError) -> StatusCode {
    match error {
        SeriesError::SeriesMax { .. } => StatusCode::BAD_REQUEST,
        SeriesError::Backlog(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
