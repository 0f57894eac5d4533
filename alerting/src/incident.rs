//! An incident's life: opened, acknowledged, resolved, and what its pages came to. Pure.

use chrono::TimeDelta;
use thiserror::Error;
use watchkeep_catalog::{
    Incident, IncidentStatus, Note, Page, PageKind, PageState, Time, check_name,
};

mod action;
mod open;
mod post_mortem;
mod raise;

pub(crate) use action::{Action, act};
pub(crate) use open::tell;
pub(crate) use post_mortem::post_mortem;
pub(crate) use raise::{Finding, INCIDENT_REPORTED, Raised, Report, digest, opened, report};

/// Who is written as the author of what Watchkeep does by itself.
pub(crate) const WATCHKEEP: &str = "watchkeep";
/// Pages of one incident; beyond it finished ones make room.
const PAGES_MAX: usize = 500;
/// Lines of a timeline; beyond it the oldest but the first makes room.
const TIMELINE_MAX: usize = 500;

/// Where a page goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) receiver: String,
    /// `email` or `webhook`.
    pub(crate) channel: String,
    pub(crate) to: String,
}

/// Why a transition is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("incident {id} was resolved at {at}: nothing is left to {what}")]
    Resolved { id: String, at: String, what: &'static str },
    /// It cannot be done as things stand.
    #[error("{0}")]
    Senseless(String),
    /// What is asked for can never be done.
    #[error("{0}")]
    Wrong(String),
}

/// What one attempt to deliver a page came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageOutcome {
    Delivered,
    /// It will be tried again.
    Retry(String),
    GivenUp(String),
}

/// Adds a line to the timeline.
pub(crate) fn note(incident: &mut Incident, at: Time, by: &str, text: impl Into<String>) {
    if incident.timeline.len() >= TIMELINE_MAX {
        incident.timeline.remove(1);
    }
    incident.timeline.push(Note { at, by: by.to_owned(), text: text.into() });
}

/// Adds a page for each recipient; `reason` makes its id: `firing`, `resolved`, `failover-failed`.
pub(crate) fn page(incident: &mut Incident, reason: &str, kind: PageKind, to: &[Recipient]) {
    for recipient in to {
        add_page(incident, reason, kind, recipient, None, false);
    }
}

/// A reason of this kind that no page of the incident has: whoever is called twice within a second is called twice.
pub(crate) fn fresh_reason(incident: &Incident, kind: &str, now: Time) -> String {
    let first = format!("{kind}-{}", now.timestamp());
    let is_taken =
        |reason: &str| incident.pages.iter().any(|page| page.id.split('.').next() == Some(reason));
    let mut reason = first.clone();
    let mut number = 1;
    while is_taken(&reason) {
        number += 1;
        reason = format!("{first}-{number}");
    }
    reason
}

/// Calls for somebody: pages that are sent after their delay, unless the incident is taken before.
pub(crate) fn call(
    incident: &mut Incident,
    reason: &str,
    to: &[(Recipient, TimeDelta)],
    now: Time,
) {
    for (recipient, delay) in to {
        let not_before = (*delay > TimeDelta::zero()).then(|| now + *delay);
        add_page(incident, reason, PageKind::Firing, recipient, not_before, true);
    }
}

fn add_page(
    incident: &mut Incident,
    reason: &str,
    kind: PageKind,
    Recipient { receiver, channel, to }: &Recipient,
    not_before: Option<Time>,
    calls: bool,
) {
    let id = format!("{reason}.{receiver}.{channel}");
    if incident.pages.iter().any(|page| page.id == id) {
        return;
    }
    make_room(&mut incident.pages);
    incident.pages.push(Page {
        id,
        kind,
        receiver: receiver.clone(),
        channel: channel.clone(),
        to: to.clone(),
        state: PageState::Pending,
        attempts: 0,
        finished_at: None,
        error: None,
        not_before,
        calls,
        summary: None,
    });
}

/// The oldest page that is finished and not the first of its receiver makes room.
fn make_room(pages: &mut Vec<Page>) {
    if pages.len() < PAGES_MAX {
        return;
    }
    let dispensable = |at: &usize| {
        let page = &pages[*at];
        let same = |p: &Page| p.receiver == page.receiver && p.channel == page.channel;
        page.state != PageState::Pending && pages[..*at].iter().any(same)
    };
    if let Some(at) = (0..pages.len()).find(dispensable) {
        pages.remove(at);
    }
}

/// One way does not work: the others to the same receiver are gone at once.
pub(crate) fn go_other_ways(
    incident: &mut Incident,
    page_id: &str,
    others: &[Recipient],
    now: Time,
) {
    let Some(page) = incident.pages.iter().find(|page| page.id == page_id) else { return };
    if page.kind != PageKind::Firing || incident.status != IncidentStatus::Triggered {
        return;
    }
    let (calls, channel) = (page.calls, page.channel.clone());
    let reason = page_id.split('.').next().unwrap_or("page").to_owned();
    for other in others {
        let id = format!("{reason}.{}.{}", other.receiver, other.channel);
        let known = incident.pages.iter_mut().find(|page| page.id == id);
        match known {
            Some(page) if page.state == PageState::Pending && page.not_before > Some(now) => {
                page.not_before = None;
            }
            Some(_) => continue,
            None => add_page(incident, &reason, PageKind::Firing, other, None, calls),
        }
        let text =
            format!("{channel} does not work: {} by {} at once", other.receiver, other.channel);
        note(incident, now, WATCHKEEP, text);
    }
}

