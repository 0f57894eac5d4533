//! `webhook_configs`: Alertmanager's JSON, version 4.

use std::borrow::Cow;

use super::{
    ATTEMPT_TIMEOUT, Failure, Message,
    http::{Link, secret},
};
use crate::alertmanager::config::WebhookConfig;

pub(super) async fn send(
    link: &Link,
    config: &WebhookConfig,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let url = secret(config.url.as_ref(), config.url_file.as_ref())?;
    let timeout = if config.timeout.0.is_zero() { ATTEMPT_TIMEOUT } else { config.timeout.0 };
    let mut payload = Cow::Borrowed(message.payload);
    if config.max_alerts > 0 {
        payload.to_mut().truncate(config.max_alerts);
    }
    link.post(&url, message.key(), &*payload, timeout).await.map(drop)
}
