//! Counts the messages that pass over gRPC streams, without reading them: each has five bytes before it, of which four are
//! its length.
//!
//! ```text
//! chunk │ 0 0 0 0 2 a b 0 0 0 │     one message, and the beginning of the next
//! chunk │ 0 1 c               │     that is the second
//! ```

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use prometheus::IntCounter;

use crate::metrics::StreamMessages;

/// Path and kind of each method with a stream on the client's or on both sides.
const STREAMS: [(&str, &str); 6] = [
    ("/etcdserverpb.Watch/Watch", "bidi_stream"),
    ("/etcdserverpb.Lease/LeaseKeepAlive", "bidi_stream"),
    ("/etcdserverpb.Maintenance/Snapshot", "server_stream"),
    ("/etcdserverpb.KV/RangeStream", "server_stream"),
    ("/v3electionpb.Election/Observe", "server_stream"),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "bidi_stream"),
];

/// Where the messages of a call are counted; none where they follow from the number of calls.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) received: Option<IntCounter>,
    pub(crate) sent: Option<IntCounter>,
}

impl StreamMessages {
    /// Of the method at a path.
    pub(crate) fn of(&self, path: &str) -> Counters {
        let stream = STREAMS.iter().find(|(stream, _)| *stream == path);
        let Some((service, method, kind)) = stream.and_then(|(path, kind)| {
            let (service, method) = path.trim_start_matches('/').split_once('/')?;
            Some((service, method, *kind))
        }) else {
            return Counters::default();
        };
        let labels = [kind, service, method];
        Counters {
            received: Some(self.received.with_label_values(&labels)),
            sent: Some(self.sent.with_label_values(&labels)),
        }
    }
}

/// A body whose messages are counted.
pub(crate) struct Counted<B> {
    body: B,
    counting: Option<(IntCounter, Cut)>,
}

impl<B> Counted<B> {
    pub(crate) fn new(body: B, counter: Option<IntCounter>) -> Self {
        Self { body, counting: counter.map(|counter| (counter, Cut::default())) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some((counter, cut)) = &mut self.counting
            && let Some(chunk) = frame.data_ref()
        {
            counter.inc_by(cut.begun(chunk));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where the last chunk has cut a message.
#[derive(Default)]
struct Cut {
    /// Bytes of the message that are to come.
    left: usize,
    /// The beginning of its head, and how much of it there is.
    head: [u8; 5],
    has: usize,
}

impl Cut {
    /// How many messages begin in a chunk, counted when their head is whole.
    fn begun(&mut self, mut chunk: &[u8]) -> u64 {
        let mut begun = 0;
        while !chunk.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(chunk.len());
                self.left -= passed;
                chunk = &chunk[passed..];
                continue;
            }
            let taken = (self.head.len() - self.has).min(chunk.len());
            self.head[self.has..self.has + taken].copy_from_slice(&chunk[..taken]);
            self.has += taken;
            chunk = &chunk[taken..];
            if self.has == self.head.len() {
                let [_, length @ ..] = self.head;
                (self.left, self.has) = (u32::from_be_bytes(length) as usize, 0);
                begun += 1;
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let lengths = [0usize, 1, 2, 300, 0, 0, 70_000];
        let message = |length: &usize| {
            let head = u32::try_from(*length).unwrap().to_be_bytes();
            [&[0][..], &head, &vec![7; *length]].concat()
        };
        let bytes: Vec<u8> = lengths.iter().flat_map(message).collect();
        for size in [1, 2, 3, 5, 6, 7, 64, 4_096, bytes.len()] {
            let mut cut = Cut::default();
            let begun: u64 = bytes.chunks(size).map(|chunk| cut.begun(chunk)).sum();
            assert_eq!(begun, lengths.len() as u64, "in chunks of {size}");
        }
    }
}
