//! The HTTP listener's TLS: each connection shakes hands on a task of its own, so that one that is slow keeps nobody waiting.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};
use watchkeep_catalog::tls::{Refusals, Terms, shake_hands};

use super::Kept;
use crate::metrics::WebMetrics;

/// Handshakes under way at once.
const HANDSHAKES_MAX: usize = 1_024;
/// How long a caller may take until it says something.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// How long an answer without TLS may take.
const REFUSAL: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted (out of file descriptors, say).
const PAUSE: Duration = Duration::from_millis(50);
/// What is said to a caller without TLS, as Go's servers do it.
const PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                       Client sent an HTTP request to an HTTPS server.\n";
/// Why a handshake was broken off for another.
const TOO_MANY: &str = "too many handshakes are under way, and this one took longest";
const TERMS: Terms = Terms {
    authorities: "tls_server_config.client_ca_file",
    unshown: "no certificate was shown, and tls_server_config.client_auth_type demands one",
};

/// A connection, and whose.
type Shaken = (TlsStream<TcpStream>, SocketAddr);

/// A listener behind which TLS is spoken.
pub(super) struct Door {
    address: SocketAddr,
    shaken: mpsc::Receiver<Shaken>,
}

impl Door {
    /// Accepts connections from now on.
    ///
    /// # Errors
    /// When the listener has no address.
    pub(super) fn open(
        listener: TcpListener,
        kept: Arc<Kept>,
        metrics: WebMetrics,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, shaken) = mpsc::channel(1);
        let hall = Arc::new(Hall { kept, metrics, refusals: Refusals::default() });
        tokio::spawn(accept(listener, hall, sender));
        Ok(Self { address, shaken })
    }
}

impl Listener for Door {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Shaken {
        match self.shaken.recv().await {
            Some(shaken) => shaken,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// What handshakes need.
struct Hall {
    kept: Arc<Kept>,
    metrics: WebMetrics,
    refusals: Refusals,
}

/// Handshakes under way.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    /// The oldest first, and with whom; some may have ended.
    order: VecDeque<(SocketAddr, AbortHandle)>,
}

impl Handshakes {
    /// Begins one. Where there are too many the oldest is broken off, and it is said with whom that was: so nobody is kept out
    /// by callers who connect and say nothing.
    fn begin(
        &mut self,
        remote: SocketAddr,
        handshake: impl Future<Output = ()> + Send + 'static,
    ) -> Option<SocketAddr> {
        if self.order.len() >= HANDSHAKES_MAX {
            self.order.retain(|(_, handle)| !handle.is_finished());
        }
        let is_full = self.order.len() >= HANDSHAKES_MAX;
        let oldest = if is_full { self.order.pop_front() } else { None };
        self.order.push_back((remote, self.tasks.spawn(handshake)));
        let (oldest, handle) = oldest?;
        handle.abort();
        Some(oldest)
    }
}

/// Accepts until nobody wants connections any more.
async fn accept(listener: TcpListener, hall: Arc<Hall>, shaken: mpsc::Sender<Shaken>) {
    let mut handshakes = Handshakes::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = handshakes.tasks.join_next() => continue,
            () = shaken.closed() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let (entered, shaken) = (Arc::clone(&hall), shaken.clone());
                let handshake = async move { entered.enter(stream, remote, &shaken).await };
                if let Some(oldest) = handshakes.begin(remote, handshake) {
                    hall.refused(oldest, &io::Error::other(TOO_MANY));
                }
            }
            Err(error) => {
                warn!(%error, "connection not accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

impl Hall {
    async fn enter(&self, stream: TcpStream, remote: SocketAddr, shaken: &mpsc::Sender<Shaken>) {
        // The end of an answer does not wait until the client has confirmed its beginning.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "nodelay not set");
        }
        match self.open(stream).await {
            Ok(None) => {}
            // Fails when the listener has been closed meanwhile.
            Ok(Some(stream)) => drop(shaken.send((stream, remote)).await),
            Err(error) => self.refused(remote, &error),
        }
    }

    /// It is counted, and said once in a while.
    fn refused(&self, remote: SocketAddr, error: &io::Error) {
        self.metrics.connections_refused.inc();
        if let Some(unsaid) = self.refusals.is_told(&error.to_string(), Instant::now()) {
            warn!(listener = "http", %remote, %error, unsaid, "connection refused");
        }
    }

    /// Shakes hands; none with who closes without a word, as a check of the port does.
    async fn open(&self, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
        let mut first = [0];
        let heard = timeout(FIRST_WORD, stream.peek(&mut first)).await;
        let heard = heard.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "the caller said nothing for too long")
        })?;
        if heard? == 0 {
            return Ok(None);
        }
        // A method; a handshake begins with a record of type 22 (RFC 8446 §5.1).
        if first[0].is_ascii_uppercase() {
            drop(timeout(REFUSAL, refuse(&mut stream)).await);
            let said = "the caller does not speak TLS: an https URL is needed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, said));
        }
        let Some(config) = self.kept.current().server() else { return Ok(None) };
        shake_hands(config, stream, &TERMS).await.map(Some)
    }
}

/// Says that TLS is needed. What the caller has sent is read first: otherwise it might see its connection broken, and nothing
/// of this.
async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    let mut ignored = [0; 4_096];
    let _ = stream.read(&mut ignored).await?;
    stream.write_all(PLAIN).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn where_there_are_too_many_the_oldest_gives_way() {
        let caller = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut handshakes = Handshakes::default();
        assert_eq!(handshakes.begin(caller(1), async {}), None);
        handshakes.tasks.join_next().await.expect("one").expect("it ends");
        // What has ended takes no place.
        for port in (2..).take(HANDSHAKES_MAX) {
            assert_eq!(handshakes.begin(caller(port), pending()), None);
        }
        for port in 2..4 {
            assert_eq!(handshakes.begin(caller(60_000 + port), pending()), Some(caller(port)));
            let ended = handshakes.tasks.join_next().await.expect("one");
            assert!(ended.expect_err("it is broken off").is_cancelled());
        }
        assert_eq!(handshakes.tasks.len(), HANDSHAKES_MAX);
    }
}
