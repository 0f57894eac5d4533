//! A listener that serves HTTP/1 and HTTP/2 (gRPC) on one port.

use std::time::Duration;

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::authority::Lenient;

/// Calls at once on one connection.
const STREAMS_MAX: u32 = 100_000;
/// A client that vanished without a word is noticed by pings.
const PING: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted (out of file descriptors, say).
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`; open connections are then closed.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut connections = JoinSet::new();
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
        let service = TowerToHyperService::new(router.clone());
        let builder = builder.clone();
        connections.spawn(async move {
            let serving =
                builder.serve_connection_with_upgrades(TokioIo::new(Lenient::new(stream)), service);
            if let Err(error) = serving.await {
                debug!(%error, "connection ended");
            }
        });
    }
}
