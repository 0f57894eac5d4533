//! A certificate, its key and the authorities that are trusted: PEM files and what is in them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use thiserror::Error;

use super::{Certificate, CertificateError};

/// Where the files are. A certificate and its key go together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Certificate, followed by those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The key of `cert`: PKCS #8, PKCS #1 or SEC 1.
    pub key: Option<PathBuf>,
    /// Certificates of the authorities that the other side's certificate may come from.
    pub ca: Option<PathBuf>,
}

/// Which of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The certificate.
    Cert,
    /// Its key.
    Key,
    /// The authorities.
    Ca,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cert => "cert",
            Self::Key => "key",
            Self::Ca => "ca",
        })
    }
}

/// Why files are of no use.
#[derive(Debug, Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        field: Field,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What should be in it is not.
    #[error("{path}: {message}")]
    Content {
        /// Which.
        field: Field,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A key without a certificate, or the other way round.
    #[error("{present} is given without {missing}: give both or neither")]
    Half {
        /// What is there.
        present: Field,
        /// What is not.
        missing: Field,
    },
    /// The certificate and the key do not belong together, or rustls cannot use them.
    #[error("{cert} and {key}: {}", pair_words(source))]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// rustls refuses the whole.
    #[error("TLS: {0}")]
    Config(String),
}

impl TlsError {
    /// The file to look at first.
    #[must_use]
    pub fn field(&self) -> Field {
        match self {
            Self::Read { field, .. } | Self::Content { field, .. } => *field,
            Self::Half { present, .. } => *present,
            Self::Pair { .. } => Field::Key,
            Self::Config(_) => Field::Cert,
        }
    }
}

/// Who this side is: a certificate chain and its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// The certificate's end, Unix time in seconds.
    pub not_after_seconds: i64,
}

/// A text in PEM, and where it stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The file, or what messages call it by.
    pub path: PathBuf,
    /// What is in it: a secret, perhaps.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a certificate, with those between it and its authority, and its key. That the two belong together is rustls's
    /// matter.
    ///
    /// # Errors
    /// When one of them is not what it should be.
    pub fn read(cert: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let chain = certificates(Field::Cert, &cert.path, &cert.bytes)?;
        let first =
            Certificate::read(&chain[0]).map_err(|e| unreadable(Field::Cert, &cert.path, &e))?;
        let key = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|error| {
            let message = no_key(&key.bytes, &error);
            TlsError::Content { field: Field::Key, path: key.path.clone(), message }
        })?;
        Ok(Self { chain, key, not_after_seconds: first.not_after_seconds })
    }
}

/// Reads the certificates of authorities.
///
/// # Errors
/// When there are none, or one is not an authority's.
pub fn authorities(ca: &Pem) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(Field::Ca, &ca.path, &ca.bytes)? {
        roots.add(certificate).map_err(|error| TlsError::Content {
            field: Field::Ca,
            path: ca.path.clone(),
            message: format!("this is no authority's certificate: {error}"),
        })?;
    }
    Ok(roots)
}

/// What is in the files.
#[derive(Debug)]
pub struct Material {
    /// This side's certificate.
    pub identity: Option<Identity>,
    /// The authorities.
    pub roots: Option<RootCertStore>,
}

/// The files' bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    ca: Option<Vec<u8>>,
}

