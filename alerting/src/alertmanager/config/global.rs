//! `global`: what holds where a receiver does not say so itself.

use serde::{Deserialize, Serialize};

use super::{
    http::{HttpConfig, TlsConfig},
    value::{Hidden, Span},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Global {
    /// An alert whose sender names no end is over after this long without a word.
    pub(crate) resolve_timeout: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_from: Option<String>,
    pub(crate) smtp_hello: String,
    /// `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_smarthost: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_auth_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_auth_password: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_auth_password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_auth_secret: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_auth_secret_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_auth_identity: Option<String>,
    pub(crate) smtp_require_tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smtp_tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slack_api_url: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slack_api_url_file: Option<String>,
    pub(crate) pagerduty_url: String,
    pub(crate) opsgenie_api_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opsgenie_api_key: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opsgenie_api_key_file: Option<String>,
    pub(crate) telegram_api_url: String,
    /// Of receivers that are refused by their own name; here they do no harm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wechat_api_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wechat_api_secret: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wechat_api_corp_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) victorops_api_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) victorops_api_key: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) victorops_api_key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webex_api_url: Option<String>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            resolve_timeout: Span::seconds(300),
            http_config: None,
            smtp_from: None,
            smtp_hello: "localhost".to_owned(),
            smtp_smarthost: None,
            smtp_auth_username: None,
            smtp_auth_password: None,
            smtp_auth_password_file: None,
            smtp_auth_secret: None,
            smtp_auth_secret_file: None,
            smtp_auth_identity: None,
            smtp_require_tls: true,
            smtp_tls_config: None,
            slack_api_url: None,
            slack_api_url_file: None,
            pagerduty_url: "https://events.pagerduty.com/v2/enqueue".to_owned(),
            opsgenie_api_url: "https://api.opsgenie.com/".to_owned(),
            opsgenie_api_key: None,
            opsgenie_api_key_file: None,
            telegram_api_url: "https://api.telegram.org".to_owned(),
            wechat_api_url: None,
            wechat_api_secret: None,
            wechat_api_corp_id: None,
            victorops_api_url: None,
            victorops_api_key: None,
            victorops_api_key_file: None,
            webex_api_url: None,
        }
    }
}
