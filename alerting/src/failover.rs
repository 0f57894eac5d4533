//! Carrying out a failover that is decided: the callback, until it is delivered, given up or called off.
//!
//! The journal comes first: the record is `pending` in the registry before the first request leaves, and each
//! attempt's outcome is written behind it. A leader that dies in between leaves a pending record; the next one
//! calls again with the same idempotency key and the same fencing token (the create revision of the record's
//! key), so the receiver can do it once.

use std::{sync::Arc, time::Duration};

use tracing::{Instrument, info, info_span, warn};
use watchkeep_catalog::{
    Attempt, Failover, FailoverState, Incident, IncidentStatus, PageKind, keys,
    trace::{set_parent, trace_parent},
};

use crate::{
    backoff, clock,
    config::FailoverPolicy,
    context::Context,
    incident::{self, WATCHKEEP},
    metrics::{DELIVERED, FAILED},
    mirror::Versioned,
    post,
    store::{self, StoreError, Written},
};

mod callback;

/// Longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Pause while the registry does not take an outcome.
const PAUSE: Duration = Duration::from_millis(200);

/// How a failover ended.
enum End {
    Delivered,
    GivenUp(String),
    CalledOff(String),
}

/// Calls until it ends; answers with the records as they are then, or nothing when another node leads.
pub(crate) async fn execute(
    context: Arc<Context>,
    fence: i64,
    mut failover: Versioned<Failover>,
) -> Option<Written> {
    let policy = context.rules.policies.iter().find(|p| p.name == failover.record.policy);
    let Some(policy) = policy else {
        let why = format!("policy {} is not configured any more", failover.record.policy);
        return finish(&context, fence, failover, End::GivenUp(why)).await;
    };
    let mut rng = backoff::rng(&context.id, &failover.record.id);
    // What this leader decided itself a moment ago cannot be out of date.
    let mut fresh = failover.create_revision > fence;
    loop {
        if !fresh && let Some(why) = called_off(&context, &failover.record).await {
            return finish(&context, fence, failover, End::CalledOff(why)).await;
        }
        fresh = false;
        let made = u32::try_from(failover.record.attempts.len()).unwrap_or(u32::MAX);
        if made >= policy.callback.attempts_max {
            let last = failover.record.attempts.last().and_then(|a| a.error.clone());
            let why = format!("{made} attempts failed, the last: {}", last.unwrap_or_default());
            return finish(&context, fence, failover, End::GivenUp(why)).await;
        }
        let attempt = call(&context, policy, &failover).await;
        let delivered = attempt.error.is_none();
        failover.record.attempts.push(attempt);
        if delivered {
            return finish(&context, fence, failover, End::Delivered).await;
        }
        failover = write(&context, fence, failover, |_| false).await?.0;
        let base = Duration::from_millis(policy.callback.backoff_ms);
        let more = made + 1 < policy.callback.attempts_max;
        if more {
            tokio::time::sleep(backoff::pause(made + 1, base, BACKOFF_MAX, &mut rng)).await;
        }
    }
}

/// One attempt.
async fn call(
    context: &Context,
    policy: &FailoverPolicy,
    failover: &Versioned<Failover>,
) -> Attempt {
    let record = &failover.record;
    let span = info_span!(
        "callback",
        otel.kind = "client",
        policy = policy.name,
        service = record.service,
        instance = record.instance,
        failover = record.id,
        attempt = record.attempts.len() + 1,
        status = tracing::field::Empty,
        error = tracing::field::Empty,
    );
    set_parent(&span, record.trace_parent.as_deref());
    async {
        // The semaphore is never closed.
        let _permit = context.callbacks.acquire().await;
        let at = clock::now();
        let begun = tokio::time::Instant::now();
        let parent = trace_parent(&span).or_else(|| record.trace_parent.clone());
        let secret = context.callback_secrets.get(&policy.name);
        let request = callback::request(policy, failover, secret, parent, at.timestamp());
        let answer = post::send(&context.http, request).await;
        let took = begun.elapsed();
        let result = if answer.error.is_none() { DELIVERED } else { FAILED };
        context.metrics.callback_seconds.observe(took.as_secs_f64());
        context.metrics.callbacks.with_label_values(&[policy.name.as_str(), result]).inc();
        span.record("status", answer.status);
        if let Some(error) = &answer.error {
            span.record("error", error);
            warn!(failover = record.id, url = policy.callback.url, error, "callback not delivered");
        }
        let duration_ms = took.as_secs_f64() * 1e3;
        Attempt { at, duration_ms, status: answer.status, error: answer.error }
    }
    .instrument(span.clone())
    .await
}

/// Whether the reason for the failover is gone: its incident is resolved, by the verdict or by a person.
async fn called_off(context: &Context, failover: &Failover) -> Option<String> {
    // When the registry does not answer nothing is known, and the decision stands.
    let kv = context.client.get(&keys::incident(&failover.incident)).await.ok()??;
    let incident: Incident = kv.json().ok()?;
    (incident.status == IncidentStatus::Resolved)
        .then(|| "called off: its incident is resolved".to_owned())
}

/// Writes the end into the journal and the incident. A failover that failed is one more thing to page about.
async fn finish(
    context: &Context,
    fence: i64,
    mut failover: Versioned<Failover>,
    end: End,
) -> Option<Written> {
    let now = clock::now();
    let record = &mut failover.record;
    record.finished_at = Some(now);
    record.state = match end {
        End::Delivered => FailoverState::Delivered,
        End::GivenUp(_) | End::CalledOff(_) => FailoverState::Failed,
    };
    let (policy, attempts) = (record.policy.clone(), record.attempts.len());
    let text = match &end {
        End::Delivered => format!("failover {policy} delivered at attempt {attempts}"),
        End::GivenUp(why) => format!("failover {policy} failed: {why}"),
        End::CalledOff(why) => format!("failover {policy} {why}"),
    };
    info!(failover = record.id, "{text}");
    let gave_up = matches!(end, End::GivenUp(_));
    let written = write(context, fence, failover, |incident| {
        incident::note(incident, now, WATCHKEEP, text.clone());
        if gave_up && incident.status != IncidentStatus::Resolved {
            let to = context.rules.recipients(incident.on_call.as_deref());
            incident::page(incident, "failover-failed", PageKind::Firing, &to);
        }
        true
    })
    .await?;
    if let (End::Delivered, Some(incident)) = (&end, &written.1) {
        let delay = (now - incident.record.started_at).as_seconds_f64();
        context.metrics.fault_to_callback_seconds.observe(delay.max(0.0));
    }
    Some(written)
}

/// Writes until the registry has it; none when another node leads.
async fn write(
    context: &Context,
    fence: i64,
    failover: Versioned<Failover>,
    mut change: impl FnMut(&mut Incident) -> bool,
) -> Option<Written> {
    loop {
        match store::write_failover(&context.client, fence, failover.clone(), &mut change).await {
            Ok(written) => return Some(written),
            Err(StoreError::Fenced) => return None,
            // This task ends with the node's leadership, so it does not try for ever.
            Err(error) => warn!(failover = failover.record.id, %error, "outcome not written yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
