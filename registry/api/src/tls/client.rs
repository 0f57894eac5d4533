//! The client's side: whom it trusts, who it says it is, and connections for tonic's channels.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower::Service;
use tracing::{info, warn};

use super::{Files, Material, Reloading, TlsError};

/// The protocol of gRPC (RFC 7540 §3.3), without which a server on a shared port would speak HTTP/1.
const ALPN: &[u8] = b"h2";

/// TLS of a client. Cheap to clone; its files are looked at before each connection.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<Reloading<ClientConfig>>);

impl ClientTls {
    /// Reads the files. Without `ca` the public roots are trusted; without `cert` the client has no certificate to show.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        Reloading::load(files.clone(), of_grpc).map(|config| Self(Arc::new(config)))
    }

    /// Looks at the files; see [`Reloading::refresh`].
    ///
    /// # Errors
    /// When they changed and are of no use.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        self.0.refresh()
    }

    /// Connects and shakes hands.
    async fn connect(self, uri: Uri) -> io::Result<TlsStream<TcpStream>> {
        let invalid =
            |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{uri}: {what}"));
        let host = uri.host().ok_or_else(|| invalid("no host"))?.trim_matches(['[', ']']);
        let port = uri.port_u16().ok_or_else(|| invalid("no port"))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| invalid("neither a host name nor an address"))?;
        let reloading = Arc::clone(&self.0);
        let looked = tokio::task::spawn_blocking(move || reloading.refresh()).await;
        match looked.map_err(io::Error::other)? {
            Ok(false) => {}
            Ok(true) => info!("client certificate and authorities read anew"),
            Err(error) => warn!(%error, "client certificate not read anew; the former one stays"),
        }
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(self.0.current()).connect(name, stream).await
    }
}

fn of_grpc(files: &Files, material: Material) -> Result<ClientConfig, TlsError> {
    let mut config = build(files, material)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// What a client of another protocol than gRPC needs, by the files as they are now. Without `ca` the public roots are trusted.
///
/// # Errors
/// When a file cannot be read or used.
pub fn client_config(files: &Files) -> Result<ClientConfig, TlsError> {
    build(files, files.parse(&files.read()?)?)
}

fn build(files: &Files, material: Material) -> Result<ClientConfig, TlsError> {
    let public = || RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Config(e.to_string()))?
        .with_root_certificates(material.roots.unwrap_or_else(public));
    Ok(match material.identity {
        Some(identity) => config
            .with_client_auth_cert(identity.chain, identity.key)
            .map_err(|e| files.refused(e))?,
        None => config.with_no_client_auth(),
    })
}

/// An endpoint of tonic for a `http://` or `https://` URL. tonic itself, built without TLS, must not see the latter's scheme;
/// requests name it all the same.
///
/// # Errors
/// When it is not a URL.
pub fn endpoint(url: &str) -> Result<Endpoint, tonic::transport::Error> {
    let Some(rest) = url.strip_prefix("https://") else {
        return Endpoint::from_shared(url.to_owned());
    };
    let endpoint = Endpoint::from_shared(format!("http://{rest}"))?;
    // What was a URL with one scheme is one with the other.
    Ok(match url.parse() {
        Ok(origin) => endpoint.origin(origin),
        Err(_) => endpoint,
    })
}

/// A channel that connects on first use: with TLS when `tls` is given.
#[must_use]
pub fn channel(endpoint: Endpoint, tls: Option<&ClientTls>) -> Channel {
    match tls {
        Some(tls) => endpoint.connect_with_connector_lazy(Connector(tls.clone())),
        None => endpoint.connect_lazy(),
    }
}

/// Opens connections for a channel.
struct Connector(ClientTls);

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.clone().connect(uri);
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}
