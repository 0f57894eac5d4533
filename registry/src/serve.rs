//! A listener that serves HTTP/1 and HTTP/2 (gRPC) on one port, with TLS or without.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::codegen::StdError;
use tower::{Service, ServiceExt};
use tracing::{debug, warn};
use watchkeep_api::tls::Refusals;

use crate::{auth::PeerCertificate, authority::Lenient, metrics::Metrics, tls::Door};

mod metered;
mod turn;

pub(crate) use metered::{Metered, Meters};
use turn::{Corked, Turns};

/// Calls at once on one connection.
const STREAMS_MAX: u32 = 100_000;
/// What a client may send ahead, on one call and on all of a connection. Fixed: an adaptive window is measured with pings,
/// and those cost more than it gains.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// A client that vanished without a word is noticed by pings.
const PING: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted (out of file descriptors, say).
const PAUSE: Duration = Duration::from_millis(50);

/// A port, and how who comes to it is treated.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    /// Only who comes through it is served.
    pub(crate) door: Option<Arc<Door>>,
    pub(crate) meters: Option<Meters>,
    /// Connections give way to the tasks that are ready, so that one write carries what several streams have to send. Those on
    /// whose answers everybody waits should not.
    pub(crate) patient: bool,
}

/// Serves until `stop`; open connections are then closed.
pub(crate) async fn serve<S, B>(
    port: Port,
    service: S,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<StdError>> + Send + 'static,
{
    let Port { listener, door, meters, patient } = port;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut connections = JoinSet::new();
    let refusals = Arc::new(Refusals::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "connection not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "nodelay not set");
        }
        let stream = Metered { stream, meters: meters.clone() };
        let connection = Connection { builder: builder.clone(), service: service.clone(), patient };
        let Some(door) = door.clone() else {
            connections.spawn(connection.serve(stream, None));
            continue;
        };
        let (metrics, refusals) = (Arc::clone(&metrics), Arc::clone(&refusals));
        connections
            .spawn(async move { connection.enter(&door, stream, &metrics, &refusals).await });
    }
}

/// What a connection needs.
struct Connection<S> {
    builder: Builder<TokioExecutor>,
    service: S,
    patient: bool,
}

impl<S, B> Connection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<StdError>> + Send + 'static,
{
    /// Serves it if the door lets it in.
    async fn enter(self, door: &Door, stream: Metered, metrics: &Metrics, refusals: &Refusals) {
        let remote = stream.remote().map_or_else(|e| e.to_string(), |address| address.to_string());
        match door.open(stream).await {
            Ok((stream, certificate)) => self.serve(stream, certificate).await,
            Err(error) => {
                metrics.tls_refused.with_label_values(&[door.name()]).inc();
                if let Some(unsaid) = refusals.is_told(&error.to_string(), Instant::now()) {
                    warn!(listener = door.name(), %remote, %error, unsaid, "connection refused");
                }
            }
        }
    }

    /// Serves it. The client's certificate goes with each of its requests.
    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        certificate: Option<PeerCertificate>,
    ) {
        let named = move |mut request: Request<Incoming>| {
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            request
        };
        let service = TowerToHyperService::new(self.service.map_request(named));
        let (stream, patient) = (Corked::new(Lenient::new(stream)), self.patient);
        let io = TokioIo::new(stream.handle());
        let served = Turns::new(stream, self.builder.serve_connection(io, service), patient).await;
        if let Err(error) = served {
            debug!(%error, "connection ended");
        }
    }
}
