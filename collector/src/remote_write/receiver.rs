//! `POST /api/v1/write`: remote write 1.0, into the series store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use watchkeep_series::{Appended, Matcher, Queryable, SeriesError, SeriesStore};

use super::{
    codec::{self, DecodeError},
    wire::Batch,
};
use crate::metrics::Metrics;

/// Largest body as it comes, compressed.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Requests that are unpacked and taken at once: each may have 64 MiB. Others wait.
const REQUESTS_MAX: usize = 16;

/// Serves `POST /api/v1/write` for `store`: 204 when all was taken and is on disk, 4xx with words when some or all of it
/// never will be (what can be taken is), 5xx when the disk fails. Whoever merges the router also has the store
/// expired, by a collector or [`crate::keep_series`].
pub fn write_router(store: Arc<SeriesStore>, metrics: Metrics) -> Router {
    Router::new()
        .route("/api/v1/write", post(write))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state((store, metrics, Arc::new(Semaphore::new(REQUESTS_MAX))))
}

async fn write(
    State((store, metrics, turns)): State<(Arc<SeriesStore>, Metrics, Arc<Semaphore>)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let taken = match body {
        Ok(body) => {
            // The semaphore is never closed.
            let turn = turns.acquire_owned().await.ok();
            take(store, &headers, body, turn).await
        }
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
    turn: Option<OwnedSemaphorePermit>,
) -> Result<(), (StatusCode, String)> {
    check(headers).map_err(|words| (StatusCode::UNSUPPORTED_MEDIA_TYPE, words))?;
    let append = move || {
        // Until it is done, also when nobody waits for the answer any more.
        let _turn = turn;
        let refuse = |e: &SeriesError| (status(e), e.to_string());
        let bad = |e: DecodeError| (StatusCode::BAD_REQUEST, e.to_string());
        let plain = codec::decompress(&body).map_err(bad)?;
        let batch = Batch::read(&plain).map_err(bad)?;
        let appended = store.append_series(batch.iter(), Utc::now().timestamp_millis());
        // What is acknowledged is on disk. Requests that come together share a flush.
        store.flush().map_err(|e| refuse(&e))?;
        let appended = appended.map_err(|e| refuse(&e))?;
        let missing = match appended.out_of_order {
            0 => 0,
            _ => missing(&store, &batch).map_err(|e| refuse(&e))?,
        };
        judge(&appended, missing)
    };
    // The store may have to wait for its disk: not on a thread that others need.
    let appended = tokio::task::spawn_blocking(append).await;
    appended.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?
}

/// Samples of a batch that the store does not hold: what is out of order may be a repetition after a lost answer.
fn missing(store: &SeriesStore, batch: &Batch<'_>) -> Result<u64, SeriesError> {
    let mut series: BTreeMap<&[(&str, &str)], BTreeSet<i64>> = BTreeMap::new();
    for incoming in batch.iter() {
        series.entry(incoming.labels).or_default().extend(incoming.times());
    }
    let mut missing = 0;
    for (labels, times) in series {
        let equal = |(n, v): &(&str, &str)| Matcher::Equal((*n).to_owned(), (*v).to_owned());
        let matchers: Vec<_> = labels.iter().map(equal).collect();
        let (from, to) = (times.first().copied(), times.last().copied());
        let mut held = BTreeSet::new();
        let (from, to) = (from.unwrap_or(0), to.unwrap_or(0));
        Queryable::select(store, &matchers, from, to, usize::MAX, &mut |found, points| {
            if found.iter().eq(labels.iter().copied()) {
                held.extend(points.floats.iter().map(|sample| sample.timestamp_ms));
                held.extend(points.histograms.iter().map(|sample| sample.timestamp_ms));
            }
            Ok(())
        })?;
        missing += times.difference(&held).count() as u64;
    }
    Ok(missing)
}

/// Refuses what was left out, unless it was a repetition.
fn judge(appended: &Appended, missing: u64) -> Result<(), (StatusCode, String)> {
    // Of those that are missing, some are so for other reasons.
    let other = appended.too_old + appended.too_new;
    let reasons = [
        (missing.saturating_sub(other).min(appended.out_of_order), "out of order"),
        (appended.too_old, "older than collector.retention_hours"),
        (appended.too_new, "from the future"),
    ];
    let reasons: Vec<_> = reasons
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let (taken, reasons) = (appended.appended, reasons.join(", "));
    let message = format!("{taken} samples taken, the others refused: {reasons}");
    Err((StatusCode::BAD_REQUEST, message))
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
        SeriesError::SeriesMax { .. } | SeriesError::MemoryMax { .. } => StatusCode::BAD_REQUEST,
        SeriesError::Backlog(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
