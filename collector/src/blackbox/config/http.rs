//! Prober `http`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Authorization, BasicAuth, ByteSize, IpProtocol, OAuth2, Secret, TlsSettings, or_default,
};

/// A request and what makes its answer good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpModule {
    /// Good statuses; empty: 200 to 299.
    #[serde(deserialize_with = "or_default")]
    pub valid_status_codes: Vec<u16>,
    /// Good versions, as `HTTP/1.1` or `HTTP/2.0`; empty: any.
    #[serde(deserialize_with = "or_default")]
    pub valid_http_versions: Vec<String>,
    /// IPv4 or IPv6 first.
    pub preferred_ip_protocol: IpProtocol,
    /// Take the other where there is none.
    pub ip_protocol_fallback: bool,
    /// Method; empty: `GET`.
    #[serde(deserialize_with = "or_default")]
    pub method: String,
    /// Sent with the request.
    #[serde(deserialize_with = "or_default", serialize_with = "names_only")]
    pub headers: BTreeMap<String, String>,
    /// Most of a body that is read; 0: no limit of the user's.
    pub body_size_limit: ByteSize,
    /// `gzip`, `deflate`, `br` or `identity`: how the answer has to be compressed; empty: it is taken as it is.
    #[serde(deserialize_with = "or_default")]
    pub compression: String,
    /// Follow redirects, up to ten.
    pub follow_redirects: bool,
    /// The same, said the other way round, as files older than version 0.19 do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_follow_redirects: Option<bool>,
    /// TLS is a failure.
    pub fail_if_ssl: bool,
    /// No TLS is a failure.
    pub fail_if_not_ssl: bool,
    /// A failure when this CEL expression over `body` (JSON) holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_if_body_json_matches_cel: Option<String>,
    /// A failure when it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_if_body_json_not_matches_cel: Option<String>,
    /// A failure when one matches in the body.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_body_matches_regexp: Vec<String>,
    /// A failure when one does not match in the body.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_body_not_matches_regexp: Vec<String>,
    /// A failure when one value of the header matches.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_header_matches: Vec<HeaderRule>,
    /// A failure when no value of the header matches.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_header_not_matches: Vec<HeaderRule>,
    /// The request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Or a file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_file: Option<PathBuf>,
    /// TLS with the target.
    #[serde(deserialize_with = "or_default")]
    pub tls_config: TlsSettings,
    /// Name and password.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Any other authorization.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Or a file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// A token by the client credentials grant.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
    /// The proxy, as a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<Secret>,
    /// Let the proxy look the target's name up.
    pub skip_resolve_phase_with_proxy: bool,
    /// Offer HTTP/2 over TLS.
    pub enable_http2: bool,
}

impl Default for HttpModule {
    fn default() -> Self {
        Self {
            valid_status_codes: Vec::new(),
            valid_http_versions: Vec::new(),
            preferred_ip_protocol: IpProtocol::default(),
            ip_protocol_fallback: true,
            method: String::new(),
            headers: BTreeMap::new(),
            body_size_limit: ByteSize(0),
            compression: String::new(),
            follow_redirects: true,
            no_follow_redirects: None,
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_json_matches_cel: None,
            fail_if_body_json_not_matches_cel: None,
            fail_if_body_matches_regexp: Vec::new(),
            fail_if_body_not_matches_regexp: Vec::new(),
            fail_if_header_matches: Vec::new(),
            fail_if_header_not_matches: Vec::new(),
            body: None,
            body_file: None,
            tls_config: TlsSettings::default(),
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            oauth2: None,
            proxy_url: None,
            skip_resolve_phase_with_proxy: false,
            enable_http2: true,
        }
    }
}

impl HttpModule {
    /// What the two fields about redirects say together.
    #[must_use]
    pub fn follows_redirects(&self) -> bool {
        self.no_follow_redirects.map_or(self.follow_redirects, |no| !no)
    }
}

/// What a header has to be, or must not be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderRule {
    /// Its name.
    pub header: String,
    /// The pattern.
    pub regexp: String,
    /// An answer without it is as if the rule were not there.
    pub allow_missing: bool,
}

/// Headers carry tokens: their values are not shown.
fn names_only<S: serde::Serializer>(
    headers: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| (name, "<secret>")))
}
