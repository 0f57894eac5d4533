//! The JSON messages of a request body that is a stream: one after the other, each as soon as it is whole.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::de::IgnoredAny;
use tonic::Status;

use super::{JSON_BYTES_MAX, problem::Problem};

/// A body, read as far as it was asked for.
#[derive(Debug)]
pub(super) struct Requests {
    body: BodyDataStream,
    buffer: BytesMut,
    ended: bool,
}

impl Requests {
    pub(super) fn new(body: Body) -> Requests {
        Requests { body: body.into_data_stream(), buffer: BytesMut::new(), ended: false }
    }

    /// The next message; `None` when the body ended after a whole one.
    ///
    /// # Errors
    /// A body that is no JSON, ends within a message, breaks off, or has a message that is too large.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if let Some(length) = whole(&self.buffer, self.ended)? {
                return Ok(Some(self.buffer.split_to(length).freeze()));
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.next().await {
                None => self.ended = true,
                Some(Ok(bytes)) if self.buffer.len() + bytes.len() > JSON_BYTES_MAX => {
                    return Err(Problem::too_large());
                }
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    let what = format!("the request body broke off: {error}");
                    return Err(Status::cancelled(what).into());
                }
            }
        }
    }
}

/// Length of the first JSON value in the buffer, if it is all there.
pub(super) fn whole(buffer: &[u8], ended: bool) -> Result<Option<usize>, Problem> {
    let mut values = serde_json::Deserializer::from_slice(buffer).into_iter::<IgnoredAny>();
    match values.next() {
        None => Ok(None),
        Some(Ok(_)) => Ok(Some(values.byte_offset())),
        Some(Err(error)) if error.is_eof() && !ended => Ok(None),
        Some(Err(error)) => {
            Err(Status::invalid_argument(format!("the body is not JSON: {error}")).into())
        }
    }
}
