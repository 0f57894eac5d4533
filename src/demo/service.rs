//! `watchkeep demo-service`: a service that can be promoted, and the receiver of its own failover callback.
//!
//! What a receiver has to do is all here: take each idempotency key once, refuse a fencing token that is
//! older than the newest seen.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
    routing,
};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{cli::stop_token, out};

/// Arguments of `watchkeep demo-service`.
#[derive(Debug, Args)]
pub(crate) struct DemoService {
    /// What it says it is
    #[arg(long)]
    name: String,
    /// `primary` or `standby`
    #[arg(long)]
    role: String,
}

/// What `GET /state` answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Its name.
    pub(super) name: String,
    /// Its role now.
    pub(super) role: String,
    /// When it became primary, by its own clock.
    pub(super) promoted_at: Option<DateTime<Utc>>,
    /// Every idempotency key seen, once.
    pub(super) keys: Vec<String>,
    /// The newest fencing token.
    pub(super) fencing_token: i64,
}

impl State {
    /// What a callback does: promote once, tolerate repetition, refuse the past.
    fn take(&mut self, key: &str, token: i64, now: DateTime<Utc>) -> StatusCode {
        if self.keys.iter().any(|k| k == key) {
            return StatusCode::OK;
        }
        if token < self.fencing_token {
            return StatusCode::CONFLICT;
        }
        self.keys.push(key.to_owned());
        self.fencing_token = token;
        "primary".clone_into(&mut self.role);
        self.promoted_at.get_or_insert(now);
        StatusCode::OK
    }
}

type Memory = Arc<Mutex<State>>;

impl DemoService {
    /// Serves on a free port, printed as the first line, until standard input closes.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let state = State { name: self.name, role: self.role, ..State::default() };
        let memory: Memory = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        out::line(listener.local_addr()?);
        let router = Router::new()
            .route("/", routing::get(state_of))
            .route("/state", routing::get(state_of))
            .route("/promote", routing::post(promote))
            .with_state(memory);
        let stop = stop_token(true)?;
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
        Ok(())
    }
}

async fn state_of(Shared(memory): Shared<Memory>) -> Json<State> {
    Json(memory.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

async fn promote(Shared(memory): Shared<Memory>, headers: HeaderMap) -> StatusCode {
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let token = header("watchkeep-fencing-token").and_then(|t| t.parse().ok());
    let (Some(key), Some(token)) = (header("idempotency-key"), token) else {
        return StatusCode::BAD_REQUEST;
    };
    memory.lock().unwrap_or_else(PoisonError::into_inner).take(key, token, Utc::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_and_tokens_only_grow() {
        let mut state = State::default();
        for (key, token, expected) in [
            ("a", 7, StatusCode::OK),
            ("a", 7, StatusCode::OK),
            ("b", 6, StatusCode::CONFLICT),
            ("c", 9, StatusCode::OK),
        ] {
            assert_eq!(state.take(key, token, Utc::now()), expected, "{key}");
        }
        assert_eq!(state.keys, ["a", "c"]);
    }
}
