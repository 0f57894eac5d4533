//! The registry itself, as commands reach it: endpoints and TLS, by etcdctl's names.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use watchkeep_catalog::{Client, ClientError, ClientTlsConfig};

/// How the registry is reached over TLS.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Tls {
    /// Authorities of the registry's certificates, for https endpoints (PEM) [default: the public ones]
    #[arg(long, value_name = "FILE", env = "WATCHKEEP_CACERT")]
    pub(crate) cacert: Option<PathBuf>,
    /// This client's certificate (PEM)
    #[arg(long, value_name = "FILE", env = "WATCHKEEP_CERT", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", env = "WATCHKEEP_KEY", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
}

impl Tls {
    /// As settings of a client.
    pub(crate) fn config(&self) -> ClientTlsConfig {
        ClientTlsConfig { ca: self.cacert.clone(), cert: self.cert.clone(), key: self.key.clone() }
    }

    /// A client of these endpoints; in errors the flags begin with `dashes`.
    pub(super) fn client(&self, dashes: &str, endpoints: &[String]) -> anyhow::Result<Client> {
        Client::with_tls(endpoints, &self.config()).map_err(|error| match &error {
            // The flag, since the file alone does not say for what it was given.
            ClientError::Tls(wrong) => match wrong.field().to_string().as_str() {
                "ca" => anyhow!("{dashes}cacert {wrong}"),
                field => anyhow!("{dashes}{field} {wrong}"),
            },
            _ => error.into(),
        })
    }
}
