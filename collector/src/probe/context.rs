//! What the probes of a collector share.

use std::{path::PathBuf, sync::Arc};

use rustls::ClientConfig;
use watchkeep_catalog::{Client, TlsSettings};

use super::{
    assertion::Language,
    files::Files,
    http::Recipes,
    policy::Policy,
    tls::{self, Clients, Tls},
};
use crate::reports::Reports;

/// Handed to each probe's `new`.
#[derive(Debug)]
pub(crate) struct Context {
    /// A client that trusts the public roots.
    pub(crate) tls: Arc<ClientConfig>,
    /// Which addresses may be probed.
    pub(crate) policy: Arc<Policy>,
    /// Which files checks may use.
    pub(crate) files: Files,
    /// What assertions are written in.
    pub(super) language: Language,
    /// The rest of the collector, as far as probes use it.
    pub(crate) rooms: Rooms,
    clients: Clients,
    /// What HTTP checks share.
    pub(super) recipes: Recipes,
}

/// What a whole collector has: a probe that is run by hand has scripts at most.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    /// The registry.
    pub(crate) client: Option<Client>,
    /// What services say of themselves.
    pub(crate) reports: Option<Arc<Reports>>,
    /// Where scripts lie; none: none is run.
    pub(crate) scripts: Option<PathBuf>,
}

impl Context {
    /// Without a registry and scripts.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(policy: Policy, files: Files) -> Result<Arc<Self>, rustls::Error> {
        Self::within(policy, files, Rooms::default())
    }

    /// In a whole collector.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn within(
        policy: Policy,
        files: Files,
        rooms: Rooms,
    ) -> Result<Arc<Self>, rustls::Error> {
        Ok(Arc::new(Self {
            tls: tls::public_roots()?,
            policy: Arc::new(policy),
            files,
            language: Language::default(),
            rooms,
            clients: Clients::default(),
            recipes: Recipes::default(),
        }))
    }

    /// TLS as `settings` say, for a server named `host` unless they name another. Checks with the same
    /// settings share all but the name.
    ///
    /// # Errors
    /// In words, when a file or a name is of no use.
    pub(crate) fn tls(
        &self,
        settings: &TlsSettings,
        alpn: &[&str],
        host: &str,
    ) -> Result<Tls, String> {
        let client = self.clients.get(settings, alpn, &self.files)?;
        Tls::new(client, settings.server_name.as_deref().unwrap_or(host))
    }
}
