//! The HTTP listener: bound before anything starts, and served with TLS or without.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::anyhow;
use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Kept, door::Door};
use crate::metrics::WebMetrics;

/// Listens.
///
/// # Errors
/// When the address cannot be had; the text says what to do.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "stop what uses the port, or choose another",
            io::ErrorKind::AddrNotAvailable => {
                "give an address that this machine has, or 0.0.0.0 for all of them"
            }
            io::ErrorKind::PermissionDenied => {
                "give a port of 1024 or more, or the process the right to this one"
            }
            _ => "choose another address",
        };
        anyhow!(
            "cannot listen on {address} for HTTP: {error}; {remedy} (listen.http, --http-listen)"
        )
    })
}

/// Serves until `closing`, and then what is under way; with TLS where the web configuration has it.
///
/// # Errors
/// When the listener has no address.
pub(crate) fn serve(
    listener: TcpListener,
    web: Option<Arc<Kept>>,
    metrics: &WebMetrics,
    router: Router,
    closing: CancellationToken,
) -> io::Result<JoinHandle<io::Result<()>>> {
    // A bare `Router` would be copied whole, route by route, for every connection.
    let service = router.into_make_service();
    let closed = closing.cancelled_owned();
    if let Some(web) = web.filter(|web| web.current().demands().tls) {
        let door = Door::open(listener, web, metrics.clone())?;
        let served = axum::serve(door, service).with_graceful_shutdown(closed);
        return Ok(tokio::spawn(served.into_future()));
    }
    // The end of an answer does not wait until the client has confirmed its beginning.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "nodelay not set");
        }
    });
    let served = axum::serve(listener, service).with_graceful_shutdown(closed);
    Ok(tokio::spawn(served.into_future()))
}
