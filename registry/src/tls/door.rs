//! A listener's side of the handshake.

use std::{io, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::server::TlsStream;
use watchkeep_api::tls::{
    ALPN, Certificate, Files, Material, Reloading, Terms, TlsError, shake_hands,
};

use super::member;
use crate::{auth::PeerCertificate, serve::Metered};

/// Whom a listener lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callers {
    /// Anybody; a certificate that is shown must be good.
    MayShow,
    /// Whoever shows a good certificate.
    MustShow,
    /// Members: a good certificate that is a member's.
    Members,
}

/// What the files make.
struct Current {
    config: Arc<ServerConfig>,
    not_after_seconds: i64,
}

/// The TLS of one listener.
pub(crate) struct Door {
    callers: Callers,
    reloading: Reloading<Current>,
    /// Hosts of the members that are known.
    hosts: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl Door {
    /// For the client listener.
    pub(super) fn of_clients(files: Files, must_show: bool) -> Result<Self, TlsError> {
        Self::new(files, if must_show { Callers::MustShow } else { Callers::MayShow })
    }

    /// For the peer listener.
    pub(super) fn of_peers(files: Files) -> Result<Self, TlsError> {
        Self::new(files, Callers::Members)
    }

    fn new(files: Files, callers: Callers) -> Result<Self, TlsError> {
        let build = move |files: &Files, material| build(files, material, callers);
        let hosts = Box::new(Vec::new);
        Ok(Self { callers, reloading: Reloading::load(files, build)?, hosts })
    }

    /// Lets in the members at these hosts, too, from wherever they call.
    pub(crate) fn knowing(
        mut self,
        hosts: impl Fn() -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.hosts = Box::new(hosts);
        self
    }

    /// The listener's name in logs and metrics.
    pub(crate) fn name(&self) -> &'static str {
        if self.callers == Callers::Members { "peer" } else { "client" }
    }

    /// When the certificate in use ends: Unix time in seconds.
    pub(crate) fn not_after_seconds(&self) -> i64 {
        self.reloading.current().not_after_seconds
    }

    /// Looks at the files; see [`Reloading::refresh`].
    pub(super) fn refresh(&self) -> Result<bool, TlsError> {
        self.reloading.refresh()
    }

    /// Shakes hands, and says whose certificate was shown.
    ///
    /// # Errors
    /// When the caller is not let in; the text says why.
    pub(crate) async fn open(
        &self,
        stream: Metered,
    ) -> io::Result<(TlsStream<Metered>, Option<PeerCertificate>)> {
        let remote = stream.remote()?.ip();
        let config = Arc::clone(&self.reloading.current().config);
        let stream = shake_hands(config, stream, &self.terms()).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(shown) = shown else { return Ok((stream, None)) };
        let certificate = Certificate::read(shown).map_err(io::Error::other)?;
        if self.callers == Callers::Members {
            member::check(shown, &certificate, remote, &(self.hosts)()).await?;
        }
        let common_name = certificate.common_name;
        Ok((stream, Some(PeerCertificate { common_name })))
    }

    /// What is said to whom is not let in.
    fn terms(&self) -> Terms {
        match self.callers {
            Callers::Members => Terms {
                authorities: "peer_tls.ca",
                unshown: "no certificate was shown: only members with one of peer_tls.ca are let in",
            },
            Callers::MayShow | Callers::MustShow => Terms {
                authorities: "tls.client_ca",
                unshown: "no certificate was shown, and tls.client_cert_auth demands one",
            },
        }
    }
}

fn build(files: &Files, material: Material, callers: Callers) -> Result<Current, TlsError> {
    let identity = material
        .identity
        .ok_or_else(|| TlsError::Config("a listener needs a certificate".to_owned()))?;
    let not_after_seconds = identity.not_after_seconds;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Config(e.to_string()))?;
    let builder = match material.roots {
        Some(roots) => builder.with_client_cert_verifier(verifier(roots, callers)?),
        None => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(identity.chain, identity.key).map_err(|e| files.refused(e))?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Current { config: Arc::new(config), not_after_seconds })
}

fn verifier(
    roots: RootCertStore,
    callers: Callers,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match callers {
        Callers::MayShow => verifier.allow_unauthenticated(),
        Callers::MustShow | Callers::Members => verifier,
    };
    verifier.build().map_err(|e| TlsError::Config(e.to_string()))
}
