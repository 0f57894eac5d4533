//! `tls_server_config`: Go's words for TLS, as rustls (with ring) understands them. What rustls cannot do is refused by name.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        ring::{self, cipher_suite, kx_group},
    },
    version::{TLS12, TLS13},
};
use watchkeep_catalog::tls::{ALPN, Field, Files, Identity, Pem, TlsError, authorities};

use super::{
    Source, Wrong,
    callers::{Callers, Policy},
    file::{TlsServer, given},
};

/// The cipher suites of TLS 1.2, by their names in Go. Those of TLS 1.3 are not chosen among, there as here.
static SUITES: [(&str, SupportedCipherSuite); 6] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];
/// What is always there where TLS 1.3 is, by their names in Go.
static SUITES_OF_13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// TLS of the listener.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// Until when the certificate holds: Unix time in seconds.
    pub(super) not_after_seconds: i64,
    pub(super) demands_certificate: bool,
}

/// What is wrong with `tls_server_config`.
struct Found(Vec<Wrong>);

impl Found {
    fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.0.push((format!("tls_server_config.{field}"), message.into()));
    }

    /// What is good; else none, and it is noted.
    fn good<T>(&mut self, made: Result<T, (String, String)>) -> Option<T> {
        made.map_err(|(field, message)| self.refuse(&field, message)).ok()
    }
}

impl Tls {
    /// Reads and judges; also what it is made of. Files lie in `dir` unless they say otherwise.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn make(
        said: &TlsServer,
        http2: bool,
        dir: &Path,
    ) -> Result<(Self, Vec<Source>), Vec<Wrong>> {
        let mut found = Found(Vec::new());
        let mut reader = Reader { dir, sources: Vec::new() };
        let cert = found.good(reader.pem(
            "cert",
            given(said.cert.as_deref()),
            given(said.cert_file.as_deref()),
        ));
        let key = found.good(reader.pem(
            "key",
            given(said.key.as_deref()),
            given(said.key_file.as_deref()),
        ));
        let ca = found.good(reader.pem(
            "client_ca",
            given(said.client_ca.as_deref()),
            given(said.client_ca_file.as_deref()),
        ));
        for (name, pem) in [("cert", &cert), ("key", &key)] {
            if let Some(None) = pem {
                let message = format!("is missing: TLS needs {name}_file (or {name})");
                found.refuse(&format!("{name}_file"), message);
            }
        }
        let identity = cert.flatten().zip(key.flatten()).and_then(|(cert, key)| {
            let read = Identity::read(&cert, &key).map_err(|error| blame(said, &error));
            Some((
                found.good(read)?,
                Files { cert: Some(cert.path), key: Some(key.path), ca: None },
            ))
        });
        let roots = ca.map(|ca| ca.map(|ca| authorities(&ca)).transpose());
        let roots = roots.and_then(|roots| found.good(roots.map_err(|error| blame(said, &error))));
        let versions = found.good(versions(said));
        let provider = provider(said, &mut found);
        let sans = said.client_allowed_sans.clone();
        let policy = found.good(Policy::read(given(said.client_auth_type.as_deref())));
        let callers = policy.zip(roots).and_then(|(policy, roots)| {
            let made = Callers::make(policy, roots, sans);
            found.good(made.map_err(|(field, message)| (field.to_owned(), message)))
        });
        let (Some((identity, files)), Some(versions), Some(callers)) =
            (identity, versions, callers)
        else {
            return Err(found.0);
        };
        if !found.0.is_empty() {
            return Err(found.0);
        }
        let not_after_seconds = identity.not_after_seconds;
        let demands_certificate = callers.as_ref().is_some_and(|callers| callers.demand());
        let built = build(said, provider, &versions, callers, identity, &files);
        let Some(mut config) = found.good(built) else { return Err(found.0) };
        config.alpn_protocols =
            ALPN.iter().skip(usize::from(!http2)).map(|name| name.to_vec()).collect();
        config.ignore_client_order = said.prefer_server_cipher_suites.unwrap_or(true);
        let config = Arc::new(config);
        Ok((Self { config, not_after_seconds, demands_certificate }, reader.sources))
    }
}

fn build(
    said: &TlsServer,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    callers: Option<Callers>,
    identity: Identity,
    files: &Files,
) -> Result<ServerConfig, Wrong> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(|error| {
            let message = format!("{error}: leave it out, or name one for each version spoken");
            ("cipher_suites".to_owned(), message)
        })?;
    let builder = match callers {
        Some(callers) => builder.with_client_cert_verifier(Arc::new(callers)),
        None => builder.with_no_client_auth(),
    };
    let built = builder.with_single_cert(identity.chain, identity.key);
    built.map_err(|error| blame(said, &files.refused(error)))
}

