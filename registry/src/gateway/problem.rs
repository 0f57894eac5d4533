//! What went wrong, as the gateway says it: an HTTP status and `{"error":"…","message":"…","code":N}`, where the code is
//! gRPC's.

use std::fmt;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use tonic::{Code, Status};

use super::JSON_BYTES_MAX;

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Problem {
    http: StatusCode,
    status: Status,
}

impl Problem {
    pub(super) fn new(http: StatusCode, status: Status) -> Problem {
        Problem { http, status }
    }

    pub(super) fn too_large() -> Problem {
        let what = format!(
            "the JSON body is larger than {JSON_BYTES_MAX} bytes (2 MiB of gRPC in base64): split the request, or \
             store large values elsewhere"
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Status::resource_exhausted(what))
    }

    pub(super) fn into_response(self) -> Response {
        let message = self.status.message();
        let body = Refusal { error: message, message, code: self.status.code() as i32 };
        (self.http, Json(body)).into_response()
    }

    /// The last line of a stream that began well.
    pub(super) fn line(&self) -> Bytes {
        let error = StreamError {
            grpc_code: self.status.code() as i32,
            http_code: self.http.as_u16(),
            message: self.status.message(),
            http_status: self.http.canonical_reason().unwrap_or_default(),
        };
        let mut line = serde_json::to_vec(&LastLine { error }).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}

/// The body of an HTTP error, in etcd's order.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    message: &'a str,
    code: i32,
}

#[derive(Serialize)]
struct LastLine<'a> {
    error: StreamError<'a>,
}

#[derive(Serialize)]
struct StreamError<'a> {
    grpc_code: i32,
    http_code: u16,
    message: &'a str,
    http_status: &'a str,
}

impl From<Status> for Problem {
    fn from(status: Status) -> Problem {
        Problem { http: http_status(status.code()), status }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.message())
    }
}

impl std::error::Error for Problem {}

/// grpc-gateway's mapping (`runtime.HTTPStatusFromCode`).
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // "Client closed request": nginx's number, which has no name in the standard.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_grpc_gateways_status() {
        for (code, status) in [
            (Code::Cancelled, 499),
            (Code::FailedPrecondition, 400),
            (Code::DeadlineExceeded, 504),
            (Code::PermissionDenied, 403),
            (Code::Unavailable, 503),
        ] {
            assert_eq!(http_status(code).as_u16(), status, "{code:?}");
        }
    }
}
