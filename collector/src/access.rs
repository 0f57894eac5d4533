//! The client for another program's HTTP door, as scrapes and remote write are told, and for those of the other nodes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use tracing::warn;
use watchkeep_catalog::{
    TlsSettings,
    access::{Authorization, BasicAuth, Credentials, Wrong},
};

use crate::{
    collector::WRITE_TIMEOUT,
    probe::{
        Files,
        tls::{Client, Clients},
    },
};

/// How the other nodes' HTTP listeners are reached. All are thought to demand the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpClientConfig {
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Who asks, by a token: for a proxy in front of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsSettings>,
}

/// The way to the other nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    pub(crate) client: Arc<HttpClient>,
    pub(crate) credentials: Arc<Credentials>,
}

impl HttpClientConfig {
    /// Makes it ready: files are read. `public` is TLS that trusts the public roots.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn nodes(&self, public: ClientConfig) -> Result<Nodes, Wrong> {
        let named = |(field, message): Wrong| (format!("http_client.{field}"), message);
        let refused = |e: reqwest::Error| ("http_client.tls_config".to_owned(), e.to_string());
        let client = match &self.tls_config {
            None => HttpClient::Fixed(to_nodes(public).map_err(refused)?),
            Some(settings) => {
                let tls = tls(Some(settings)).map_err(named)?;
                HttpClient::new(tls, to_nodes).map_err(refused)?
            }
        };
        let credentials = Credentials::new(self.basic_auth.as_ref(), self.authorization.as_ref());
        let credentials = Arc::new(credentials.map_err(named)?);
        Ok(Nodes { client: Arc::new(client), credentials })
    }

    /// What is wrong with it.
    pub(crate) fn validate(&self) -> Option<Wrong> {
        config(None).and_then(|public| self.nodes(public)).err()
    }
}

fn to_nodes(tls: ClientConfig) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(WRITE_TIMEOUT)
        .build()
}

/// TLS as these settings say; files may lie anywhere, since they are named by whoever configured the collector.
///
/// # Errors
/// When a file cannot be read, or does not hold what it should.
pub(crate) fn tls(settings: Option<&TlsSettings>) -> Result<Arc<Client>, Wrong> {
    let usual = TlsSettings::default();
    let settings = settings.unwrap_or(&usual);
    if settings.server_name.is_some() {
        let message = "the name in the URL is the one that is expected: remove it".to_owned();
        return Err(("tls_config.server_name".to_owned(), message));
    }
    let client = Clients::default().get(settings, &[], &Files::Any);
    client.map_err(|message| {
        let message = message.strip_prefix("tls.").map(str::to_owned).unwrap_or(message);
        ("tls_config".to_owned(), message)
    })
}

/// TLS as these settings say now.
///
/// # Errors
/// As [`tls`].
pub(crate) fn config(settings: Option<&TlsSettings>) -> Result<ClientConfig, Wrong> {
    Ok(ClientConfig::clone(&tls(settings)?.made().config))
}

type Build = dyn Fn(ClientConfig) -> reqwest::Result<reqwest::Client> + Send + Sync;

/// A client for another program's HTTP door.
pub(crate) enum HttpClient {
    /// It trusts the public roots.
    Fixed(reqwest::Client),
    /// It may be made of files.
    OfFiles(Box<OfFiles>),
}

/// Made anew when one of the files has changed; connections of the former are then used no more.
pub(crate) struct OfFiles {
    tls: Arc<Client>,
    build: Box<Build>,
    /// And the TLS that it was made of.
    made: Mutex<(Arc<ClientConfig>, reqwest::Client)>,
}

impl HttpClient {
    /// `build` makes a client that speaks TLS as it is told.
    ///
    /// # Errors
    /// What `build` says.
    pub(crate) fn new(
        tls: Arc<Client>,
        build: impl Fn(ClientConfig) -> reqwest::Result<reqwest::Client> + Send + Sync + 'static,
    ) -> reqwest::Result<Self> {
        let config = tls.made().config;
        let made = Mutex::new((config.clone(), build(ClientConfig::clone(&config))?));
        Ok(Self::OfFiles(Box::new(OfFiles { tls, build: Box::new(build), made })))
    }

    /// The client for the files as they are now. Looks at them, which blocks no longer than that.
    pub(crate) fn current(&self) -> reqwest::Client {
        match self {
            Self::Fixed(client) => client.clone(),
            Self::OfFiles(files) => files.current(),
        }
    }
}

impl OfFiles {
    fn current(&self) -> reqwest::Client {
        let config = self.tls.made().config;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&config, &made.0) {
            match (self.build)(ClientConfig::clone(&config)) {
                Ok(client) => made.1 = client,
                Err(cause) => warn!(%cause, "changed TLS files are of no use, the former hold"),
            }
            made.0 = config;
        }
        made.1.clone()
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_hold_too_little_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("secret");
        fs::write(&file, "open sesame\n").expect("written");
        let text = |file: &std::path::Path| Some(file.display().to_string());
        let half = TlsSettings { key_file: text(&file), ..TlsSettings::default() };
        assert!(tls(Some(&half)).expect_err("half").1.contains("cert_file"));
        let empty = TlsSettings { ca_file: text(&file), ..TlsSettings::default() };
        assert!(tls(Some(&empty)).expect_err("none").1.contains("no certificate"));
        assert!(tls(None).is_ok());
    }

    #[test]
    fn the_way_to_the_other_nodes_is_judged() {
        let wrong = |text: &str| {
            let config: HttpClientConfig = serde_json::from_str(text).expect("fits");
            config.validate().map(|(field, message)| format!("{field}: {message}"))
        };
        assert_eq!(wrong("{}"), None);
        for (text, begin) in [
            (
                r#"{"basic_auth":{"username":"u","password_file":"/absent"}}"#,
                "http_client.basic_auth.password_file: /absent: No such file",
            ),
            (r#"{"tls_config":{"ca_file":"/absent"}}"#, "http_client.tls_config: "),
        ] {
            let wrong = wrong(text).expect("wrong");
            assert!(wrong.starts_with(begin), "{wrong}");
        }
    }
}
