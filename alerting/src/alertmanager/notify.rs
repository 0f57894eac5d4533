//! Telling a receiver: what its integration sends, again and again with growing pauses until it is taken, refused for
//! good, or the time is over. Each integration has its own limit of deliveries at once: one that hangs delays no other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{
    incident,
    payload::Payload,
    plan::{Integration, Plan, Way},
    shared::Shared,
    tell::Telling,
    words::{Unfit, Words},
};
use crate::{backoff, clock, text};

mod chat;
mod email;
mod http;
mod oauth2;
mod service;
#[cfg(test)]
pub(super) mod tests;
mod webhook;

pub(crate) use email::check_addresses;

/// Deliveries of one integration on the wire at once; beyond it they wait.
const DELIVERIES_MAX: usize = 128;
/// Pause after the first failed attempt, and the longest.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Longest wait for one attempt, where the integration does not say so itself.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest error that is logged, in characters.
const ERROR_MAX: usize = 300;
/// What is said beside a notification that was sent without the registry.
const ALONE: &str =
    "Watchkeep's registry is lost: this node tells what it knows by itself; you may be told twice.";

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Later it may succeed.
    Again(String),
    /// Not before so long a time: the receiver says so.
    After(String, Duration),
    /// It will never.
    Never(String),
    /// The receiver's templates make too much of so many alerts; of fewer they may not.
    TooMuch(String),
}

impl Failure {
    fn text(self) -> String {
        match self {
            Self::Again(text) | Self::After(text, _) | Self::Never(text) | Self::TooMuch(text) => {
                text
            }
        }
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        if unfit.is_too_much { Self::TooMuch(unfit.text) } else { Self::Never(unfit.text) }
    }
}

/// What one notification is made of.
pub(crate) struct Message<'a> {
    pub(crate) telling: &'a Telling,
    pub(crate) payload: &'a Payload,
    pub(crate) words: &'a Words,
}

impl Message<'_> {
    /// Fills in a template.
    pub(super) fn text(&self, template: &str) -> Result<String, Failure> {
        Ok(self.words.text(template, self.payload)?)
    }

    fn key(&self) -> &str {
        &self.telling.record.idempotency_key
    }

    /// The same for all notifications of a group: what services know an incident by.
    fn group_hash(&self) -> String {
        use sha2::{Digest, Sha256};
        hex::encode(Sha256::digest(self.payload.group_key.as_bytes()))
    }

    pub(super) fn is_resolved(&self) -> bool {
        self.payload.status == "resolved"
    }
}

/// The way to one receiver.
struct Channel {
    transport: Transport,
    limit: Semaphore,
}

enum Transport {
    Http(Box<http::Link>),
    Email(Box<email::Mailer>),
    Oncall,
}

