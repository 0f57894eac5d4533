//! Delivering one message about many incidents: tried again until somebody took it or the limit is reached. Each time it has
//! the same key, and says what is still to be said.

use std::sync::Arc;

use futures::future::join_all;
use tokio::time::Instant;
use tracing::{Instrument, info_span, warn};
use watchkeep_catalog::{Incident, Page, PageKind, PageState, keys};

use super::{
    ATTEMPT_TIMEOUT, ERROR_MAX, Failure, GIVE_UP_AFTER, PAUSE, Ticket,
    summary::{self, Line},
    taken,
    turn::Turn,
    webhook,
};
use crate::{
    clock,
    context::Context,
    incident::{self, PageOutcome, Recipient},
    metrics::{DELIVERED, FAILED},
    mirror::Versioned,
    post::{self, Post},
    store::{self, StoreError},
    text,
};

/// A page that is part of the message.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) incident: Versioned<Incident>,
    pub(crate) page: String,
}

impl Part {
    /// The page, while it is to be sent.
    fn pending(&self) -> Option<&Page> {
        let pages = &self.incident.record.pages;
        pages.iter().find(|page| page.id == self.page && page.state == PageState::Pending)
    }
}

/// Answers with the incidents as they are then, or nothing when another node leads.
pub(crate) async fn deliver_summary(
    context: Arc<Context>,
    fence: i64,
    summary: String,
    mut parts: Vec<Part>,
    mut ticket: Ticket,
) -> Option<Vec<Versioned<Incident>>> {
    let give_up = Instant::now() + GIVE_UP_AFTER;
    let (mut attempt, mut last) = (0, String::new());
    loop {
        let turn = ticket.turn(give_up).await;
        if turn == Turn::AfterWaiting {
            let asked: &Context = &context;
            let again = parts.into_iter().map(|Part { incident, page }| async move {
                Part { incident: read(asked, incident).await, page }
            });
            parts = join_all(again).await;
        }
        let mut pages: Vec<(&Incident, &Page)> = parts
            .iter()
            .filter_map(|part| Some((&part.incident.record, part.pending()?)))
            .collect();
        // What asks for somebody stands above what is over, and what began first comes first.
        pages.sort_by_key(|(incident, page)| (page.kind != PageKind::Firing, incident.started_at));
        let Some((_, first)) = pages.first() else {
            return Some(parts.into_iter().map(|part| part.incident).collect());
        };
        let others = context.rules.other_ways(&first.receiver, &first.channel);
        let (outcome, next_way) = if turn == Turn::TooLate {
            (Some(PageOutcome::GivenUp(last.clone())), true)
        } else {
            attempt += 1;
            let sent = send(&context, &summary, attempt, &pages).await;
            ticket.tried(sent.is_ok(), sent.as_ref().err().and_then(|failure| failure.wait));
            match sent {
                Ok(()) => (Some(PageOutcome::Delivered), false),
                Err(e) if e.is_final && !others.is_empty() => {
                    (Some(PageOutcome::GivenUp(e.text)), true)
                }
                Err(e) => {
                    last.clone_from(&e.text);
                    // Said once, and not at every attempt in every incident.
                    let said = (attempt == 1).then_some(PageOutcome::Retry(e.text));
                    let next_way = said.is_some() && e.is_dire;
                    (said, next_way)
                }
            }
        };
        if let Some(outcome) = &outcome {
            let other: &[Recipient] = if next_way { &others } else { &[] };
            let write = |part| enter(&context, fence, part, attempt, outcome, other);
            parts = join_all(parts.into_iter().map(write)).await.into_iter().flatten().collect();
            if parts.is_empty() {
                return None;
            }
        }
        if !matches!(outcome, None | Some(PageOutcome::Retry(_))) {
            return Some(parts.into_iter().map(|part| part.incident).collect());
        }
    }
}

