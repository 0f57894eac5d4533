//! Delivering pages: each its own task, tried again until somebody took it or the limit is reached. Those that one way did not
//! take are tried again in order (`line.rs`).
//!
//! A page is in the registry before it is sent and its outcome behind it, so a new leader sends what is still
//! pending. Delivery is at least once; the idempotency key (webhook) or `Message-ID` (mail) is the same each time.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{Instrument, info_span, warn};
use watchkeep_catalog::{
    Incident, Page, PageState,
    trace::{set_parent, trace_parent},
};

use self::turn::Turn;
use crate::{
    clock,
    context::Context,
    incident::{self, PageOutcome},
    metrics::{DELIVERED, FAILED},
    mirror::Versioned,
    post::{self, Post},
    store::{self, StoreError},
    text,
};

pub(crate) mod email;
mod facts;
mod line;
mod message;
mod picture;
mod png;
mod summary;
mod together;
mod turn;
mod webhook;

pub use facts::RUNBOOKS;
pub(crate) use together::{Part, deliver_summary};
pub(crate) use turn::{Lines, Ticket};

/// Longest wait for one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// A page is given up when a leader has tried for so long.
const GIVE_UP_AFTER: Duration = Duration::from_hours(3);
/// Longest error kept with a page, in characters.
const ERROR_MAX: usize = 300;
/// Pause while the registry does not take an outcome.
const PAUSE: Duration = Duration::from_millis(200);

/// Delivers one page; answers with the incident as it is then, or nothing when another node leads or the
/// incident is gone.
pub(crate) async fn deliver(
    context: Arc<Context>,
    fence: i64,
    mut incident: Versioned<Incident>,
    page_id: String,
    parent: Option<String>,
    mut ticket: Ticket,
) -> Option<Versioned<Incident>> {
    let id = incident.record.id.clone();
    let give_up = Instant::now() + GIVE_UP_AFTER;
    loop {
        let turn = ticket.turn(give_up).await;
        if turn == Turn::AfterWaiting {
            incident = together::read(&context, incident).await;
        }
        let page = incident.record.pages.iter().find(|page| page.id == page_id)?;
        if page.state != PageState::Pending {
            return Some(incident);
        }
        let others = context.rules.other_ways(&page.receiver, &page.channel);
        let (attempts, outcome, next_way) = if turn == Turn::TooLate {
            let error = page.error.clone().unwrap_or_else(|| "it was never its turn".to_owned());
            (page.attempts, PageOutcome::GivenUp(error), true)
        } else {
            let sent = send(&context, &incident.record, page, parent.as_deref()).await;
            ticket.tried(sent.is_ok(), sent.as_ref().err().and_then(|failure| failure.wait));
            let (outcome, next_way) = match sent {
                Ok(()) => (PageOutcome::Delivered, false),
                Err(e) if e.is_final && !others.is_empty() => (PageOutcome::GivenUp(e.text), true),
                Err(e) => (PageOutcome::Retry(e.text), e.is_dire),
            };
            (page.attempts + 1, outcome, next_way)
        };
        let change = |incident: &mut Incident| {
            let before = incident.clone();
            incident::page_attempted(incident, &page_id, attempts, &outcome, clock::now());
            if next_way {
                incident::go_other_ways(incident, &page_id, &others, clock::now());
            }
            Ok(*incident != before)
        };
        incident = loop {
            match store::update_incident(&context.client, Some(fence), &id, change).await {
                Ok(incident) => break incident,
                Err(StoreError::Fenced | StoreError::Missing(_)) => return None,
                // This task ends with the node's leadership, so it does not try for ever.
                Err(error) => {
                    warn!(incident = id, page = page_id, %error, "outcome not written yet")
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        // Who is not tried again waits for no other turn.
        if !matches!(outcome, PageOutcome::Retry(_)) {
            return Some(incident);
        }
    }
}

/// What the ids of pages begin with that only show whether somebody is reached.
pub(crate) const TEST: &str = "test";

/// One attempt, for who has no registry to write down what comes of it.
///
/// # Errors
/// Why it failed.
pub(crate) async fn attempt(
    context: &Context,
    incident: &Incident,
    page: &Page,
) -> Result<(), String> {
    send(context, incident, page, None).await.map_err(|failure| failure.text)
}

/// Why an attempt failed.
pub(crate) struct Failure {
    text: String,
    /// The same again would fail again: SMTP's 5xx.
    is_final: bool,
    /// Perhaps nobody is there: another way is tried at once, beside this one.
    is_dire: bool,
    /// The receiver asks not to be asked before.
    wait: Option<Duration>,
}

impl Failure {
    /// In words.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn dire(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_final: false, is_dire: true, wait: None }
    }
}

/// One attempt.
async fn send(
    context: &Context,
    incident: &Incident,
    page: &Page,
    parent: Option<&str>,
) -> Result<(), Failure> {
    let span = info_span!(
        "page",
        otel.kind = "client",
        incident = incident.id,
        page = page.id,
        channel = page.channel,
        attempt = page.attempts + 1,
        error = tracing::field::Empty,
    );
    set_parent(&span, parent);
    async {
        let channel = page.channel.as_str();
        let _permits = context.permits(&page.receiver, channel).await;
        let begun = Instant::now();
        let sent = match channel {
            "email" => by_email(context, incident, page).await,
            "webhook" => by_webhook(context, incident, page, trace_parent(&span)).await,
            other => {
                Err(Failure::dire(format!("channel {other:?} is not known: email and webhook are")))
            }
        };
        let sent = sent.map_err(|failure| Failure {
            text: text::shorten(&failure.text, ERROR_MAX),
            ..failure
        });
        let result = if sent.is_ok() { DELIVERED } else { FAILED };
        let metrics = &context.metrics;
        metrics.notifications.with_label_values(&[channel, result]).inc();
        let seconds = begun.elapsed().as_secs_f64();
        metrics.notification_seconds.with_label_values(&[channel]).observe(seconds);
        if let Err(Failure { text: error, .. }) = &sent {
            span.record("error", error);
            warn!(incident = incident.id, page = page.id, error, "page not delivered");
        }
        sent
    }
    .instrument(span.clone())
    .await
}

async fn by_email(context: &Context, incident: &Incident, page: &Page) -> Result<(), Failure> {
    let mailer = context.mailer.as_ref();
    let mailer =
        mailer.ok_or_else(|| Failure::dire("there is no mail server any more: set smtp"))?;
    let now = clock::now();
    let links = context.links(incident, page, now);
    let picture = picture::of(context, incident, now).await;
    let message = mailer
        .message(&context.url, incident, page, links.as_ref(), picture, now)
        .map_err(Failure::dire)?;
    mailer.send(message).await
}

async fn by_webhook(
    context: &Context,
    incident: &Incident,
    page: &Page,
    trace_parent: Option<String>,
) -> Result<(), Failure> {
    let key = format!("{}.{}", incident.id, page.id);
    let request = Post {
        url: &page.to,
        idempotency_key: &key,
        secret: context.page_secrets.get(&page.receiver),
        trace_parent,
        fencing_token: None,
        body: webhook::body(&context.url, incident, page),
        timeout: ATTEMPT_TIMEOUT,
        timestamp: clock::now().timestamp(),
    };
    taken(post::send(&context.http, request).await)
}

/// Whether a webhook took it.
fn taken(answer: post::Answer) -> Result<(), Failure> {
    match answer.error {
        None => Ok(()),
        Some(error) => Err(Failure { wait: answer.wait, ..Failure::dire(error) }),
    }
}
