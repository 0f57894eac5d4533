//! A gRPC call within the process: the frames of the request, and the messages and the status of the answer.

use axum::{Router, body::Body};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Version, header, request};
use http_body_util::BodyExt;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::auth::PeerCertificate;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Headers of the HTTP request that the call carries on.
const PASSED_ON: [&str; 5] =
    ["authorization", "traceparent", "tracestate", "grpc-timeout", "user-agent"];

/// A message as gRPC sends it, not compressed.
pub(super) fn frame(message: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(PREFIX_BYTES + message.len());
    frame.push(0);
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame.into()
}

/// The answers of a call.
#[derive(Debug)]
pub(super) struct Answers {
    body: Body,
    buffer: BytesMut,
    status: Option<Status>,
}

impl Answers {
    /// Calls the method at `path` with a body of frames.
    ///
    /// # Errors
    /// The status of a call that failed before there was an answer.
    pub(super) async fn call(
        grpc: Router,
        path: &str,
        origin: &request::Parts,
        body: Body,
    ) -> Result<Answers, Status> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() =
            path.parse().map_err(|error| Status::internal(format!("{path}: {error}")))?;
        *request.extensions_mut() = origin.extensions.clone();
        // As etcd: whoever calls through the gateway is who the token says, never who the certificate names.
        request.extensions_mut().remove::<PeerCertificate>();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        for name in PASSED_ON {
            headers.extend(
                origin
                    .headers
                    .get(name)
                    .map(|value| (header::HeaderName::from_static(name), value.clone())),
            );
        }
        let response = match grpc.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            return Err(Status::internal(format!("{path} answered HTTP {}", parts.status)));
        }
        // A call that fails at once has its status in the headers.
        let status = status(&parts.headers).map_or(Ok(None), |status| match status.code() {
            Code::Ok => Ok(Some(status)),
            _ => Err(status),
        })?;
        Ok(Answers { body, buffer: BytesMut::new(), status })
    }

    /// The next answer; `None` after the last one.
    ///
    /// # Errors
    /// The status of a call that failed.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return match self.status.take() {
                    Some(status) if status.code() != Code::Ok => Err(status),
                    None => Err(Status::internal("the call ended without a status")),
                    ok => {
                        self.status = ok;
                        Ok(None)
                    }
                };
            };
            let frame =
                frame.map_err(|error| Status::internal(format!("the call broke off: {error}")))?;
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(other) => {
                    self.status = other.trailers_ref().and_then(status).or(self.status.take())
                }
            }
        }
    }

    /// A whole message from the buffer.
    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [compressed, length @ ..] = *prefix;
        if compressed != 0 {
            return Err(Status::internal("the answer is compressed, which nobody asked for"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

fn status(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}
