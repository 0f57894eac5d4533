//! One HTTP connection, 1.1 or 2. Whoever uses it also does its work: nothing runs while nobody asks.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    task::{self, Poll},
};

use ::http::{Request, Response, Version, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::probe::words;

/// A byte stream, plain or TLS, over TCP or a Unix socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection's own stream, below TLS where there is any. It is closed when it is dropped: a shutdown before it
/// is one more system call, a twelfth of what a probe costs, and tells the other end nothing that closing does not.
pub(crate) struct Plain<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> AsyncRead for Plain<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plain<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// A connection that requests can be sent on, one after the other.
pub(crate) struct Connection {
    sender: Sender,
    /// None: it has ended.
    driver: Option<Driver>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("ended", &self.driver.is_none()).finish()
    }
}

impl Connection {
    pub(crate) async fn begin(stream: Box<dyn Stream>, is_two: bool) -> Result<Self, String> {
        let cannot = |e: hyper::Error| format!("no answer: {}", words(&e));
        let io = TokioIo::new(stream);
        if is_two {
            let shaking = Box::pin(http2::handshake(TokioExecutor::new(), io));
            let (sender, driver) = shaking.await.map_err(cannot)?;
            return Ok(Self { sender: Sender::Two(sender), driver: Some(Box::pin(driver)) });
        }
        let (sender, driver) = http1::handshake(io).await.map_err(cannot)?;
        Ok(Self { sender: Sender::One(sender), driver: Some(Box::pin(driver)) })
    }

    /// Sends a request whose URI is path and query and whose `host` header is set.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let answer = match &mut self.sender {
            Sender::One(sender) => drive(&mut self.driver, sender.send_request(request)).await,
            Sender::Two(sender) => {
                to_version_2(&mut request)?;
                drive(&mut self.driver, sender.send_request(request)).await
            }
        };
        answer.map_err(|e| format!("no answer: {}", words(&e)))
    }

    /// Reads at most `bytes_max` bytes of a body; also says whether that is all of it.
    pub(crate) async fn read(
        &mut self,
        mut body: Incoming,
        bytes_max: usize,
    ) -> Result<(Vec<u8>, bool), String> {
        let work = async move {
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| format!("the answer broke off: {}", words(&e)))?;
                let Some(data) = frame.data_ref() else { continue };
                let room = bytes_max - whole.len();
                whole.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    return Ok((whole, false));
                }
            }
            Ok((whole, true))
        };
        drive(&mut self.driver, work).await
    }

    /// Does `work` with an answer, and the connection's meanwhile.
    pub(crate) async fn work<T>(&mut self, work: impl Future<Output = T>) -> T {
        drive(&mut self.driver, work).await
    }

    /// Whether another request may be sent, as far as can be told: the other end may have closed it.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let Some(driver) = &mut self.driver else { return false };
        let ended = poll_fn(|cx| Poll::Ready(driver.as_mut().poll(cx).is_ready())).await;
        if ended {
            self.driver = None;
        }
        match &self.sender {
            Sender::One(sender) => !ended && sender.is_ready(),
            Sender::Two(sender) => !ended && sender.is_ready(),
        }
    }
}

/// Does `work` and, whenever it waits, the connection's.
async fn drive<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let Some(running) = driver else { return Poll::Pending };
        if running.as_mut().poll(cx).is_ready() {
            // All that will ever come is there.
            *driver = None;
            return work.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await
}

/// In version 2 the host stands in the URI, and there are no headers about the connection.
fn to_version_2(request: &mut Request<Full<Bytes>>) -> Result<(), String> {
    let host = request.headers_mut().remove(header::HOST);
    request.headers_mut().remove(header::CONNECTION);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let scheme = request.extensions().get::<IsTls>().map_or("http", |_| "https");
    let uri = format!("{scheme}://{authority}{path}").parse();
    *request.uri_mut() = uri.map_err(|e| format!("http.headers.host {authority:?}: {e}"))?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// Marks a request that goes over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsTls;
