//! What the probes of a collector share.

use std::sync::Arc;

use rustls::ClientConfig;

use super::tls;

/// Handed to each probe's `new`.
#[derive(Debug)]
pub(crate) struct Context {
    /// A client that trusts the public roots.
    pub(crate) tls: Arc<ClientConfig>,
}

impl Context {
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new() -> Result<Arc<Self>, rustls::Error> {
        Ok(Arc::new(Self { tls: tls::public_roots()? }))
    }
}
