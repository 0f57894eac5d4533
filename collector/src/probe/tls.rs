//! TLS as probes and remote write use it: ring, the public roots or others, and what a certificate tells.
//!
//! A client is made once for all checks with the same settings, and anew when one of its files has changed.
//! Sessions are not resumed: a probe is to see the certificate that the server shows now.

use std::{
    collections::HashMap,
    fmt::Display,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::warn;
use watchkeep_catalog::{TlsSettings, TlsVersion};

use super::{
    Phase, Stopwatch,
    connect::io_words,
    files::{Files, Stamp, stamp},
};

mod anybody;
mod chain;
mod named;

use anybody::Anybody;
pub(crate) use chain::Anchors;
pub(crate) use chain::Shown;
use named::Named;

/// A client that trusts the public roots.
///
/// # Errors
/// When the crypto provider knows no version of TLS: never, with ring.
pub(crate) fn public_roots() -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// All clients, by settings. Those that no check uses any more are dropped.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<Key, Weak<Client>>>);

/// Settings without a name, and protocols.
type Key = (TlsSettings, Vec<String>);

impl Clients {
    pub(crate) fn get(
        &self,
        settings: &TlsSettings,
        alpn: &[&str],
        files: &Files,
    ) -> Result<Arc<Client>, String> {
        let settings = TlsSettings { server_name: None, ..settings.clone() };
        let key = (settings, alpn.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(client);
        }
        let client = Arc::new(Client::new(&key.0, &key.1, files)?);
        known.retain(|_, client| client.strong_count() > 0);
        known.insert(key, Arc::downgrade(&client));
        Ok(client)
    }
}

/// What one set of settings amounts to.
#[derive(Debug)]
pub(crate) struct Client {
    ca: Option<PathBuf>,
    own: Option<(PathBuf, PathBuf)>,
    versions: Vec<&'static SupportedProtocolVersion>,
    skip_verify: bool,
    alpn: Vec<Vec<u8>>,
    made: Mutex<([Stamp; 3], Made)>,
}

/// Made of the files as they are.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) config: Arc<ClientConfig>,
    /// As `config`, but it takes any certificate.
    pub(crate) lenient: Arc<ClientConfig>,
    /// Judges what `lenient` took.
    pub(crate) verifier: Arc<dyn ServerCertVerifier>,
    pub(crate) anchors: Arc<Anchors>,
}

impl Client {
    fn new(settings: &TlsSettings, alpn: &[String], files: &Files) -> Result<Self, String> {
        settings.validate().map_err(|e| e.to_string())?;
        let find = |field: &str, path: &Option<String>| {
            path.as_deref().map(|path| files.find(field, path)).transpose()
        };
        let ca = find("tls.ca_file", &settings.ca_file)?;
        let cert = find("tls.cert_file", &settings.cert_file)?;
        let own = cert.zip(find("tls.key_file", &settings.key_file)?);
        let min = settings.min_version.unwrap_or(TlsVersion::Tls12);
        let max = settings.max_version.unwrap_or(TlsVersion::Tls13);
        let versions = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
        let versions = versions.into_iter().filter(|(v, _)| (min..=max).contains(v));
        let mut client = Self {
            ca,
            own,
            versions: versions.map(|(_, version)| version).collect(),
            skip_verify: settings.insecure_skip_verify,
            alpn: alpn.iter().map(|name| name.clone().into_bytes()).collect(),
            made: Mutex::new(([None; 3], Self::placeholder()?)),
        };
        let made = (client.stamps(), client.make()?);
        client.made = Mutex::new(made);
        Ok(client)
    }

    fn placeholder() -> Result<Made, String> {
        let config = public_roots().map_err(|e| e.to_string())?;
        Ok(Made {
            lenient: config.clone(),
            config,
            verifier: Arc::new(Anybody::default()),
            anchors: Arc::default(),
        })
    }

    fn stamps(&self) -> [Stamp; 3] {
        let own = self.own.as_ref();
        [&self.ca, &own.map(|o| o.0.clone()), &own.map(|o| o.1.clone())]
            .map(|path| path.as_deref().and_then(stamp))
    }