impl Files {
    /// Reads them. Blocks.
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let (cert, key) = (self.cert.as_deref(), self.key.as_deref());
        match (cert, key) {
            (Some(_), None) => {
                return Err(TlsError::Half { present: Field::Cert, missing: Field::Key });
            }
            (None, Some(_)) => {
                return Err(TlsError::Half { present: Field::Key, missing: Field::Cert });
            }
            _ => {}
        }
        Ok(Contents {
            cert: read(Field::Cert, cert)?,
            key: read(Field::Key, key)?,
            ca: read(Field::Ca, self.ca.as_deref())?,
        })
    }

    /// Understands what was read.
    pub(super) fn parse(&self, contents: &Contents) -> Result<Material, TlsError> {
        let pem = |path: &Option<PathBuf>, bytes: &Option<Vec<u8>>| {
            path.clone().zip(bytes.clone()).map(|(path, bytes)| Pem { path, bytes })
        };
        let identity = match (pem(&self.cert, &contents.cert), pem(&self.key, &contents.key)) {
            (Some(cert), Some(key)) => Some(Identity::read(&cert, &key)?),
            _ => None,
        };
        let roots = pem(&self.ca, &contents.ca).map(|ca| authorities(&ca)).transpose()?;
        Ok(Material { identity, roots })
    }

    /// Names the two files in an error of rustls.
    #[must_use]
    pub fn refused(&self, source: rustls::Error) -> TlsError {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                TlsError::Pair { cert: cert.clone(), key: key.clone(), source }
            }
            _ => TlsError::Config(source.to_string()),
        }
    }
}

fn read(field: Field, path: Option<&Path>) -> Result<Option<Vec<u8>>, TlsError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::Read {
            field,
            path: path.to_owned(),
            source,
        })
    };
    path.map(read).transpose()
}

/// At least one.
fn certificates(
    field: Field,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = |message: String| TlsError::Content { field, path: path.to_owned(), message };
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(format!("this is not PEM: {error}")))?;
    if found.is_empty() {
        let instead = if holds(pem, "CERTIFICATE REQUEST-----") {
            ", but a request for one: give what the authority answered it with"
        } else if holds(pem, "PRIVATE KEY-----") {
            ", but a private key: are the two files exchanged?"
        } else {
            " (PEM)"
        };
        return Err(content(format!("there is no certificate in it{instead}")));
    }
    Ok(found)
}

/// Why there is no key in `pem`.
fn no_key(pem: &[u8], error: &pem::Error) -> String {
    // PKCS #8 says it in the label, the older forms in a header.
    if holds(pem, "BEGIN ENCRYPTED PRIVATE KEY-----") || holds(pem, "Proc-Type: 4,ENCRYPTED") {
        return "the private key is encrypted, and nobody is there to be asked for its password: give it without one, as \
                `openssl pkey -in FILE -out FILE` writes it, readable by Watchkeep's user alone"
            .to_owned();
    }
    match error {
        pem::Error::NoItemsFound if holds(pem, "BEGIN CERTIFICATE-----") => {
            "there is no private key in it, but a certificate: are the two files exchanged?"
                .to_owned()
        }
        pem::Error::NoItemsFound => "there is no private key in it (PEM)".to_owned(),
        error => format!("this is not PEM: {error}"),
    }
}

fn holds(pem: &[u8], words: &str) -> bool {
    pem.windows(words.len()).any(|part| part == words.as_bytes())
}

/// rustls's words about a certificate and a key, in the operator's terms.
fn pair_words(source: &rustls::Error) -> String {
    match source {
        rustls::Error::InconsistentKeys(_) => {
            "the key is not the certificate's: give the one that the certificate was requested with"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn unreadable(field: Field, path: &Path, error: &CertificateError) -> TlsError {
    TlsError::Content { field, path: path.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_file_instead_is_named() {
        let path = Path::new("x.pem");
        let empty = pem::Error::NoItemsFound;
        for (pem, part) in [
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "the private key is encrypted"),
            (
                "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
                "the private key is encrypted",
            ),
            ("-----BEGIN CERTIFICATE-----\n", "but a certificate: are the two files exchanged?"),
            ("nothing", "there is no private key in it (PEM)"),
        ] {
            assert!(no_key(pem.as_bytes(), &empty).contains(part), "{pem}");
        }
        let request =
            "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        for (pem, part) in
            [(request, "but a request for one"), (key, "but a private key"), ("", "(PEM)")]
        {
            let said = certificates(Field::Cert, path, pem.as_bytes()).unwrap_err().to_string();
            assert!(
                said.starts_with("x.pem: there is no certificate in it") && said.contains(part),
                "{said}"
            );
        }
    }
}
