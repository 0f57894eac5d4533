//! A check that asks by HTTP.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind, TlsSettings};

mod auth;
mod expect;

pub use auth::{Authorization, BasicAuth, OAuth2, Proxy};
pub use expect::{Compression, HeaderMatch, StatusRange};

/// Largest body that is read: 64 MiB.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// Longest chain of redirects.
const REDIRECTS_MAX: u8 = 20;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// TLS, the certificate checked against the public roots, unless `tls` says otherwise.
    Https,
}

/// Which version of HTTP is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// With TLS what the server chooses by ALPN, else 1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Only 1.1.
    #[serde(rename = "1.1")]
    Http1,
    /// Only 2: without TLS it begins at once, the server has to know.
    #[serde(rename = "2")]
    Http2,
}

/// An HTTP request and what makes its answer good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Plain or TLS.
    #[serde(default)]
    pub scheme: Scheme,
    /// Method.
    #[serde(default = "get")]
    pub method: String,
    /// Path and query.
    #[serde(default = "slash")]
    pub path: String,
    /// Sent with the request; `host` replaces the one made of address and port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Sent as the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// A file on the collector that is sent as the request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_file: Option<String>,
    /// Version of HTTP.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: HttpVersion,
    /// How TLS is spoken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: TlsSettings,
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// A token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// A token that is fetched first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<Box<OAuth2>>,
    /// Through which proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Box<Proxy>>,
    /// Over this Unix socket of the collector's machine instead of address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<String>,
    /// Redirects that are followed; 0: a redirect is an answer like any other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub redirects_max: u8,
    /// A longer body is a failure. Without it the first MiB is read and the rest is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes_max: Option<u64>,
    /// How the body is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Good statuses: numbers, `"200-299"`, `"2xx"`; empty: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_status: Vec<StatusRange>,
    /// Good versions, such as `HTTP/1.1` and `HTTP/2.0`; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_versions: Vec<String>,
    /// A regular expression that must match somewhere in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_body: Option<String>,
    /// Regular expressions that must all match somewhere in the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body_must_match: Vec<String>,
    /// Regular expressions of which none may match in the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body_must_not_match: Vec<String>,
    /// Headers of which one value must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers_must_match: Vec<HeaderMatch>,
    /// Headers of which no value may match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers_must_not_match: Vec<HeaderMatch>,
    /// An answer over TLS is a failure.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fail_if_ssl: bool,
    /// An answer without TLS is a failure.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fail_if_not_ssl: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
fn get() -> String {
    "GET".to_owned()
}
fn slash() -> String {
    "/".to_owned()
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            method: get(),
            path: slash(),
            headers: BTreeMap::new(),
            port: None,
            body: None,
            body_file: None,
            version: HttpVersion::Auto,
            tls: TlsSettings::default(),
            basic_auth: None,
            authorization: None,
            oauth2: None,
            proxy: None,
            unix_socket: None,
            redirects_max: 0,
            body_bytes_max: None,
            compression: None,
            expected_status: Vec::new(),
            expected_versions: Vec::new(),
            expected_body: None,
            body_must_match: Vec::new(),
            body_must_not_match: Vec::new(),
            headers_must_match: Vec::new(),
            headers_must_not_match: Vec::new(),
            fail_if_ssl: false,
            fail_if_not_ssl: false,
        }
    }
}

impl CheckKind for HttpCheck {
    fn reuses(&self) -> bool {
        true
    }

    fn connects(&self) -> bool {
        self.unix_socket.is_none()
    }

    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        let wrong = |field, value: &str, remedy| {
            Err(CheckError::Field { field, value: value.to_owned(), remedy })
        };
        if !self.path.starts_with('/') {
            return Err(CheckError::Path(self.path.clone()));
        }
        if let (Some(_), Some(file)) = (&self.body, &self.body_file) {
            return wrong("http.body_file", file, "give body or body_file, not both");
        }
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.oauth2.is_some(),
            self.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")),
        ];
        if ways.iter().filter(|set| **set).count() > 1 {
            let remedy = "give one of basic_auth, authorization, oauth2, headers.authorization";
            return wrong("http.authorization", "set more than once", remedy);
        }
        if let (Some(_), Some(path)) = (&self.proxy, &self.unix_socket) {
            return wrong("http.unix_socket", path, "give unix_socket or proxy, not both");
        }
        CheckError::range(
            "http.redirects_max",
            self.redirects_max.into(),
            0,
            REDIRECTS_MAX.into(),
        )?;
        if let Some(bytes) = self.body_bytes_max {
            CheckError::range("http.body_bytes_max", bytes, 1, BODY_BYTES_MAX)?;
        }
        if let Some(version) = self.expected_versions.iter().find(|v| !v.starts_with("HTTP/")) {
            return wrong("http.expected_versions", version, "give HTTP/1.0, HTTP/1.1 or HTTP/2.0");
        }
        if self.fail_if_ssl && self.fail_if_not_ssl {
            return wrong(
                "http.fail_if_ssl",
                "true",
                "give fail_if_ssl or fail_if_not_ssl, not both",
            );
        }
        self.tls.validate()?;
        if let Some(oauth2) = &self.oauth2 {
            oauth2.validate()?;
        }
        self.proxy.as_deref().map_or(Ok(()), Proxy::validate)
    }
}
