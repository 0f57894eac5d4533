//! Receivers: every integration's settings with Alertmanager's names and defaults. A text may be a template.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    http::{HttpConfig, TlsConfig},
    value::{HIDDEN, Hidden, Span},
};

mod chat;
mod service;

pub(crate) use chat::{DiscordConfig, MsTeamsConfig, SlackConfig, TelegramConfig};
pub(crate) use service::{OpsgenieConfig, PagerdutyConfig};

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Receiver {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) email_configs: Vec<EmailConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhook_configs: Vec<WebhookConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) slack_configs: Vec<SlackConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pagerduty_configs: Vec<PagerdutyConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) opsgenie_configs: Vec<OpsgenieConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) telegram_configs: Vec<TelegramConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) discord_configs: Vec<DiscordConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) msteamsv2_configs: Vec<MsTeamsConfig>,
    /// Watchkeep's own: an incident for whoever is on call. Not shown to Alertmanager's tools, which refuse it.
    #[serde(skip_serializing)]
    pub(crate) oncall_configs: Vec<OncallConfig>,
    /// Known, so that they can be refused by name.
    #[serde(skip_serializing)]
    pub(crate) wechat_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) victorops_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) pushover_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) sns_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) webex_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) msteams_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) jira_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) rocketchat_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) mattermost_configs: Option<serde_json::Value>,
    #[serde(skip_serializing)]
    pub(crate) incidentio_configs: Option<serde_json::Value>,
}

/// Mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EmailConfig {
    pub(crate) send_resolved: bool,
    pub(crate) to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smarthost: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hello: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_password: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_secret: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_secret_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_identity: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) html: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) require_tls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_config: Option<TlsConfig>,
}

impl Default for EmailConfig {
    fn default() -> Self {
        Self {
            send_resolved: false,
            to: String::new(),
            from: None,
            smarthost: None,
            hello: None,
            auth_username: None,
            auth_password: None,
            auth_password_file: None,
            auth_secret: None,
            auth_secret_file: None,
            auth_identity: None,
            headers: BTreeMap::new(),
            html: r#"{{ template "email.default.html" . }}"#.to_owned(),
            text: String::new(),
            require_tls: None,
            tls_config: None,
        }
    }
}

/// Alertmanager's JSON, version 4, posted to a URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebhookConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "show_origin")]
    pub(crate) url: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url_file: Option<String>,
    pub(crate) max_alerts: u64,
    /// Shown only where it is given: Alertmanager 0.25 does not know it.
    #[serde(skip_serializing_if = "Span::is_zero")]
    pub(crate) timeout: Span,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            send_resolved: true,
            http_config: None,
            url: None,
            url_file: None,
            max_alerts: 0,
            timeout: Span::default(),
        }
    }
}

/// An incident for whoever is on call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OncallConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) severity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
}

impl Default for OncallConfig {
    fn default() -> Self {
        Self {
            send_resolved: true,
            title: r#"{{ template "oncall.default.title" . }}"#.to_owned(),
            severity: r#"{{ template "oncall.default.severity" . }}"#.to_owned(),
            policy: None,
        }
    }
}

/// A URL without its secrets, but a URL still: Alertmanager's tools read what is shown.
fn show_origin<S: serde::Serializer>(
    url: &Option<Hidden>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let url = url.as_ref().and_then(|url| url::Url::parse(&url.0).ok());
    let origin = url.map_or_else(String::new, |url| url.origin().ascii_serialization());
    serializer.serialize_str(&format!("{origin}/{HIDDEN}"))
}
