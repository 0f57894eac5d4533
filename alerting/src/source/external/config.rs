//! `alerting.data_source`: where it is, who asks, and how often it is asked again. Names are Prometheus's wherever it has
//! the same thing.

use std::{collections::BTreeMap, fs, time::Duration};

use reqwest::{
    Certificate, Identity,
    header::{HeaderMap, HeaderName, HeaderValue},
    tls::Version,
};
use serde::{Deserialize, Serialize};
use url::Url;
use watchkeep_catalog::{
    TlsSettings, TlsVersion,
    access::{Authorization, BasicAuth, Credentials, Wrong},
};

use super::door::Stamps;

/// Headers that are the protocol's own.
const OWN_HEADERS: [&str; 6] = [
    "authorization",
    "content-encoding",
    "content-type",
    "content-length",
    "host",
    "accept-encoding",
];

/// A Prometheus-compatible system that is asked instead of the embedded store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSourceConfig {
    /// Its base: `/api/v1/query` is put behind it.
    pub url: String,
    /// Where recorded series go by remote write; none: they cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_write_url: Option<String>,
    /// An answer that comes later is none. 1 to 600000.
    pub timeout_ms: u64,
    /// Sent with every request.
    pub headers: BTreeMap<String, String>,
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Who asks, by a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsSettings>,
    /// Tries of one request. 1 to 20.
    pub attempts_max: u32,
    /// First pause after a failure; it doubles. 1 to 60000.
    pub min_backoff_ms: u64,
    /// Longest pause. `min_backoff_ms` to 600000.
    pub max_backoff_ms: u64,
}

impl Default for DataSourceConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            remote_write_url: None,
            timeout_ms: 30_000,
            headers: BTreeMap::new(),
            basic_auth: None,
            authorization: None,
            tls_config: None,
            attempts_max: 3,
            min_backoff_ms: 100,
            max_backoff_ms: 5_000,
        }
    }
}

impl DataSourceConfig {
    /// Judges it, and reads its files.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        base("url", &self.url)?;
        if let Some(url) = &self.remote_write_url {
            base("remote_write_url", url)?;
        }
        for (field, value, min, max) in [
            ("timeout_ms", self.timeout_ms, 1, 600_000),
            ("attempts_max", u64::from(self.attempts_max), 1, 20),
            ("min_backoff_ms", self.min_backoff_ms, 1, 60_000),
            ("max_backoff_ms", self.max_backoff_ms, self.min_backoff_ms, 600_000),
        ] {
            if !(min..=max).contains(&value) {
                return Err((field.to_owned(), format!("is {value}: give {min} to {max}")));
            }
        }
        self.headers()?;
        self.credentials()?;
        self.client().map(drop)
    }

    /// What every request carries.
    pub(super) fn headers(&self) -> Result<HeaderMap, Wrong> {
        let mut all = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong = |what: &str| (format!("headers.{name}"), what.to_owned());
            let known: HeaderName = name.parse().map_err(|_| wrong("this is no header's name"))?;
            if OWN_HEADERS.contains(&known.as_str()) {
                return Err(wrong("this header is set by the protocol, or by authorization"));
            }
            let value =
                HeaderValue::from_str(value).map_err(|_| wrong("no header may say this"))?;
            all.insert(known, value);
        }
        Ok(all)
    }

    /// Who asks.
    pub(super) fn credentials(&self) -> Result<Credentials, Wrong> {
        Credentials::new(self.basic_auth.as_ref(), self.authorization.as_ref())
    }

    /// What tells that a file of TLS has changed.
    pub(super) fn stamps(&self) -> Stamps {
        let tls = self.tls_config.as_ref();
        let files = [
            tls.and_then(|tls| tls.ca_file.as_deref()),
            tls.and_then(|tls| tls.cert_file.as_deref()),
            tls.and_then(|tls| tls.key_file.as_deref()),
        ];
        files.map(|file| {
            let found = fs::metadata(file?).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }

    /// The client that speaks TLS as is said here.
    pub(super) fn client(&self) -> Result<reqwest::Client, Wrong> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("watchkeep/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_millis(self.timeout_ms));
        let usual = TlsSettings::default();
        let tls = self.tls_config.as_ref().unwrap_or(&usual);
        tls.validate().map_err(|e| ("tls_config".to_owned(), e.to_string()))?;
        if tls.server_name.is_some() {
            let message = "the name in the URL is the one that is expected: remove it".to_owned();
            return Err(("tls_config.server_name".to_owned(), message));
        }
        if let Some(file) = &tls.ca_file {
            let pem = file_bytes("tls_config.ca_file", file)?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| e.to_string());
            match certificates {
                Ok(all) if !all.is_empty() => builder = builder.tls_certs_only(all),
                _ => {
                    return Err((
                        "tls_config.ca_file".to_owned(),
                        format!("{file}: no certificate in it"),
                    ));
                }
            }
        }
        if let (Some(cert), Some(key)) = (&tls.cert_file, &tls.key_file) {
            let mut pem = file_bytes("tls_config.cert_file", cert)?;
            pem.push(b'\n');
            pem.extend(file_bytes("tls_config.key_file", key)?);
            let identity = Identity::from_pem(&pem)
                .map_err(|e| ("tls_config.cert_file".to_owned(), format!("{cert}: {e}")))?;
            builder = builder.identity(identity);
        }
        if tls.min_version == Some(TlsVersion::Tls13) {
            builder = builder.tls_version_min(Version::TLS_1_3);
        }
        if tls.max_version == Some(TlsVersion::Tls12) {
            builder = builder.tls_version_max(Version::TLS_1_2);
        }
        if tls.insecure_skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder.build().map_err(|e| ("tls_config".to_owned(), watchkeep_catalog::causes(&e)))
    }
}

fn base(field: &str, text: &str) -> Result<(), Wrong> {
    let wrong = |message: String| Err((field.to_owned(), message));
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {
            if !url.username().is_empty() || url.password().is_some() {
                return wrong("it holds a user: give basic_auth instead".to_owned());
            }
            if url.query().is_some() || url.fragment().is_some() {
                return wrong("it ends with the path: nothing may follow".to_owned());
            }
            Ok(())
        }
        _ => wrong(format!("{text:?} is not one; write it as http://host:9090")),
    }
}

fn file_bytes(field: &str, path: &str) -> Result<Vec<u8>, Wrong> {
    fs::read(path).map_err(|e| (field.to_owned(), format!("{path}: {e}")))
}