/// What it came to, into the incident; nothing when another node leads or the incident is gone.
async fn enter(
    context: &Context,
    fence: i64,
    part: Part,
    attempt: u32,
    outcome: &PageOutcome,
    others: &[Recipient],
) -> Option<Part> {
    let (id, page) = (part.incident.record.id.clone(), part.page);
    let change = |incident: &mut Incident| {
        let before = incident.clone();
        incident::page_attempted(incident, &page, attempt, outcome, clock::now());
        incident::go_other_ways(incident, &page, others, clock::now());
        Ok(*incident != before)
    };
    loop {
        match store::update_incident(&context.client, Some(fence), &id, change).await {
            Ok(incident) => return Some(Part { incident, page }),
            Err(StoreError::Fenced | StoreError::Missing(_)) => return None,
            // This task ends with the node's leadership, so it does not try for ever.
            Err(error) => warn!(incident = id, page, %error, "outcome not written yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The incident as it is now: somebody may have taken it meanwhile. Where the registry does not say, it is what it was.
pub(super) async fn read(context: &Context, known: Versioned<Incident>) -> Versioned<Incident> {
    let key = keys::incident(&known.record.id);
    let found = context.client.get(&key).await.ok().flatten();
    match found.map(|kv| Versioned::read(&kv)) {
        Some(Ok(incident)) => incident,
        _ => known,
    }
}

/// One attempt.
async fn send(
    context: &Context,
    key: &str,
    attempt: u32,
    pages: &[(&Incident, &Page)],
) -> Result<(), Failure> {
    // The caller has looked: there is one.
    let Some((_, first)) = pages.first() else { return Ok(()) };
    let channel = first.channel.as_str();
    let span = info_span!("page", otel.kind = "client", page = key, channel, attempt);
    async {
        let _permits = context.permits(&first.receiver, channel).await;
        let (begun, now) = (Instant::now(), clock::now());
        let line = |(incident, page): &(&'_ Incident, &'_ Page)| context.links(incident, page, now);
        let links: Vec<_> = pages.iter().map(line).collect();
        let lines: Vec<Line<'_>> = pages
            .iter()
            .zip(links)
            .map(|((incident, page), links)| Line { incident, page, links })
            .collect();
        let sent = match channel {
            "email" => by_email(context, key, &first.to, &lines).await,
            _ => by_webhook(context, key, first, pages).await,
        };
        let result = if sent.is_ok() { DELIVERED } else { FAILED };
        context.metrics.notifications.with_label_values(&[channel, result]).inc();
        let seconds = begun.elapsed().as_secs_f64();
        context.metrics.notification_seconds.with_label_values(&[channel]).observe(seconds);
        if let Err(Failure { text: error, .. }) = &sent {
            warn!(page = key, pages = pages.len(), error, "a summary of pages was not delivered");
        }
        sent.map_err(|failure| Failure { text: text::shorten(&failure.text, ERROR_MAX), ..failure })
    }
    .instrument(span)
    .await
}

async fn by_email(
    context: &Context,
    key: &str,
    to: &str,
    lines: &[Line<'_>],
) -> Result<(), Failure> {
    let mailer = context.mailer.as_ref();
    let mailer =
        mailer.ok_or_else(|| Failure::dire("there is no mail server any more: set smtp"))?;
    let (plain, html) = (summary::plain(&context.url, lines), summary::html(&context.url, lines));
    let message = mailer
        .build(key, key, to, &summary::subject(lines), (plain, html, None), clock::now())
        .map_err(Failure::dire)?;
    mailer.send(message).await
}

async fn by_webhook(
    context: &Context,
    key: &str,
    first: &Page,
    pages: &[(&Incident, &Page)],
) -> Result<(), Failure> {
    let request = Post {
        url: &first.to,
        idempotency_key: key,
        secret: context.page_secrets.get(&first.receiver),
        trace_parent: None,
        fencing_token: None,
        body: webhook::body_of_many(&context.url, key, pages),
        timeout: ATTEMPT_TIMEOUT,
        timestamp: clock::now().timestamp(),
    };
    taken(post::send(&context.http, request).await)
}
