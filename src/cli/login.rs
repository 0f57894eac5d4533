//! Who a command is in the registry, where that checks users.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use watchkeep_catalog::{Client, Credentials};

use super::registry::Tls;

/// As etcdctl: `--user name:password`, or the password apart.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Login {
    /// The registry's user, where it checks users
    #[arg(long, value_name = "NAME[:PASSWORD]", env = "WATCHKEEP_USER", hide_env_values = true)]
    user: Option<String>,
    /// With --user: a file that holds the password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    tls: Tls,
}

impl Login {
    /// Of flags that have other names.
    pub(crate) fn of(user: Option<String>, password_file: Option<PathBuf>, tls: Tls) -> Self {
        Self { user, password_file, tls }
    }

    /// How the registry is reached over TLS.
    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// A client as this user; as nobody in particular when none is given.
    pub(crate) fn client(&self, endpoints: &[String]) -> anyhow::Result<Client> {
        self.client_by("--", endpoints)
    }

    /// The same; in errors the flags begin with `dashes`.
    pub(super) fn client_by(&self, dashes: &str, endpoints: &[String]) -> anyhow::Result<Client> {
        let client = self.tls.client(dashes, endpoints)?;
        Ok(match self.credentials(dashes)? {
            Some(credentials) => client.with_credentials(credentials),
            None => client,
        })
    }

    fn credentials(&self, dashes: &str) -> anyhow::Result<Option<Credentials>> {
        let Some(user) = &self.user else { return Ok(None) };
        if let Some(file) = &self.password_file {
            let read = Credentials::read(user, file);
            let flag = || format!("{dashes}password-file {}", file.display());
            return Ok(Some(read.with_context(flag)?));
        }
        match user.split_once(':') {
            Some((name, password)) => Ok(Some(Credentials::new(name, password))),
            None => bail!(
                "{dashes}user {user}: no password; write it as name:password, or give {dashes}password-file FILE"
            ),
        }
    }
}
