//! `/api/v1/rules`, `/api/v1/alerts`: what rules of this node say.

use axum::{Router, routing::get};

use super::answer::Answer;

pub(super) fn router() -> Router {
    Router::new().route("/api/v1/rules", get(rules)).route("/api/v1/alerts", get(alerts))
}

/// None are evaluated here yet.
async fn rules() -> Answer {
    Answer::raw(r#"{"groups":[]}"#.to_owned())
}

async fn alerts() -> Answer {
    Answer::raw(r#"{"alerts":[]}"#.to_owned())
}
