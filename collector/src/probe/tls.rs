//! TLS as probes and remote write use it: ring, and the public roots.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A client that trusts the public roots.
///
/// # Errors
/// When the crypto provider knows no version of TLS: never, with ring.
pub(crate) fn public_roots() -> Result<Arc<ClientConfig>, rustls::Error> {
    client(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

/// A client that trusts `roots`.
pub(crate) fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
