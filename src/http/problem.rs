//! Errors over HTTP: a status and `{"error": "what, on what, and the remedy"}`.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::json;
use watchkeep_catalog::{ClientError, NameError, RegisterError, read_json};

use crate::advice;

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    /// A problem with its status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// What it says.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let status = match &error {
            ClientError::Decode { .. } | ClientError::Encode { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let said = error.to_string();
        match advice::on(&said, advice::Whom::Operator) {
            Some(remedy) => Self::new(status, format!("{said}; {remedy}")),
            None => Self::new(status, said),
        }
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Client(error) => error.into(),
            RegisterError::Unknown { .. } => Self::not_found(error.to_string()),
            RegisterError::NoLease(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            RegisterError::Instance(_) | RegisterError::Ttl(_) | RegisterError::Twice(_) => {
                Self::bad_request(error.to_string())
            }
        }
    }
}

/// A JSON body, whatever its content type says.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|e: BytesRejection| {
            let status = e.status();
            match status {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let limit = super::BODY_BYTES_MAX;
                    Problem::new(
                        status,
                        format!("the body is larger than {limit} bytes: send less"),
                    )
                }
                _ => Problem::new(status, e.body_text()),
            }
        })?;
        let value = read_json(&bytes)
            .map_err(|e| Problem::bad_request(format!("the body is not the JSON expected: {e}")))?;
        Ok(Self(value))
    }
}
