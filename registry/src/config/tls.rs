//! Settings of TLS: of the client listener, and between members.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use watchkeep_api::tls::{Field, Files, TlsError};

use super::Invalid;

/// TLS of the client listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate shown to clients (PEM, intermediate ones after it).
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Authorities of clients' certificates. A certificate that a client shows must come from one of them.
    pub client_ca: Option<PathBuf>,
    /// Refuse clients that show no certificate.
    pub client_cert_auth: bool,
}

/// TLS between members, each side with a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerTlsConfig {
    /// This member's certificate, for server and client (PEM, intermediate ones after it).
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Authorities of the members' certificates.
    pub ca: Option<PathBuf>,
}

impl TlsConfig {
    pub(crate) fn files(&self) -> Files {
        let (cert, key) = (self.cert.clone(), self.key.clone());
        Files { cert, key, ca: self.client_ca.clone() }
    }

    pub(super) fn check(&self, invalid: &mut Vec<Invalid>) {
        pair("tls", &self.cert, &self.key, invalid);
        if self.client_cert_auth && self.client_ca.is_none() {
            let message = "clients must show certificates, but of which authority? Give client_ca, the PEM file of its \
                           certificate";
            invalid.push(fault("tls.client_cert_auth", message.to_owned()));
        }
    }

    /// The setting that an error about a file belongs to.
    pub(crate) fn blame(error: &TlsError) -> Invalid {
        let field = match error.field() {
            Field::Cert => "cert",
            Field::Key => "key",
            Field::Ca => "client_ca",
        };
        fault(&format!("tls.{field}"), error.to_string())
    }
}

impl PeerTlsConfig {
    pub(crate) fn files(&self) -> Files {
        Files { cert: self.cert.clone(), key: self.key.clone(), ca: self.ca.clone() }
    }

    pub(super) fn check(&self, invalid: &mut Vec<Invalid>) {
        pair("peer_tls", &self.cert, &self.key, invalid);
        if self.ca.is_none() {
            let message = "missing: members check each other's certificates; give the PEM file of the authority that made \
                           them";
            invalid.push(fault("peer_tls.ca", message.to_owned()));
        }
    }

    /// The setting that an error about a file belongs to.
    pub(crate) fn blame(error: &TlsError) -> Invalid {
        fault(&format!("peer_tls.{}", error.field()), error.to_string())
    }
}

/// A server needs both.
fn pair(section: &str, cert: &Option<PathBuf>, key: &Option<PathBuf>, invalid: &mut Vec<Invalid>) {
    for (field, path, what) in
        [("cert", cert, "the PEM file of the certificate"), ("key", key, "the PEM file of its key")]
    {
        if path.is_none() {
            let message = format!("missing: give {what}, or leave {section} out altogether");
            invalid.push(fault(&format!("{section}.{field}"), message));
        }
    }
}

fn fault(path: &str, message: String) -> Invalid {
    Invalid { path: path.to_owned(), message }
}