/// Names the field behind an error: the file's where there is one.
fn blame(said: &TlsServer, error: &TlsError) -> Wrong {
    let (name, file) = match error.field() {
        Field::Cert => ("cert", &said.cert_file),
        Field::Key => ("key", &said.key_file),
        Field::Ca => ("client_ca", &said.client_ca_file),
    };
    let field =
        if given(file.as_deref()).is_some() { format!("{name}_file") } else { name.to_owned() };
    (field, error.to_string())
}

/// Reads PEM, and remembers of which files.
struct Reader<'a> {
    dir: &'a Path,
    sources: Vec<Source>,
}

impl Reader<'_> {
    /// What stands in the field or in the file that `{name}_file` names; none where neither is given.
    fn pem(
        &mut self,
        name: &str,
        text: Option<&str>,
        file: Option<&str>,
    ) -> Result<Option<Pem>, Wrong> {
        match (text, file) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                Err((name.to_owned(), format!("stands beside {name}_file: give one of them")))
            }
            (Some(text), None) => {
                Ok(Some(Pem { path: PathBuf::from(name), bytes: text.as_bytes().to_vec() }))
            }
            (None, Some(file)) => {
                let path = self.dir.join(file);
                match std::fs::read(&path) {
                    Ok(bytes) => {
                        self.sources.push((path.clone(), bytes.clone()));
                        Ok(Some(Pem { path, bytes }))
                    }
                    Err(error) => {
                        let remedy = "give a PEM file that this user may read";
                        let message = format!("{}: {error}; {remedy}", path.display());
                        Err((format!("{name}_file"), message))
                    }
                }
            }
        }
    }
}

/// The versions that are spoken.
fn versions(said: &TlsServer) -> Result<Vec<&'static SupportedProtocolVersion>, Wrong> {
    let version = |field: &str, text: Option<&str>, usual: u8| match text {
        None => Ok(usual),
        Some("TLS12") => Ok(12),
        Some("TLS13") => Ok(13),
        Some(old @ ("TLS10" | "TLS11")) => {
            let message =
                format!("{old} is not spoken here, since it is broken: give TLS12 or TLS13");
            Err((field.to_owned(), message))
        }
        Some(other) => {
            Err((field.to_owned(), format!("{other:?} is no version: give TLS12 or TLS13")))
        }
    };
    let min = version("min_version", given(said.min_version.as_deref()), 12)?;
    let max = version("max_version", given(said.max_version.as_deref()), 13)?;
    if min > max {
        let message = "is newer than max_version: give TLS12, or raise max_version".to_owned();
        return Err(("min_version".to_owned(), message));
    }
    let all = [(12, &TLS12), (13, &TLS13)];
    let spoken = all.into_iter().filter(|(number, _)| (min..=max).contains(number));
    Ok(spoken.map(|(_, version)| version).collect())
}

/// What encrypts and how keys are agreed on.
fn provider(said: &TlsServer, found: &mut Found) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(names) = said.cipher_suites.as_ref().filter(|names| !names.is_empty()) {
        provider.cipher_suites = SUITES_OF_13.map(|(_, suite)| suite).to_vec();
        for (at, name) in names.iter().enumerate() {
            if SUITES_OF_13.iter().any(|(known, _)| known == name) {
                continue;
            }
            match SUITES.iter().find(|(known, _)| known == name) {
                Some((_, suite)) => provider.cipher_suites.push(*suite),
                None => found.refuse(&format!("cipher_suites[{at}]"), {
                    let known = SUITES.iter().map(|(known, _)| *known);
                    format!(
                        "{name:?} is not spoken here (nothing with CBC, RC4, 3DES or a key exchange by RSA is): leave it out; \
                         spoken: {}",
                        known.collect::<Vec<_>>().join(", ")
                    )
                }),
            }
        }
    }
    if let Some(names) = said.curve_preferences.as_ref().filter(|names| !names.is_empty()) {
        let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            match name.as_str() {
                "X25519" => groups.push(kx_group::X25519),
                "CurveP256" => groups.push(kx_group::SECP256R1),
                "CurveP384" => groups.push(kx_group::SECP384R1),
                _ => found.refuse(
                    &format!("curve_preferences[{at}]"),
                    format!(
                        "{name:?} is not spoken here: leave it out; spoken: X25519, CurveP256, CurveP384"
                    ),
                ),
            }
        }
        provider.kx_groups = groups;
    }
    provider
}
