//! Receivers in which people talk: Slack, Telegram, Discord, Teams.

use serde::{Deserialize, Serialize};

use crate::alertmanager::config::{Hidden, HttpConfig};

/// A message in a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SlackConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_url: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_url_file: Option<String>,
    pub(crate) channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) color: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) pretext: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<SlackField>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) short_fields: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) fallback: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) callback_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) icon_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) thumb_url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) link_names: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mrkdwn_in: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<SlackAction>,
}

impl Default for SlackConfig {
    fn default() -> Self {
        Self {
            send_resolved: false,
            http_config: None,
            api_url: None,
            api_url_file: None,
            channel: String::new(),
            username: r#"{{ template "slack.default.username" . }}"#.to_owned(),
            color: r#"{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}"#.to_owned(),
            title: r#"{{ template "slack.default.title" . }}"#.to_owned(),
            title_link: r#"{{ template "slack.default.titlelink" . }}"#.to_owned(),
            pretext: r#"{{ template "slack.default.pretext" . }}"#.to_owned(),
            text: r#"{{ template "slack.default.text" . }}"#.to_owned(),
            fields: Vec::new(),
            short_fields: false,
            footer: r#"{{ template "slack.default.footer" . }}"#.to_owned(),
            fallback: r#"{{ template "slack.default.fallback" . }}"#.to_owned(),
            callback_id: r#"{{ template "slack.default.callbackid" . }}"#.to_owned(),
            icon_emoji: r#"{{ template "slack.default.iconemoji" . }}"#.to_owned(),
            icon_url: r#"{{ template "slack.default.iconurl" . }}"#.to_owned(),
            image_url: String::new(),
            thumb_url: String::new(),
            link_names: false,
            mrkdwn_in: Vec::new(),
            actions: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SlackField {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) short: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SlackAction {
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) style: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confirm: Option<SlackConfirm>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SlackConfirm {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) ok_text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) dismiss_text: String,
}

/// A message by a bot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TelegramConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bot_token: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bot_token_file: Option<String>,
    pub(crate) chat_id: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) message_thread_id: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) disable_notifications: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) parse_mode: String,
}

impl Default for TelegramConfig {
    fn default() -> Self {
        Self {
            send_resolved: true,
            http_config: None,
            api_url: None,
            bot_token: None,
            bot_token_file: None,
            chat_id: 0,
            message_thread_id: 0,
            message: r#"{{ template "telegram.default.message" . }}"#.to_owned(),
            disable_notifications: false,
            parse_mode: "HTML".to_owned(),
        }
    }
}

/// A message in a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DiscordConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_url: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_url_file: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) avatar_url: String,
}

impl Default for DiscordConfig {
    fn default() -> Self {
        Self {
            send_resolved: true,
            http_config: None,
            webhook_url: None,
            webhook_url_file: None,
            title: r#"{{ template "discord.default.title" . }}"#.to_owned(),
            message: r#"{{ template "discord.default.message" . }}"#.to_owned(),
            content: String::new(),
            username: String::new(),
            avatar_url: String::new(),
        }
    }
}

/// A card in a channel, by a workflow's webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MsTeamsConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_url: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_url_file: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
}

impl Default for MsTeamsConfig {
    fn default() -> Self {
        Self {
            send_resolved: true,
            http_config: None,
            webhook_url: None,
            webhook_url_file: None,
            title: r#"{{ template "msteamsv2.default.title" . }}"#.to_owned(),
            text: r#"{{ template "msteamsv2.default.text" . }}"#.to_owned(),
        }
    }
}

/// Serde asks by reference.
fn is_zero(number: &i64) -> bool {
    *number == 0
}
