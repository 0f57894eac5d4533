//! `/api/v1/rules`, `/api/v1/alerts` where role alerting does not run: none, rather than no such path.

use axum::{Router, routing::get};

use super::answer::Answer;

pub(crate) fn router() -> Router {
    Router::new().route("/api/v1/rules", get(rules)).route("/api/v1/alerts", get(alerts))
}

async fn rules() -> Answer {
    Answer::raw(r#"{"groups":[]}"#.to_owned())
}

async fn alerts() -> Answer {
    Answer::raw(r#"{"alerts":[]}"#.to_owned())
}
