//! The registry itself, as commands reach it: endpoints and TLS, by etcdctl's names. A node's HTTP listener has the same TLS.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use watchkeep_catalog::{
    Client, ClientError, ClientTlsConfig,
    tls::{self, Files, TlsError},
};

/// How the registry, or a node, is reached over TLS.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Tls {
    /// Authorities of the servers' certificates, for https URLs (PEM) [default: the public ones]
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

    /// For HTTP; none where nothing is said, and whatever is usual will do.
    pub(crate) fn http(&self) -> anyhow::Result<Option<rustls::ClientConfig>> {
        let said = [&self.cacert, &self.cert, &self.key];
        if said.iter().all(|file| file.is_none()) {
            return Ok(None);
        }
        let (ca, cert, key) = (self.cacert.clone(), self.cert.clone(), self.key.clone());
        let config = tls::client_config(&Files { cert, key, ca });
        config.map(Some).map_err(|wrong| of_flag("--", &wrong))
    }

    /// A client of these endpoints; in errors the flags begin with `dashes`.
    pub(super) fn client(&self, dashes: &str, endpoints: &[String]) -> anyhow::Result<Client> {
        Client::with_tls(endpoints, &self.config()).map_err(|error| match &error {
            ClientError::Tls(wrong) => of_flag(dashes, wrong),
            _ => error.into(),
        })
    }
}

/// With the flag, since the file alone does not say for what it was given.
fn of_flag(dashes: &str, wrong: &TlsError) -> anyhow::Error {
    match wrong.field().to_string().as_str() {
        "ca" => anyhow!("{dashes}cacert {wrong}"),
        field => anyhow!("{dashes}{field} {wrong}"),
    }
}