    /// The client of the files as they are; of files that are of no use any more, the one before.
    pub(crate) fn made(&self) -> Made {
        let mut known = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ca.is_none() && self.own.is_none() {
            return known.1.clone();
        }
        let stamps = self.stamps();
        if stamps != known.0 {
            match self.make() {
                Ok(made) => known.1 = made,
                Err(reason) => warn!(reason, "changed TLS files are of no use, the former hold"),
            }
            known.0 = stamps;
        }
        known.1.clone()
    }

    fn make(&self) -> Result<Made, String> {
        let (roots, anchors, trusted) = match &self.ca {
            None => {
                let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
                let anchors = Anchors::of(&roots, &[]);
                (roots, anchors, Vec::new())
            }
            Some(path) => {
                let certificates = certificates("tls.ca_file", path)?;
                let mut roots = RootCertStore::empty();
                for certificate in &certificates {
                    roots
                        .add(certificate.clone())
                        .map_err(|e| format!("tls.ca_file {}: {e}", path.display()))?;
                }
                let anchors = Anchors::of(&roots, &certificates);
                (roots, anchors, certificates)
            }
        };
        let provider = Arc::new(ring::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|e| format!("tls.ca_file: {e}"))?;
        let strict: Arc<dyn ServerCertVerifier> = Arc::new(Named { chain, trusted });
        let anybody: Arc<dyn ServerCertVerifier> = Arc::new(Anybody::default());
        let verifier = if self.skip_verify { anybody.clone() } else { strict };
        let config = self.config(&provider, verifier.clone())?;
        let lenient = self.config(&provider, anybody)?;
        let anchors = if self.skip_verify { Anchors::default() } else { anchors };
        Ok(Made { config, lenient, verifier, anchors: Arc::new(anchors) })
    }

    fn config(
        &self,
        provider: &Arc<rustls::crypto::CryptoProvider>,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Arc<ClientConfig>, String> {
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions)
            .map_err(|e| format!("tls.min_version: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates("tls.cert_file", cert)?;
                let wrong = |e: &dyn Display| format!("tls.key_file {}: {e}", key.display());
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(&e))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| wrong(&e))?
            }
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = self.alpn.clone();
        Ok(Arc::new(config))
    }
}

fn certificates(field: &str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{field} {}: there is no certificate in it", path.display())),
        Err(error) => Err(format!("{field} {}: {error}", path.display())),
    }
}

/// TLS with one server.
#[derive(Debug)]
pub(crate) struct Tls {
    client: Arc<Client>,
    name: ServerName<'static>,
    /// What the server showed last, so that the same is not read twice.
    shown: Mutex<Option<Arc<Shown>>>,
}

impl Tls {
    pub(crate) fn new(client: Arc<Client>, name: &str) -> Result<Self, String> {
        Ok(Self { client, name: server_name(name)?, shown: Mutex::new(None) })
    }

    /// Whose certificate is expected.
    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    pub(crate) fn made(&self) -> Made {
        self.client.made()
    }

    /// The handshake, and facts of what the server showed. `with` is for the error: an endpoint.
    pub(crate) async fn connect<S>(
        &self,
        stream: S,
        with: &impl Display,
        watch: &mut Stopwatch,
    ) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshake(self.made().config, stream, with, watch).await
    }

    pub(super) async fn handshake<S>(
        &self,
        config: Arc<ClientConfig>,
        stream: S,
        with: &impl Display,
        watch: &mut Stopwatch,
    ) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        watch.enter(Phase::Tls);
        let done = TlsConnector::from(config).connect(self.name.clone(), stream).await;
        let stream = done.map_err(|e| format!("TLS with {with}: {}", io_words(&e)))?;
        if let Some(shown) = self.shown(stream.get_ref().1) {
            shown.tell(watch);
        }
        Ok(stream)
    }

    /// What the server showed in this handshake.
    pub(crate) fn shown(&self, connection: &rustls::ClientConnection) -> Option<Arc<Shown>> {
        let certificates = connection.peer_certificates()?;
        let version = connection.protocol_version();
        let mut known = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = known.as_ref().filter(|shown| shown.is(certificates, version)) {
            return Some(shown.clone());
        }
        let shown = Shown::read(certificates, version, &self.client.made().anchors)?;
        Some(known.insert(Arc::new(shown)).clone())
    }
}

/// A host name or an address that a certificate can be for.
fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} cannot have a certificate"))
}

#[cfg(test)]
pub(crate) mod tests;
