//! The envelope of every answer: `{"status": "success", "data": …, "warnings": […]}`, or `{"status": "error", "errorType": …, "error": …}`
//! with Prometheus's error types and their status codes.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::querier::QueryError;

/// Status code of nginx for a client that went away, which Prometheus uses, too.
const CLIENT_CLOSED: u16 = 499;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    /// What is wrong and what to do.
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    Unavailable,
}

impl Kind {
    fn shown(self) -> (&'static str, StatusCode) {
        match self {
            Self::BadData => ("bad_data", StatusCode::BAD_REQUEST),
            Self::Execution => ("execution", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Canceled => (
                "canceled",
                StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            ),
            Self::Timeout => ("timeout", StatusCode::SERVICE_UNAVAILABLE),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

impl Refusal {
    /// The request is wrong.
    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self { kind: Kind::BadData, message: message.into() }
    }

    /// A parameter is wrong.
    pub(super) fn parameter(name: &str, message: impl AsRef<str>) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {}", message.as_ref()))
    }

    /// Something is broken here.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { kind: Kind::Internal, message: message.into() }
    }

    /// This node has nothing to answer with.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unavailable, message: message.into() }
    }

    fn body(&self) -> String {
        let (error_type, _) = self.kind.shown();
        serde_json::json!({"status": "error", "errorType": error_type, "error": self.message})
            .to_string()
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::Bad(_) => Kind::BadData,
            QueryError::Execution(_) => Kind::Execution,
            QueryError::Timeout { .. } => Kind::Timeout,
            QueryError::Canceled => Kind::Canceled,
            QueryError::Busy { .. } => Kind::Unavailable,
            QueryError::Internal(_) => Kind::Internal,
        };
        Self { kind, message: error.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (_, status) = self.kind.shown();
        (status, json(self.body())).into_response()
    }
}

/// A good answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// JSON.
    data: String,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl Answer {
    /// With data that is JSON already.
    pub(super) fn raw(data: String) -> Self {
        Self { data, ..Self::default() }
    }

    /// With data that becomes JSON.
    pub(super) fn of(data: &impl Serialize) -> Result<Self, Refusal> {
        let data = serde_json::to_string(data).map_err(|e| Refusal::internal(e.to_string()))?;
        Ok(Self::raw(data))
    }

    /// With notes beside the data.
    pub(super) fn noted(mut self, warnings: Vec<String>, infos: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self.infos.extend(infos);
        self
    }

    fn body(self) -> String {
        let mut text = format!(r#"{{"status":"success","data":{}"#, self.data);
        for (name, notes) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !notes.is_empty() {
                text.push_str(&format!(",\"{name}\":{}", serde_json::json!(notes)));
            }
        }
        text.push('}');
        text
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        json(self.body()).into_response()
    }
}

fn json(body: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes() {
        let answer = Answer::raw("[1]".to_owned()).noted(vec!["w \"x\"".to_owned()], Vec::new());
        let expected = r#"{"status":"success","data":[1],"warnings":["w \"x\""]}"#;
        assert_eq!(answer.body(), expected);
        assert_eq!(Answer::raw("{}".into()).body(), r#"{"status":"success","data":{}}"#);
        let refusal = Refusal::parameter("step", "no");
        let expected =
            r#"{"error":"invalid parameter \"step\": no","errorType":"bad_data","status":"error"}"#;
        assert_eq!(refusal.body(), expected);
        for (kind, status) in [(Kind::Canceled, 499), (Kind::Timeout, 503), (Kind::Execution, 422)]
        {
            assert_eq!(kind.shown().1.as_u16(), status);
        }
    }
}
