//! PagerDuty and Opsgenie: services that page people themselves. Both know a group by a key, so that the same thing said
//! twice is one incident.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    ATTEMPT_TIMEOUT, Failure, Message,
    chat::{cut, without_empty},
    http::{Link, secret},
};
use crate::alertmanager::config::{Global, OpsgenieConfig, PagerdutyConfig};

/// Longest texts that each takes, in characters.
const PAGERDUTY_SUMMARY_MAX: usize = 1_024;
const OPSGENIE_MESSAGE_MAX: usize = 130;
/// Largest event that PagerDuty takes, in bytes.
const PAGERDUTY_EVENT_MAX: usize = 512_000;

/// What PagerDuty is told beside the summary, unless the receiver says otherwise.
const PAGERDUTY_DETAILS: [(&str, &str); 4] = [
    ("firing", r#"{{ template "pagerduty.default.instances" .Alerts.Firing }}"#),
    ("resolved", r#"{{ template "pagerduty.default.instances" .Alerts.Resolved }}"#),
    ("num_firing", "{{ .Alerts.Firing | len }}"),
    ("num_resolved", "{{ .Alerts.Resolved | len }}"),
];

pub(super) async fn pagerduty(
    link: &Link,
    config: &PagerdutyConfig,
    global: &Global,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let text = |template: &str| message.text(template);
    let key = secret(config.routing_key.as_ref(), config.routing_key_file.as_ref())?;
    let action = if message.is_resolved() { "resolve" } else { "trigger" };
    let mut details = Map::new();
    let defaults = PAGERDUTY_DETAILS.iter().map(|(name, template)| (*name, *template));
    let own = config.details.iter().map(|(name, template)| (name.as_str(), template.as_str()));
    for (name, template) in defaults.chain(own) {
        details.insert(name.to_owned(), Value::String(text(template)?));
    }
    // Alertmanager: the client, unless it is said.
    let source = if config.source.is_empty() { &config.client } else { &config.source };
    let payload = json!({
        "summary": cut(&text(&config.description)?, PAGERDUTY_SUMMARY_MAX),
        "source": text(source)?,
        "severity": text(&config.severity)?.to_lowercase(),
        "class": text(&config.class)?,
        "component": text(&config.component)?,
        "group": text(&config.group)?,
        "custom_details": details,
    });
    let images = config.images.iter().map(|image| {
        let shown = json!({
            "src": text(&image.src)?, "alt": text(&image.alt)?, "href": text(&image.href)?,
        });
        Ok(without_empty(shown))
    });
    let links = config.links.iter().map(|link| {
        Ok(without_empty(json!({ "href": text(&link.href)?, "text": text(&link.text)? })))
    });
    let body = json!({
        "routing_key": text(&key)?,
        "event_action": action,
        "dedup_key": message.group_hash(),
        "client": text(&config.client)?,
        "client_url": text(&config.client_url)?,
        "images": images.collect::<Result<Value, Failure>>()?,
        "links": links.collect::<Result<Value, Failure>>()?,
        "payload": without_empty(payload),
    });
    let url = config.url.as_ref().unwrap_or(&global.pagerduty_url);
    let mut body = without_empty(body);
    if body.to_string().len() > PAGERDUTY_EVENT_MAX {
        let text = format!(
            "the details are left out: with them the event has more than {PAGERDUTY_EVENT_MAX} bytes"
        );
        body["payload"]["custom_details"] = json!({ "error": text });
    }
    link.post(url, message.key(), &body, ATTEMPT_TIMEOUT).await.map(drop)
}

pub(super) async fn opsgenie(
    link: &Link,
    config: &OpsgenieConfig,
    global: &Global,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let text = |template: &str| message.text(template);
    let own = config.api_key.is_some() || config.api_key_file.is_some();
    let key = match own {
        true => secret(config.api_key.as_ref(), config.api_key_file.as_ref())?,
        false => secret(global.opsgenie_api_key.as_ref(), global.opsgenie_api_key_file.as_ref())?,
    };
    let api = config.api_url.as_ref().unwrap_or(&global.opsgenie_api_url).trim_end_matches('/');
    let alias = message.group_hash();
    let (url, body) = match message.is_resolved() {
        true => (
            format!("{api}/v2/alerts/{alias}/close?identifierType=alias"),
            json!({ "source": text(&config.source)? }),
        ),
        false => {
            let mut details = Map::new();
            let labels = message.payload.common_labels.iter();
            details.extend(labels.map(|(n, v)| (n.clone(), Value::String(v.clone()))));
            for (name, template) in &config.details {
                details.insert(name.clone(), Value::String(text(template)?));
            }
            let responders = config.responders.iter().map(|responder| {
                Ok(without_empty(json!({
                    "id": text(&responder.id)?, "name": text(&responder.name)?,
                    "username": text(&responder.username)?, "type": text(&responder.kind)?.to_lowercase(),
                })))
            });
            let listed = |template: &str| -> Result<Vec<String>, Failure> {
                let text = text(template)?;
                // Blanks within stay, as in Alertmanager.
                let parts = text.trim().split(',').filter(|part| !part.is_empty());
                Ok(parts.map(str::to_owned).collect())
            };
            let body = json!({
                "alias": alias,
                "message": cut(&text(&config.message)?, OPSGENIE_MESSAGE_MAX),
                "description": text(&config.description)?,
                "details": details,
                "source": text(&config.source)?,
                "responders": responders.collect::<Result<Value, Failure>>()?,
                "tags": listed(&config.tags)?,
                "actions": listed(&config.actions)?,
                "note": text(&config.note)?,
                "priority": text(&config.priority)?,
                "entity": text(&config.entity)?,
            });
            (format!("{api}/v2/alerts"), body)
        }
    };
    let authorization = format!("GenieKey {key}");
    let body = without_empty(body);
    let send = async |method: Method, url: &str, body: &Value| {
        let way = (url, "Authorization", authorization.as_str());
        link.send_with(method, way, message.key(), body).await.map(drop)
    };
    send(Method::POST, &url, &body).await?;
    if !config.update_alerts || message.is_resolved() {
        return Ok(());
    }
    // An alert that is there already keeps its words unless it is told so.
    for field in ["message", "description"] {
        let Some(text) = body.get(field) else { continue };
        let url = format!("{api}/v2/alerts/{alias}/{field}?identifierType=alias");
        send(Method::PUT, &url, &json!({ field: text })).await?;
    }
    Ok(())
}
