//! The shape of a web configuration file, as Prometheus's exporter-toolkit has it. Nothing is judged here, and nothing of it
//! is ever shown: it may hold a key.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(super) tls_server_config: Option<TlsServer>,
    pub(super) http_server_config: Option<HttpServer>,
    pub(super) rate_limit: Option<RateLimit>,
    /// Names and bcrypt's hashes.
    pub(super) basic_auth_users: Option<BTreeMap<String, String>>,
}

/// `tls_server_config`. What is not there, and what is empty, is the same.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsServer {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) cipher_suites: Option<Vec<String>>,
    pub(super) curve_preferences: Option<Vec<String>>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
}

/// `http_server_config`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpServer {
    pub(super) http2: Option<bool>,
    pub(super) headers: Option<BTreeMap<String, String>>,
}

/// `rate_limit`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RateLimit {
    /// Between two requests, as Go writes a duration; 0: no limit.
    pub(super) interval: Option<String>,
    pub(super) burst: Option<u32>,
}

impl TlsServer {
    /// Whether anything is said at all.
    pub(super) fn says_something(&self) -> bool {
        let texts = [
            &self.cert,
            &self.key,
            &self.client_ca,
            &self.cert_file,
            &self.key_file,
            &self.client_auth_type,
            &self.client_ca_file,
            &self.min_version,
            &self.max_version,
        ];
        let lists = [&self.cipher_suites, &self.curve_preferences, &self.client_allowed_sans];
        texts.into_iter().any(|text| given(text.as_deref()).is_some())
            || lists.into_iter().any(Option::is_some)
            || self.prefer_server_cipher_suites.is_some()
    }
}

/// What is there and not empty.
pub(super) fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
