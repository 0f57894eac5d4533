//! Where no router is set up, a firing alert is an incident: opened with its pages, resolved with them, once each.
//! The incident's id follows from the alert and from when it began to fire, so a second try finds the first.

use watchkeep_catalog::{
    Incident, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::Shared;
use crate::{
    incident::{self, Finding, WATCHKEEP},
    oncall,
    rule::{Active, Labels, state::time},
    rules::Rules,
    store::{self, StoreError, update_incident},
    text::shorten,
};

/// Longest title, in characters.
const TITLE_MAX: usize = 200;

fn id(fingerprint: &str, fired_at: Time) -> String {
    format!("{}-{}", fired_at.format("%Y%m%d-%H%M%S"), &fingerprint[..8.min(fingerprint.len())])
}

/// Who is told of new incidents, as the schedules are now.
pub(super) async fn duty(shared: &Shared) -> Result<Rules, StoreError> {
    let mut rules = shared.context.rules.clone();
    rules.changes = oncall::read_changes(&shared.context.client).await?;
    Ok(rules)
}

/// An alert that fires, and the expression of its rule.
pub(super) struct Firing<'a> {
    pub(super) labels: &'a Labels,
    pub(super) active: &'a Active,
    pub(super) expr: &'a str,
}

/// Opens the incident of a firing alert, unless it is there.
pub(super) async fn trigger(
    shared: &Shared,
    fence: i64,
    rules: &Rules,
    fingerprint: &str,
    alert: Firing<'_>,
    now: Time,
) -> Result<(), StoreError> {
    let record = opened(rules, fingerprint, alert, now);
    let key = keys::incident(&record.id);
    let txn = Txn::new()
        .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
        .when(Compare::create_revision(&key, 0))
        .then(Op::put_json(&key, &record)?)
        .otherwise(Op::get(keys::ALERTING_LEADER));
    let outcome = shared.context.client.txn(txn).await?;
    match outcome.succeeded || store::leads(fence, outcome.responses.first()) {
        true => Ok(()),
        false => Err(StoreError::Fenced),
    }
}

/// What people are called for who are called without the registry.
pub(super) fn finding(fingerprint: &str, alert: &Firing<'_>) -> Finding {
    let Firing { labels, active, expr } = alert;
    let mut details = active.annotations.clone();
    details.entry("query".to_owned()).or_insert_with(|| (*expr).to_owned());
    Finding {
        dedup_key: format!("alert/{fingerprint}"),
        title: title(alert),
        alert: labels.get("alertname").cloned().unwrap_or_default(),
        severity: severity(labels).to_owned(),
        labels: (*labels).clone(),
        details,
        source: "alert".to_owned(),
        escalation: None,
        started_at: time(active.fired_at_ms.unwrap_or(active.active_at_ms)),
    }
}

/// Its first line for people.
fn title(Firing { labels, active, .. }: &Firing<'_>) -> String {
    let said = |name: &str| active.annotations.get(name).filter(|text| !text.is_empty());
    let said = said("summary").or(said("title")).or(said("description"));
    let title = said.or(labels.get("alertname")).map_or("", String::as_str);
    shorten(title, TITLE_MAX)
}

fn severity(labels: &Labels) -> &str {
    labels.get("severity").map_or("critical", String::as_str)
}

fn opened(rules: &Rules, fingerprint: &str, firing: Firing<'_>, now: Time) -> Incident {
    let title = title(&firing);
    let Firing { labels, active, expr } = firing;
    let fired_at = time(active.fired_at_ms.unwrap_or(active.active_at_ms));
    let alert = labels.get("alertname").cloned().unwrap_or_default();
    let (id, began) = (id(fingerprint, fired_at), time(active.active_at_ms));
    let mut record = Incident::new(id, title, &alert, severity(labels), began, now);
    record.labels = labels.clone();
    record.details = active.annotations.clone();
    record.details.entry("query".to_owned()).or_insert_with(|| expr.to_owned());
    "alert".clone_into(&mut record.source);
    record.dedup_key = Some(format!("alert/{fingerprint}"));
    let mut note = |at, text: String| incident::note(&mut record, at, WATCHKEEP, text);
    note(time(active.active_at_ms), "the rule's expression holds".to_owned());
    note(fired_at, "the alert fires".to_owned());
    for (name, text) in &active.annotations {
        note(now, format!("{name}: {text}"));
    }
    incident::tell(&mut record, rules, None, now);
    record
}

/// Resolves the incident of an alert that fired since `fired_at`, if it is open.
pub(super) async fn resolve(
    shared: &Shared,
    fence: i64,
    fingerprint: &str,
    fired_at: Time,
    now: Time,
) -> Result<(), StoreError> {
    if !shared.settings.opens_incidents {
        return Ok(());
    }
    let id = id(fingerprint, fired_at);
    let resolved = update_incident(&shared.context.client, Some(fence), &id, |record| {
        incident::resolve(record, WATCHKEEP, "the rule's expression does not hold any more", now)
            .map(|()| true)
    });
    match resolved.await {
        Ok(_) | Err(StoreError::Missing(_) | StoreError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
