//! How responses go over the wire. An event is encoded once and shared by all watchers that are sent it, which tonic's
//! own codec for prost messages cannot do; so this service has a codec and a door of its own.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use prost::Message;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::StdError,
    server::{Grpc, NamedService, StreamingService},
};
use watchkeep_api::etcdserverpb::{WatchRequest, WatchResponse};

use super::{Responses, Watch};
use crate::{
    etcd::{MESSAGE_BYTES_MAX, convert},
    schema::{Event, KeyValue},
};

/// `WatchResponse.events` is field 11, a message.
const EVENTS_TAG: u8 = 11 << 3 | 2;
/// Most responses are small, and there are many streams.
const BUFFER_BYTES: usize = 1 << 10;
const YIELD_BYTES: usize = 32 << 10;

/// A response. Its events are encoded already.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Without events.
    pub(super) response: WatchResponse,
    pub(super) events: Vec<Bytes>,
}

impl From<WatchResponse> for Frame {
    fn from(response: WatchResponse) -> Self {
        Self { response, events: Vec::new() }
    }
}

impl Frame {
    fn encoded_len(&self) -> usize {
        self.response.encoded_len() + self.events.iter().map(Bytes::len).sum::<usize>()
    }

    /// The responses it is sent as to a watcher that asked for fragments: all but the last say so. A single event is
    /// never split (etcd: `sendFragments`).
    pub(super) fn fragments(self, bytes_max: usize) -> Vec<Self> {
        if self.events.len() < 2 || self.encoded_len() < bytes_max {
            return vec![self];
        }
        let head = WatchResponse { fragment: true, ..self.response.clone() };
        let mut parts: Vec<Self> = Vec::new();
        let mut bytes = usize::MAX;
        for event in self.events {
            bytes = bytes.saturating_add(event.len());
            match parts.last_mut() {
                Some(part) if bytes < bytes_max => part.events.push(event),
                _ => {
                    bytes = head.encoded_len() + event.len();
                    parts.push(Self { response: head.clone(), events: vec![event] });
                }
            }
        }
        if let Some(last) = parts.last_mut() {
            last.response.fragment = false;
        }
        parts
    }
}

/// An event as part of a response.
pub(super) fn event(event: &Event, previous: Option<KeyValue>) -> Bytes {
    let message = convert::event(event, previous);
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(1 + prost::length_delimiter_len(len) + len);
    out.put_u8(EVENTS_TAG);
    message.encode_length_delimited(&mut out).expect("the buffer grows");
    out.freeze()
}

#[derive(Default)]
struct WatchCodec;

impl Codec for WatchCodec {
    type Encode = Frame;
    type Decode = WatchRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for WatchCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        frame.response.encode(out).map_err(|e| Status::internal(e.to_string()))?;
        frame.events.iter().for_each(|event| out.put_slice(event));
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl Decoder for WatchCodec {
    type Item = WatchRequest;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<WatchRequest>, Status> {
        WatchRequest::decode(bytes).map(Some).map_err(|e| Status::internal(e.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl StreamingService<WatchRequest> for Watch {
    type Response = Frame;
    type ResponseStream = Responses;
    type Future = std::future::Ready<Result<Response<Responses>, Status>>;

    fn call(&mut self, request: Request<Streaming<WatchRequest>>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.responses(request))))
    }
}

impl NamedService for Watch {
    const NAME: &'static str = "etcdserverpb.Watch";
}

impl<B> tower::Service<http::Request<B>> for Watch
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let watch = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/etcdserverpb.Watch/Watch" {
                return Ok(Status::unimplemented("").into_http());
            }
            let mut grpc = Grpc::new(WatchCodec).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.streaming(watch, request).await)
        })
    }
}
