//! `http_config`: how a receiver's URL is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::Hidden;

/// A URL as it is shown: still one, and without its password.
fn without_password<S: serde::Serializer>(
    url: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = url.as_deref().map(|text| match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            // It has a host, as it has a password.
            let _ = url.set_password(Some("xxxxx"));
            url.to_string()
        }
        _ => text.to_owned(),
    });
    shown.serialize(serializer)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bearer_token: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bearer_token_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oauth2: Option<Oauth2>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_password")]
    pub(crate) proxy_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_proxy: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) proxy_from_environment: bool,
    pub(crate) follow_redirects: bool,
    pub(crate) enable_http2: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) http_headers: BTreeMap<String, Header>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            oauth2: None,
            proxy_url: None,
            no_proxy: None,
            proxy_from_environment: false,
            follow_redirects: true,
            enable_http2: true,
            tls_config: None,
            http_headers: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BasicAuth {
    pub(crate) username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Authorization {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials_file: Option<String>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self { kind: "Bearer".to_owned(), credentials: None, credentials_file: None }
    }
}

/// Tokens for a client by its own credentials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Oauth2 {
    pub(crate) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret_file: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) scopes: Vec<String>,
    pub(crate) token_url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) endpoint_params: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "without_password")]
    pub(crate) proxy_url: Option<String>,
}

/// Values of one header.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Header {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) secrets: Vec<Hidden>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<String>,
    /// Known, so that it can be refused with a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
    pub(crate) insecure_skip_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_not_shown() {
        let shown = |url: &str| {
            let config = HttpConfig { proxy_url: Some(url.to_owned()), ..HttpConfig::default() };
            serde_json::to_value(&config).unwrap()["proxy_url"].clone()
        };
        assert_eq!(shown("http://u:tiger@proxy:8080/"), "http://u:xxxxx@proxy:8080/");
        assert_eq!(shown("http://proxy:8080"), "http://proxy:8080");
    }
}
