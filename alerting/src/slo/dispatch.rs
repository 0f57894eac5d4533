//! Sends scheduled reports: what is due and to whom is in the registry before anything is sent, and each outcome behind it.
//! So a new leader sends what is still pending, with the same idempotency key, and nothing that went out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{info, warn};
use watchkeep_catalog::{
    Client, ClientError, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{
    digest::Digest,
    engine::Engine,
    range::{Range, Wish},
    schedule::ReportSchedule,
    time::{HOUR_MS, floor, instant},
};
use crate::{
    context::Context,
    metrics::{DELIVERED, FAILED},
    post::{self, Post},
};

mod record;

use record::{Delivery, Dispatch};

/// How often is looked whether something is due.
const TICK: Duration = Duration::from_secs(2);
/// Longest wait for one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks every other second what is due, while this node leads.
pub(super) async fn run(
    engine: &Arc<Engine>,
    context: &Context,
    leader: watch::Receiver<Option<i64>>,
) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tidied = None;
    loop {
        tick.tick().await;
        let Some(fence) = *leader.borrow() else { continue };
        if !engine.world().is_ready() {
            continue;
        }
        if tidied != Some(fence) {
            match tidy(engine, fence).await {
                Ok(()) => tidied = Some(fence),
                Err(error) => warn!(%error, "records of former reports are not deleted yet"),
            }
        }
        for schedule in &engine.config.reports {
            let now = crate::clock::now();
            if let Err(error) = step(engine, context, schedule, fence, now).await {
                warn!(report = schedule.name, %error, "scheduled report not sent yet");
            }
        }
    }
}

/// Forgets reports that are not configured any more, so that one that comes again is a new one.
async fn tidy(engine: &Engine, fence: i64) -> Result<(), ClientError> {
    for key in engine.client.list_keys(keys::SLO_REPORTS).await? {
        let name = key.strip_prefix(keys::SLO_REPORTS).unwrap_or_default();
        if engine.config.reports.iter().all(|report| report.name != name) {
            let fence = Compare::create_revision(keys::ALERTING_LEADER, fence);
            engine.client.txn(Txn::new().when(fence).then(Op::delete(&key))).await?;
            info!(report = name, "a report that is not configured any more is forgotten");
        }
    }
    Ok(())
}

