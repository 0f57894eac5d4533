//! A connection whose bytes are counted.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use prometheus::IntCounter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Where they are counted.
#[derive(Clone)]
pub(crate) struct Meters {
    /// Bytes that came.
    pub(crate) received: IntCounter,
    /// Bytes that went.
    pub(crate) sent: IntCounter,
}

/// The connection.
pub(crate) struct Metered {
    pub(super) stream: TcpStream,
    pub(super) meters: Option<Meters>,
}

impl Metered {
    /// Who is at the other end.
    pub(crate) fn remote(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    fn sent(&self, written: &Poll<io::Result<usize>>) {
        if let (Poll::Ready(Ok(count)), Some(meters)) = (written, &self.meters) {
            meters.sent.inc_by(*count as u64);
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        if let Some(meters) = &self.meters {
            meters.received.inc_by((into.filled().len() - before) as u64);
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
