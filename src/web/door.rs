//! The HTTP listener's TLS: each connection shakes hands on a task of its own, so that one that is slow keeps nobody waiting.

use std::{
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
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};
use watchkeep_catalog::tls::{Refusals, Terms, shake_hands};

use super::Kept;
use crate::metrics::WebMetrics;

/// Handshakes under way at once; further connections wait to be accepted.
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

/// Accepts until nobody wants connections any more.
async fn accept(listener: TcpListener, hall: Arc<Hall>, shaken: mpsc::Sender<Shaken>) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if handshakes.len() < HANDSHAKES_MAX => accepted,
            Some(_) = handshakes.join_next() => continue,
            () = shaken.closed() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let (hall, shaken) = (Arc::clone(&hall), shaken.clone());
                handshakes.spawn(async move { hall.enter(stream, remote, &shaken).await });
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
            Err(error) => {
                self.metrics.connections_refused.inc();
                if let Some(unsaid) = self.refusals.is_told(&error.to_string(), Instant::now()) {
                    warn!(listener = "http", %remote, %error, unsaid, "connection refused");
                }
            }
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
