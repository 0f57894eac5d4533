//! A connection whose `:authority` may hold a whole URL.
//!
//! etcd's Go client of versions 3.4 and earlier, when it dials one endpoint given as a URL (`etcdctl --endpoints
//! http://127.0.0.1:2379 endpoint status`), writes that URL into HTTP/2's `:authority`. RFC 9113 §8.3.1 forbids it,
//! Go's server takes it, and hyper resets the stream. So the scheme is taken off before hyper reads it. A connection
//! that is not HTTP/2, or whose first request is as it should be, is left alone from then on.
//!
//! ```text
//! 41 91 <huffman: http://127.0.0.1:2379>   ─▶   41 0e 127.0.0.1:2379     literal with indexing, name 1 (:authority)
//! ```
//!
//! The client's table of headers then holds a longer entry than ours. That does no harm: entries are counted from
//! the newest, and ours are dropped no sooner than the client's.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hpack;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Longest HEADERS frame looked into: HTTP/2's default limit of any frame. A longer one is passed on as it is.
const FRAME_BYTES_MAX: usize = 16_384;
const READ_BYTES: usize = 16_384;

/// Where in the stream the next byte lies.
#[derive(Debug, PartialEq)]
enum Place {
    Preface,
    Frame,
    /// In a frame's payload, which does not matter here.
    Payload(usize),
    /// Nothing needs to be looked at any more.
    Through,
}

/// Bytes in, bytes out. Pure.
struct Filter {
    place: Place,
    /// What is read but cannot be judged yet: less than a frame.
    pending: Vec<u8>,
    /// Whether this client was seen to need it.
    needed: bool,
}

impl Filter {
    fn new() -> Self {
        Self { place: Place::Preface, pending: Vec::new(), needed: false }
    }

    /// Takes what came in, puts what may go on into `out`.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.pending.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(count) = self.step(taken, out) {
            taken += count;
        }
        self.pending.drain(..taken);
    }

    /// Judges what is pending from `at` on; none when it is too little.
    fn step(&mut self, at: usize, out: &mut Vec<u8>) -> Option<usize> {
        let rest = &self.pending[at..];
        if rest.is_empty() {
            return None;
        }
        let (count, next) = match self.place {
            Place::Through => (rest.len(), Place::Through),
            Place::Payload(left) if left > rest.len() => {
                (rest.len(), Place::Payload(left - rest.len()))
            }
            Place::Payload(left) => (left, Place::Frame),
            Place::Preface if rest.starts_with(PREFACE) => (PREFACE.len(), Place::Frame),
            Place::Preface if PREFACE.starts_with(rest) => return None,
            Place::Preface => (rest.len(), Place::Through),
            Place::Frame => return self.frame(at, out),
        };
        out.extend_from_slice(&rest[..count]);
        self.place = next;
        Some(count)
    }

    fn frame(&mut self, at: usize, out: &mut Vec<u8>) -> Option<usize> {
        const HEADERS: u8 = 1;
        const END_HEADERS: u8 = 4;
        const PADDED: u8 = 8;
        const PRIORITY: u8 = 32;
        let rest = &self.pending[at..];
        let (header, rest) = rest.split_at_checked(FRAME_HEADER_BYTES)?;
        let length =
            usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        if kind != HEADERS || length > FRAME_BYTES_MAX {
            out.extend_from_slice(header);
            self.place = Place::Payload(length);
            return Some(FRAME_HEADER_BYTES);
        }
        let payload = rest.get(..length)?;
        let skipped = if flags & PRIORITY == 0 { 0 } else { 5 };
        let whole = flags & END_HEADERS != 0 && flags & PADDED == 0;
        let block = payload.get(skipped..).filter(|_| whole);
        match block.and_then(hpack::without_scheme) {
            Some(block) => {
                self.needed = true;
                let length = (skipped + block.len()).to_be_bytes();
                out.extend_from_slice(&length[length.len() - 3..]);
                out.extend_from_slice(&header[3..]);
                out.extend_from_slice(&payload[..skipped]);
                out.extend_from_slice(&block);
            }
            None => {
                out.extend_from_slice(header);
                out.extend_from_slice(payload);
                if !self.needed {
                    self.place = Place::Through;
                }
            }
        }
        Some(FRAME_HEADER_BYTES + length)
    }
}

/// A connection read through the filter.
pub(crate) struct Lenient<S> {
    inner: S,
    filter: Filter,
    /// What may be read, from `given` on.
    ready: Vec<u8>,
    given: usize,
}

impl<S> Lenient<S> {
    /// Reads `inner`.
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, filter: Filter::new(), ready: Vec::new(), given: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.ready.len() {
                let count = into.remaining().min(this.ready.len() - this.given);
                into.put_slice(&this.ready[this.given..this.given + count]);
                this.given += count;
                return Poll::Ready(Ok(()));
            }
            if this.filter.place == Place::Through {
                return Pin::new(&mut this.inner).poll_read(context, into);
            }
            this.ready.clear();
            this.given = 0;
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // The end, perhaps amid a frame: what there is of it is hyper's matter.
                this.ready = std::mem::take(&mut this.filter.pending);
                this.filter.place = Place::Through;
            } else {
                this.filter.push(read.filled(), &mut this.ready);
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(block: &[u8]) -> Vec<u8> {
        let length = u8::try_from(block.len()).unwrap();
        [&[0, 0, length, 1, 4, 0, 0, 0, 1], block].concat()
    }

    fn data(bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[0, 0, length, 0, 1, 0, 0, 0, 1], bytes].concat()
    }

    /// `:method POST`, then `:authority` in the clear.
    fn block(authority: &str) -> Vec<u8> {
        [&[0x83, 0x41, u8::try_from(authority.len()).unwrap()], authority.as_bytes()].concat()
    }

    /// What comes out when the stream comes in pieces of `size` bytes.
    fn filtered(stream: &[u8], size: usize) -> (Vec<u8>, Filter) {
        let (mut filter, mut out) = (Filter::new(), Vec::new());
        stream.chunks(size).for_each(|chunk| filter.push(chunk, &mut out));
        (out, filter)
    }

    #[test]
    fn a_scheme_is_taken_off_however_the_bytes_come() {
        let second = [0x83, 0xbe];
        let stream = |authority| {
            let frames = [headers(&block(authority)), data(b"x"), headers(&second)].concat();
            [PREFACE, &frames].concat()
        };
        let sent = [stream("http://node:2379"), headers(&block("https://node:2379"))].concat();
        let expected = [stream("node:2379"), headers(&block("node:2379"))].concat();
        for size in 1..sent.len() {
            let (out, filter) = filtered(&sent, size);
            assert_eq!(out, expected, "in pieces of {size}");
            assert_eq!(filter.place, Place::Frame, "it is watched on");
            assert!(filter.pending.is_empty());
        }
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let right =
            [PREFACE, &headers(&block("node:2379")), &headers(&block("http://node"))].concat();
        let plain = b"POST /v3/kv/range HTTP/1.1\r\nhost: http://node\r\n\r\n".to_vec();
        let priority = b"PRINT".to_vec();
        for stream in [right, plain, priority] {
            for size in 1..stream.len() {
                let (out, filter) = filtered(&stream, size);
                assert_eq!(out, stream, "in pieces of {size}");
                assert_eq!(filter.place, Place::Through);
            }
        }
    }
}
