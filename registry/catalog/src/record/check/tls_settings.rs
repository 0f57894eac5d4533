//! How a probe speaks TLS, the same for all kinds.

use serde::{Deserialize, Serialize};

use super::CheckError;

/// A version of TLS, named as blackbox_exporter names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    /// 1.0: not spoken here, so as a minimum it means 1.2.
    #[serde(rename = "TLS10")]
    Tls10,
    /// 1.1: as 1.0.
    #[serde(rename = "TLS11")]
    Tls11,
    /// 1.2.
    #[serde(rename = "TLS12")]
    Tls12,
    /// 1.3.
    #[serde(rename = "TLS13")]
    Tls13,
}

/// Whom to trust and what to show. Files are PEM, on the collector, below its `files_dir`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Authorities behind the certificate; default: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Our own certificate, intermediate ones after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// Whose certificate is expected; default: the host that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Oldest version that is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Newest version that is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// Take any certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

impl TlsSettings {
    /// Judges what can be told without reading the files.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), CheckError> {
        let wrong = |field, value: String, remedy| Err(CheckError::Field { field, value, remedy });
        match (&self.cert_file, &self.key_file) {
            (Some(cert), None) => {
                return wrong("tls.cert_file", cert.clone(), "give tls.key_file too");
            }
            (None, Some(key)) => {
                return wrong("tls.key_file", key.clone(), "give tls.cert_file too");
            }
            _ => {}
        }
        if let Some(max) = self.max_version {
            if max < TlsVersion::Tls12 {
                let remedy = "older than TLS12 is not spoken here: give TLS12 or TLS13";
                return wrong("tls.max_version", format!("{max:?}"), remedy);
            }
            if self.min_version.is_some_and(|min| min > max) {
                let remedy = "give one that is not older than tls.min_version";
                return wrong("tls.max_version", format!("{max:?}"), remedy);
            }
        }
        Ok(())
    }
}
