//! A webhook receiver that keeps what it is given.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, extract::State, http::StatusCode, routing};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::net::TcpListener;

/// Deliveries that are kept.
const DELIVERIES_MAX: usize = 1000;

/// A body and when it arrived.
#[derive(Debug)]
struct Delivery {
    received_at: DateTime<Utc>,
    body: Value,
}

/// What has arrived so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Deliveries(Arc<Mutex<Vec<Delivery>>>);

impl Deliveries {
    /// When the first page with this status (`firing`, `resolved`) arrived.
    pub(super) fn first(&self, status: &str) -> Option<DateTime<Utc>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|d| d.body["status"] == status).map(|d| d.received_at)
    }
}

/// Serves `POST /page` for ever.
pub(super) async fn serve(listener: TcpListener, deliveries: Deliveries) -> std::io::Result<()> {
    let router = Router::new().route("/page", routing::post(take)).with_state(deliveries);
    axum::serve(listener, router).await
}

async fn take(
    State(deliveries): State<Deliveries>,
    axum::Json(body): axum::Json<Value>,
) -> StatusCode {
    let mut all = deliveries.0.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() == DELIVERIES_MAX {
        return StatusCode::INSUFFICIENT_STORAGE;
    }
    all.push(Delivery { received_at: Utc::now(), body });
    StatusCode::OK
}
