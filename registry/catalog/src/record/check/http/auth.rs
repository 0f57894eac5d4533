//! Who asks, and through whom. Secrets are named, never written down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::{CheckError, Secret, TlsSettings};

/// User and password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// User.
    pub username: String,
    /// Password; none: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// The `authorization` header: `Bearer <token>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// The first word.
    #[serde(default = "bearer", rename = "type")]
    pub scheme: String,
    /// What follows it.
    pub credentials: Secret,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// OAuth 2.0 client credentials (RFC 6749 §4.4): a token is fetched and used until it expires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// Who we are.
    pub client_id: String,
    /// And that it is us.
    pub client_secret: Secret,
    /// Where tokens are had.
    pub token_url: String,
    /// What the token is to allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Further parameters of the request for a token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoint_params: BTreeMap<String, String>,
    /// How TLS is spoken with the token's server.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: TlsSettings,
    /// Through which proxy that server is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Box<Proxy>>,
}

fn is_default(settings: &TlsSettings) -> bool {
    *settings == TlsSettings::default()
}

impl OAuth2 {
    pub(super) fn validate(&self) -> Result<(), CheckError> {
        let field = "http.oauth2.token_url";
        if !self.token_url.starts_with("http://") && !self.token_url.starts_with("https://") {
            let (value, remedy) = (self.token_url.clone(), "begin it with http:// or https://");
            return Err(CheckError::Field { field, value, remedy });
        }
        self.tls.validate()?;
        self.proxy.as_deref().map_or(Ok(()), Proxy::validate)
    }
}

/// An HTTP proxy: plain requests are made to it whole, for TLS it is told to `CONNECT`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// `http://host:port`.
    pub url: String,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Sent with `CONNECT`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connect_headers: BTreeMap<String, String>,
    /// Hosts that are asked directly: names, `.domains`, addresses, `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
    /// Have the proxy resolve the target's name; then only the proxy's address is judged here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolves: bool,
}

impl Proxy {
    pub(super) fn validate(&self) -> Result<(), CheckError> {
        let wrong = |remedy| {
            Err(CheckError::Field { field: "http.proxy.url", value: self.url.clone(), remedy })
        };
        match self.url.strip_prefix("http://") {
            None => wrong("begin it with http://"),
            Some(rest) if rest.contains('@') => Err(CheckError::Field {
                field: "http.proxy.url",
                value: "http://…@…".to_owned(),
                remedy: "give user and password as username and password",
            }),
            Some(rest) if rest.trim_end_matches('/').is_empty() => wrong("give http://host:port"),
            Some(_) => Ok(()),
        }
    }
}