/// Nobody is called any more.
pub(crate) fn hush(incident: &mut Incident, which: impl Fn(&Page) -> bool) {
    for page in &mut incident.pages {
        if page.state == PageState::Pending && page.calls && which(page) {
            page.state = PageState::Cancelled;
        }
    }
}

/// Checks the name of somebody who acts on an incident.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_by(by: &str) -> Result<(), String> {
    check_name("person", by).map_err(|e| format!("by: {e}"))
}

/// Somebody takes it. Taking it twice changes nothing; true when something changed.
///
/// # Errors
/// When it is resolved.
pub(crate) fn acknowledge(incident: &mut Incident, by: &str, now: Time) -> Result<bool, Refusal> {
    refuse_resolved(incident, "acknowledge")?;
    if incident.acknowledged_by.as_deref() == Some(by) && incident.snoozed_until.is_none() {
        return Ok(false);
    }
    let text = match &incident.acknowledged_by {
        Some(before) => format!("acknowledged, taken over from {before}"),
        None => "acknowledged".to_owned(),
    };
    incident.status = IncidentStatus::Acknowledged;
    incident.acknowledged_at = Some(now);
    incident.acknowledged_by = Some(by.to_owned());
    incident.snoozed_until = None;
    hush(incident, |_| true);
    note(incident, now, by, text);
    Ok(true)
}

/// It is over. Everybody who was, or is still to be, told that it began is told that it is over.
///
/// # Errors
/// When it is resolved already.
pub(crate) fn resolve(
    incident: &mut Incident,
    by: &str,
    why: &str,
    now: Time,
) -> Result<(), Refusal> {
    refuse_resolved(incident, "resolve")?;
    incident.status = IncidentStatus::Resolved;
    incident.resolved_at = Some(now);
    incident.snoozed_until = None;
    if let Some(escalation) = &mut incident.escalation {
        escalation.due = None;
    }
    hush(incident, |page| page.not_before.is_some_and(|at| at > now));
    note(incident, now, by, why);
    let mut told: Vec<Recipient> = Vec::new();
    for page in &incident.pages {
        let recipient = Recipient {
            receiver: page.receiver.clone(),
            channel: page.channel.clone(),
            to: page.to.clone(),
        };
        let tell = page.kind == PageKind::Firing
            && !matches!(page.state, PageState::Failed | PageState::Cancelled);
        if tell && !told.contains(&recipient) {
            told.push(recipient);
        }
    }
    page(incident, "resolved", PageKind::Resolved, &told);
    Ok(())
}

fn refuse_resolved(incident: &Incident, what: &'static str) -> Result<(), Refusal> {
    if incident.status != IncidentStatus::Resolved {
        return Ok(());
    }
    let at = incident.resolved_at.map_or_else(String::new, crate::text::instant);
    Err(Refusal::Resolved { id: incident.id.clone(), at, what })
}

/// Enters what attempt number `attempts` came to; a page that is finished stays as it is.
pub(crate) fn page_attempted(
    incident: &mut Incident,
    page_id: &str,
    attempts: u32,
    outcome: &PageOutcome,
    now: Time,
) {
    let Some(page) = incident.pages.iter_mut().find(|page| page.id == page_id) else { return };
    if page.state != PageState::Pending {
        return;
    }
    page.attempts = attempts;
    let (state, error) = match outcome {
        PageOutcome::Delivered => (PageState::Delivered, None),
        PageOutcome::Retry(error) => (PageState::Pending, Some(error.clone())),
        PageOutcome::GivenUp(error) => (PageState::Failed, Some(error.clone())),
    };
    page.state = state;
    page.error = error;
    if state == PageState::Pending {
        return;
    }
    page.finished_at = Some(now);
    let (what, whom) = (page.id.split('.').next().unwrap_or("page"), page.receiver.clone());
    let together = if page.summary.is_some() { ", in one message with others" } else { "" };
    let head = format!("page ({what}) to {whom} by {}{together}", page.channel);
    let text = match outcome {
        PageOutcome::GivenUp(error) => {
            format!("{head} given up after {attempts} attempts: {error}")
        }
        _ if attempts > 1 => format!("{head} delivered at attempt {attempts}"),
        _ => format!("{head} delivered"),
    };
    note(incident, now, WATCHKEEP, text);
}

/// The page becomes part of a message with others; false when it is not to be sent any more, or is part of one already.
pub(crate) fn join_summary(incident: &mut Incident, page_id: &str, summary: &str) -> bool {
    let page = incident.pages.iter_mut().find(|page| page.id == page_id);
    let Some(page) = page.filter(|p| p.state == PageState::Pending && p.summary.is_none()) else {
        return false;
    };
    page.summary = Some(summary.to_owned());
    true
}

/// The pages that can be sent now: of each receiver and channel the first that is pending, so that nobody
/// hears of the end before the beginning.
pub(crate) fn next_pages(incident: &Incident, now: Time) -> Vec<&Page> {
    let mut next: Vec<&Page> = Vec::new();
    let due = |page: &&Page| {
        page.state == PageState::Pending && page.not_before.is_none_or(|at| at <= now)
    };
    for page in incident.pages.iter().filter(due) {
        let same = |other: &&Page| other.receiver == page.receiver && other.channel == page.channel;
        if !next.iter().any(same) {
            next.push(page);
        }
    }
    next
}

#[cfg(test)]
mod tests;