/// Decides what is due, then delivers what is pending.
async fn step(
    engine: &Engine,
    context: &Context,
    schedule: &ReportSchedule,
    fence: i64,
    now: Time,
) -> Result<(), ClientError> {
    let client = &engine.client;
    let key = keys::slo_report(&schedule.name);
    let found = client.get(&key).await?;
    let mut revision = found.as_ref().map_or(0, |kv| kv.mod_revision);
    let zone = engine.config.zone();
    let known = match found {
        Some(kv) => kv.json::<Dispatch>()?.under(schedule, zone, now),
        None => Err(Dispatch::new(schedule, zone, now)),
    };
    let mut record = match known {
        Ok(known) => known,
        Err(heard_of) => {
            write(client, &key, &heard_of, (fence, revision)).await?;
            return Ok(());
        }
    };
    if let Some(due) = schedule.due(zone, record.after(), now) {
        let deliveries = deliveries(context, schedule);
        record = Dispatch { due, deliveries, ..Dispatch::new(schedule, zone, now) };
        match write(client, &key, &record, (fence, revision)).await? {
            Some(written) => revision = written,
            None => return Ok(()),
        }
    }
    if !record.deliveries.iter().any(|delivery| delivery.is_due(now)) {
        return Ok(());
    }
    let due = record.due;
    let range = range(engine, schedule, due);
    let digest = match range {
        Ok(range) => compose(engine, context, schedule, due, &range).await,
        Err(error) => Err(error),
    };
    for at in 0..record.deliveries.len() {
        if !record.deliveries[at].is_due(now) {
            continue;
        }
        let delivery = &record.deliveries[at];
        let outcome = match &digest {
            Ok(digest) => deliver(context, schedule, digest, delivery).await,
            Err(error) => Err(error.clone()),
        };
        let result = if outcome.is_ok() { DELIVERED } else { FAILED };
        let counted = &context.metrics.notifications;
        counted.with_label_values(&[delivery.channel.as_str(), result]).inc();
        match &outcome {
            Ok(()) => info!(report = schedule.name, receiver = delivery.receiver, "report sent"),
            Err(error) => {
                warn!(
                    report = schedule.name,
                    receiver = delivery.receiver,
                    error,
                    "report not sent"
                );
            }
        }
        record.deliveries[at].attempted(outcome, crate::clock::now());
        match write(client, &key, &record, (fence, revision)).await? {
            Some(written) => revision = written,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Everybody whom a report goes to, by every way that they have.
fn deliveries(context: &Context, schedule: &ReportSchedule) -> Vec<Delivery> {
    let ways = |name: &String| {
        let contact = context.rules.contacts.get(name);
        let email = contact.and_then(|c| c.email.as_ref()).map(|_| Delivery::new(name, "email"));
        let webhook = contact.and_then(|c| c.webhook.as_ref());
        [email, webhook.map(|_| Delivery::new(name, "webhook"))].into_iter().flatten()
    };
    schedule.to.iter().flat_map(ways).collect()
}

/// Writes the record while this node leads and nobody else has; the revision, or nothing.
async fn write(
    client: &Client,
    key: &str,
    record: &Dispatch,
    (fence, revision): (i64, i64),
) -> Result<Option<i64>, ClientError> {
    let txn = Txn::new()
        .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
        .when(Compare::mod_revision(key, revision))
        .then(Op::put_json(key, record)?);
    let outcome = client.txn(txn).await?;
    Ok(outcome.succeeded.then_some(outcome.revision))
}

/// The span that a report which was due then is about.
fn range(engine: &Engine, schedule: &ReportSchedule, due: Time) -> Result<Range, String> {
    let zone = schedule.zone(engine.config.zone());
    let wish = Wish { window: Some(schedule.window()), ..Wish::default() };
    let at = due.timestamp_millis();
    let mut range = Range::of(wish, zone, at, engine.config.retention_days)?;
    // It ends when it was due, whenever it is sent; hours are counted whole.
    range.to = floor(range.to, HOUR_MS);
    Ok(range)
}

async fn compose<'a>(
    engine: &Engine,
    context: &'a Context,
    schedule: &'a ReportSchedule,
    due: Time,
    range: &Range,
) -> Result<Digest<'a>, String> {
    let zone = schedule.zone(engine.config.zone());
    let known = engine.world().services();
    let chosen = known.into_iter().filter(|service| {
        schedule.services.is_empty() || schedule.services.iter().any(|wanted| wanted == service)
    });
    let mut services = Vec::new();
    for service in chosen {
        let now = crate::clock::now().timestamp_millis();
        let detail = engine.detail(&service, range, zone, now).await;
        services.push(detail.map_err(|error| error.to_string())?);
    }
    let mut digest = Digest {
        report: &schedule.name,
        due,
        window: schedule.window(),
        from: instant(range.from),
        to: instant(range.to),
        url: &context.url,
        services,
    };
    digest.sort();
    Ok(digest)
}

/// One attempt.
async fn deliver(
    context: &Context,
    schedule: &ReportSchedule,
    digest: &Digest<'_>,
    delivery: &Delivery,
) -> Result<(), String> {
    let contacts: &BTreeMap<_, _> = &context.rules.contacts;
    let contact = contacts.get(&delivery.receiver);
    let gone = || format!("{:?} is not configured any more", delivery.receiver);
    let contact = contact.ok_or_else(gone)?;
    let id = format!(
        "report.{}.{}.{}.{}",
        schedule.name,
        digest.due.timestamp(),
        delivery.receiver,
        delivery.channel
    );
    let now = crate::clock::now();
    if delivery.channel == "email" {
        let mailer = context.mailer.as_ref().ok_or("there is no mail server any more: set smtp")?;
        let to = contact.email.as_ref().ok_or_else(gone)?;
        let parts = (digest.plain(), digest.html());
        let message = mailer.letter(to, &id, &digest.subject(), parts, now)?;
        return mailer.send(message).await.map_err(crate::notify::Failure::into_text);
    }
    let request = Post {
        url: contact.webhook.as_ref().ok_or_else(gone)?,
        idempotency_key: &id,
        secret: context.page_secrets.get(&delivery.receiver),
        trace_parent: None,
        fencing_token: None,
        body: serde_json::to_vec(digest).map_err(|error| error.to_string())?,
        timeout: TIMEOUT,
        timestamp: now.timestamp(),
    };
    post::send(&context.http, request).await.error.map_or(Ok(()), Err)
}
