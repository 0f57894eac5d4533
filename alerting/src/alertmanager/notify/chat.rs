//! Slack, Telegram, Discord, Teams: what people read in a room.

use serde_json::{Value, json};

use super::{
    ATTEMPT_TIMEOUT, Failure, Message,
    http::{Link, secret},
};
use crate::alertmanager::config::{
    DiscordConfig, Global, MsTeamsConfig, SlackConfig, TelegramConfig,
};

/// Longest texts that each takes, in characters.
const SLACK_TITLE_MAX: usize = 1_024;
const TELEGRAM_MESSAGE_MAX: usize = 4_096;
const DISCORD_TITLE_MAX: usize = 256;
const DISCORD_DESCRIPTION_MAX: usize = 4_096;
const DISCORD_CONTENT_MAX: usize = 2_000;
/// Red and green, as Discord counts colours.
const RED: u32 = 0x99_2d_22;
const GREEN: u32 = 0x2e_cc_71;

/// The first `max` characters; the last one stands for what is left out.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
    }
}

pub(super) async fn slack(
    link: &Link,
    config: &SlackConfig,
    global: &Global,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let own = config.api_url.is_some() || config.api_url_file.is_some();
    let url = match own {
        true => secret(config.api_url.as_ref(), config.api_url_file.as_ref())?,
        false => secret(global.slack_api_url.as_ref(), global.slack_api_url_file.as_ref())?,
    };
    let mut body = slack_body(config, message)?;
    if url.contains("chat.postMessage") {
        // Slack shows a message with the same id once.
        body["client_msg_id"] = json!(message.key());
    }
    let answer = link.post(&url, message.key(), &body, ATTEMPT_TIMEOUT).await?;
    // The web API says 200 to everything.
    match serde_json::from_slice::<Value>(&answer) {
        Ok(answer) if answer["ok"] == false => {
            Err(Failure::Never(format!("Slack refused it: {}", answer["error"])))
        }
        _ => Ok(()),
    }
}

fn slack_body(config: &SlackConfig, message: &Message<'_>) -> Result<Value, Failure> {
    let text = |template: &str| message.text(template);
    let mrkdwn_in = match config.mrkdwn_in.is_empty() {
        true => vec!["fallback".to_owned(), "pretext".to_owned(), "text".to_owned()],
        false => config.mrkdwn_in.clone(),
    };
    let mut attachment = json!({
        "title": cut(&text(&config.title)?, SLACK_TITLE_MAX),
        "title_link": text(&config.title_link)?,
        "pretext": text(&config.pretext)?,
        "text": text(&config.text)?,
        "fallback": text(&config.fallback)?,
        "callback_id": text(&config.callback_id)?,
        "image_url": text(&config.image_url)?,
        "thumb_url": text(&config.thumb_url)?,
        "footer": text(&config.footer)?,
        "color": text(&config.color)?,
        "mrkdwn_in": mrkdwn_in,
    });
    let fields = config.fields.iter().map(|field| {
        let short = field.short.unwrap_or(config.short_fields);
        Ok(json!({ "title": text(&field.title)?, "value": text(&field.value)?, "short": short }))
    });
    attachment["fields"] = fields.collect::<Result<Value, Failure>>()?;
    let actions = config.actions.iter().map(|action| {
        let mut shown = json!({
            "type": text(&action.kind)?, "text": text(&action.text)?, "url": text(&action.url)?,
            "style": text(&action.style)?, "name": text(&action.name)?, "value": text(&action.value)?,
        });
        if let Some(confirm) = &action.confirm {
            shown["confirm"] = json!({
                "title": text(&confirm.title)?, "text": text(&confirm.text)?,
                "ok_text": text(&confirm.ok_text)?, "dismiss_text": text(&confirm.dismiss_text)?,
            });
        }
        Ok(shown)
    });
    attachment["actions"] = actions.collect::<Result<Value, Failure>>()?;
    let mut body = json!({
        "channel": text(&config.channel)?,
        "username": text(&config.username)?,
        "icon_emoji": text(&config.icon_emoji)?,
        "icon_url": text(&config.icon_url)?,
        "link_names": config.link_names,
        "attachments": [without_empty(attachment)],
    });
    body = without_empty(body);
    Ok(body)
}

/// Without fields that say nothing.
pub(super) fn without_empty(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| match value {
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Bool(flag) => *flag,
            _ => true,
        });
    }
    object
}

pub(super) async fn telegram(
    link: &Link,
    config: &TelegramConfig,
    global: &Global,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let token = secret(config.bot_token.as_ref(), config.bot_token_file.as_ref())?;
    let api = config.api_url.as_ref().unwrap_or(&global.telegram_api_url).trim_end_matches('/');
    let mut body = json!({
        "chat_id": config.chat_id,
        "text": cut(&message.words.text_for(&config.message, message.payload, config.parse_mode == "HTML")?, TELEGRAM_MESSAGE_MAX),
        "disable_notification": config.disable_notifications,
        "disable_web_page_preview": true,
    });
    if !config.parse_mode.is_empty() {
        body["parse_mode"] = json!(config.parse_mode);
    }
    if config.message_thread_id != 0 {
        body["message_thread_id"] = json!(config.message_thread_id);
    }
    let url = format!("{api}/bot{token}/sendMessage");
    link.post(&url, message.key(), &body, ATTEMPT_TIMEOUT).await.map(drop)
}

pub(super) async fn discord(
    link: &Link,
    config: &DiscordConfig,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let url = secret(config.webhook_url.as_ref(), config.webhook_url_file.as_ref())?;
    let body = json!({
        "content": cut(&message.text(&config.content)?, DISCORD_CONTENT_MAX),
        "username": message.text(&config.username)?,
        "avatar_url": message.text(&config.avatar_url)?,
        "embeds": [{
            "title": cut(&message.text(&config.title)?, DISCORD_TITLE_MAX),
            "description": cut(&message.text(&config.message)?, DISCORD_DESCRIPTION_MAX),
            "color": if message.is_resolved() { GREEN } else { RED },
        }],
    });
    let body = without_empty(body);
    link.post(&url, message.key(), &body, ATTEMPT_TIMEOUT).await.map(drop)
}

pub(super) async fn msteams(
    link: &Link,
    config: &MsTeamsConfig,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let url = secret(config.webhook_url.as_ref(), config.webhook_url_file.as_ref())?;
    let color = if message.is_resolved() { "Good" } else { "Attention" };
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": { "width": "Full" },
        "body": [
            {
                "type": "TextBlock", "text": message.text(&config.title)?, "weight": "Bolder",
                "size": "Medium", "wrap": true, "style": "heading", "color": color,
            },
            { "type": "TextBlock", "text": message.text(&config.text)?, "wrap": true },
        ],
    });
    let body = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive", "content": card,
        }],
    });
    link.post(&url, message.key(), &body, ATTEMPT_TIMEOUT).await.map(drop)
}