/// The ways to all receivers, and the words.
pub(crate) struct Channels {
    by: HashMap<(String, &'static str, u32), Channel>,
    words: Words,
}

impl Channels {
    /// # Errors
    /// What is wrong with a file that is named in the configuration.
    pub(crate) fn new(plan: &Plan, external_url: &str) -> Result<Self, String> {
        let words = Words::new(&plan.config, external_url).map_err(|wrong| {
            wrong
                .into_iter()
                .map(|i| format!("{}: {}", i.path, i.message))
                .collect::<Vec<_>>()
                .join("; ")
        })?;
        let mut links = http::Links::default();
        let global = &plan.config.global;
        let mut by = HashMap::new();
        for receiver in &plan.config.receivers {
            for integration in plan.integrations(&receiver.name) {
                let http = match &integration.way {
                    Way::Email(_) | Way::Oncall(_) => &None,
                    Way::Webhook(c) => &c.http_config,
                    Way::Slack(c) => &c.http_config,
                    Way::Pagerduty(c) => &c.http_config,
                    Way::Opsgenie(c) => &c.http_config,
                    Way::Telegram(c) => &c.http_config,
                    Way::Discord(c) => &c.http_config,
                    Way::MsTeams(c) => &c.http_config,
                };
                let transport = match &integration.way {
                    Way::Email(config) => {
                        Transport::Email(Box::new(email::Mailer::new(config, global)?))
                    }
                    Way::Oncall(_) => Transport::Oncall,
                    _ => Transport::Http(Box::new(
                        links.get(http.as_ref().or(global.http_config.as_ref()))?,
                    )),
                };
                let limit = Semaphore::new(DELIVERIES_MAX);
                by.insert(name(integration), Channel { transport, limit });
            }
        }
        Ok(Self { by, words })
    }
}

fn name(integration: &Integration) -> (String, &'static str, u32) {
    (integration.receiver.clone(), integration.way.name(), integration.index)
}

/// Delivers before the deadline, or says why it did not. `fence` is that of the leader who wrote it down; none: the registry
/// does not know of it.
pub(crate) async fn deliver(
    shared: &Shared,
    telling: &Telling,
    fence: Option<i64>,
) -> Result<(), String> {
    let setup = shared.setup();
    let integration = &telling.integration;
    let kind = integration.way.name();
    let channel = setup.channels.by.get(&name(integration));
    let channel = channel.ok_or("the receiver is not in the configuration any more")?;
    let mut payload = Payload::new(telling, &shared.external_url, fence.is_none().then_some(ALONE));
    let left = (telling.deadline - clock::now()).to_std().unwrap_or_default();
    let deadline = Instant::now() + left;
    let mut rng = backoff::rng(&shared.id, &telling.record.idempotency_key);
    let mut attempt = 0;
    shared.metrics.notifications.with_label_values(&[kind]).inc();
    loop {
        attempt += 1;
        let failure = {
            // The semaphore is never closed.
            let permit = tokio::time::timeout_at(deadline, channel.limit.acquire()).await;
            let Ok(_permit) = permit else {
                shared.metrics.failed.with_label_values(&[kind]).inc();
                let most = DELIVERIES_MAX;
                return Err(format!("{most} others were on their way until the group's next look"));
            };
            let begun = Instant::now();
            let message = Message { telling, payload: &payload, words: &setup.channels.words };
            let sending = async {
                match &integration.way {
                    Way::Oncall(config) => incident::report(shared, config, &message, fence).await,
                    _ => send(channel, &message, &setup.plan).await,
                }
            };
            let sent = match tokio::time::timeout_at(deadline, sending).await {
                Ok(sent) => sent,
                Err(_) => Err(Failure::Never("no answer before the group's next look".to_owned())),
            };
            shared.metrics.attempted(kind, begun.elapsed(), sent.is_err());
            match sent {
                Ok(()) => return Ok(()),
                // A storm must not be kept quiet for its size.
                Err(Failure::TooMuch(_)) if payload.halve() => continue,
                Err(failure) => failure,
            }
        };
        let pause = backoff::pause(attempt, BACKOFF, BACKOFF_MAX, &mut rng);
        let pause = match &failure {
            Failure::Again(_) => Some(pause),
            Failure::After(_, asked) => Some(pause.max(*asked)),
            Failure::Never(_) | Failure::TooMuch(_) => None,
        };
        let pause = pause.filter(|pause| *pause < deadline.duration_since(Instant::now()));
        let error = text::shorten(&failure.text(), ERROR_MAX);
        let Some(pause) = pause else {
            shared.metrics.failed.with_label_values(&[kind]).inc();
            return Err(error);
        };
        tracing::debug!(receiver = integration.receiver, kind, attempt, error, "not delivered yet");
        tokio::time::sleep(pause).await;
    }
}

/// One attempt.
async fn send(channel: &Channel, message: &Message<'_>, plan: &Arc<Plan>) -> Result<(), Failure> {
    let global = &plan.config.global;
    match (&message.telling.integration.way, &channel.transport) {
        (Way::Webhook(config), Transport::Http(link)) => webhook::send(link, config, message).await,
        (Way::Slack(config), Transport::Http(link)) => {
            chat::slack(link, config, global, message).await
        }
        (Way::Telegram(config), Transport::Http(link)) => {
            chat::telegram(link, config, global, message).await
        }
        (Way::Discord(config), Transport::Http(link)) => chat::discord(link, config, message).await,
        (Way::MsTeams(config), Transport::Http(link)) => chat::msteams(link, config, message).await,
        (Way::Pagerduty(config), Transport::Http(link)) => {
            service::pagerduty(link, config, global, message).await
        }
        (Way::Opsgenie(config), Transport::Http(link)) => {
            service::opsgenie(link, config, global, message).await
        }
        (Way::Email(config), Transport::Email(mailer)) => mailer.send(config, message).await,
        _ => Err(Failure::Never("the receiver was changed: the next look tells it".to_owned())),
    }
}
