//! Settings of TLS of a client.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use watchkeep_api::tls::{ClientTls, Files};

use super::ClientError;

/// TLS of a client, for `https://` endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTlsConfig {
    /// Authorities of the registry's certificates (PEM); none: the public ones.
    pub ca: Option<PathBuf>,
    /// The client's own certificate (PEM); none: it shows none.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl ClientTlsConfig {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// Which of `ca`, `cert` and `key` is of no use, and why.
    pub fn check(&self) -> Result<(), (String, String)> {
        let loaded = ClientTls::load(&self.files());
        loaded.map(drop).map_err(|error| (error.field().to_string(), error.to_string()))
    }

    pub(super) fn load(&self) -> Result<ClientTls, ClientError> {
        ClientTls::load(&self.files()).map_err(|error| ClientError::Tls(Box::new(error)))
    }

    fn files(&self) -> Files {
        Files { cert: self.cert.clone(), key: self.key.clone(), ca: self.ca.clone() }
    }
}
