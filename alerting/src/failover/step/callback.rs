//! A URL is called until it answers as expected: signed, with a key that is the same at every attempt, a fencing token, a
//! deadline, and pauses with jitter.

use std::time::Duration;

use chrono::TimeDelta;
use regex::Regex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tracing::{Instrument, info_span, warn};
use watchkeep_catalog::{
    Attempt, Failover, Time,
    trace::{set_parent, trace_parent},
};

use super::{Deposed, Outcome, Run, interrupted, key, millis};
use crate::{
    backoff, clock,
    config::{Callback, Keys},
    failover::{Interrupt, plan},
    metrics::{DELIVERED, FAILED},
    mirror::Versioned,
    post::{self, Answer, Expected, Post},
    store::Extra,
    text::{address, shorten},
};

/// Longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Most of a request that is kept in the journal, in characters.
const REQUEST_MAX: usize = 2_000;
/// Attempts in the journal, which with its incident has to fit into one request to the registry.
const ATTEMPTS_KEPT: usize = 500;

/// The body; the same bytes at every attempt.
#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    idempotency_key: &'a str,
    fencing_token: i64,
    policy: &'a str,
    service: &'a str,
    instance: &'a str,
    reason: &'a str,
    decided_at: Time,
    incident: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<&'a str>,
    /// The step's name, where there are steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<u32>,
    /// In the last call: why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    undo: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rehearsal: bool,
}

/// What one step sends.
struct Call<'a> {
    url: &'a str,
    key: &'a str,
    body: Vec<u8>,
    callback: &'a Callback,
}

/// The body of a step's call.
fn body(
    failover: &Versioned<Failover>,
    key: &str,
    step: Option<&str>,
    wanted: Option<u32>,
    undo: bool,
) -> Vec<u8> {
    let record = &failover.record;
    let body = Body {
        version: 1,
        idempotency_key: key,
        fencing_token: failover.create_revision,
        policy: &record.policy,
        service: &record.service,
        instance: &record.instance,
        reason: &record.reason,
        decided_at: record.decided_at,
        incident: &record.incident,
        candidate: record.candidate.as_deref(),
        step,
        wanted,
        failure: record.failure.as_deref(),
        undo,
        rehearsal: record.rehearsal,
    };
    // Strings, numbers and an instant always have a JSON form.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// Makes the request of one attempt at `timestamp` (seconds since 1970).
fn request<'a>(
    call: &Call<'a>,
    failover: &Versioned<Failover>,
    secret: Option<&'a Keys>,
    trace_parent: Option<String>,
    timestamp: i64,
) -> Post<'a> {
    Post {
        url: call.url,
        idempotency_key: call.key,
        secret,
        trace_parent: Some(trace_parent.unwrap_or_else(|| untraced(&failover.record.id))),
        fencing_token: Some(failover.create_revision),
        body: call.body.clone(),
        timeout: millis(call.callback.timeout_ms),
        timestamp,
    }
}

/// A `traceparent` for a failover that nobody traces, so that the receiver's own trace has a root that is the
/// same at every attempt. Its flags say that it is not sampled.
fn untraced(id: &str) -> String {
    let digest = hex::encode(Sha256::digest(id.as_bytes()));
    format!("00-{}-{}-00", &digest[..32], &digest[32..48])
}

/// Calls; `wanted` is the count of a scale request.
pub(super) async fn call(
    run: &mut Run<'_>,
    at: usize,
    callback: &Callback,
    wanted: Option<u32>,
) -> Result<Outcome, Deposed> {
    let key = key(run, at);
    let is_shorthand =
        run.policy.steps.is_empty() && run.failover.record.steps[at].name == "callback";
    let name = run.failover.record.steps[at].name.clone();
    let step = (!is_shorthand).then_some(name.as_str());
    let body = body(&run.failover, &key, step, wanted, false);
    deliver(run, at, Call { url: &callback.url, key: &key, body, callback }).await
}

/// Calls the URL that undoes it.
pub(super) async fn undo(
    run: &mut Run<'_>,
    at: usize,
    callback: &Callback,
) -> Result<Outcome, Deposed> {
    let Some(url) = &callback.undo_url else {
        return Ok(Outcome::done("there is nothing to undo"));
    };
    let (key, name) = (key(run, at), run.failover.record.steps[at].name.clone());
    let body = body(&run.failover, &key, Some(&name), None, true);
    deliver(run, at, Call { url, key: &key, body, callback }).await
}

/// One attempt after the other, each in the journal before the next.
async fn deliver(run: &mut Run<'_>, at: usize, call: Call<'_>) -> Result<Outcome, Deposed> {
    let callback = call.callback;
    let (number, round) =
        (u32::try_from(at).unwrap_or(u32::MAX), run.failover.record.steps[at].round);
    let deadline = callback.deadline_seconds.and_then(|seconds| {
        Some(run.failover.record.steps[at].started_at? + TimeDelta::seconds(i64::from(seconds)))
    });
    let text = format!("POST {} {}", address(call.url), String::from_utf8_lossy(&call.body));
    let shorthand = run.policy.steps.is_empty();
    if !shorthand {
        run.failover.record.steps[at].request = shorten(&text, REQUEST_MAX);
    }
    loop {
        let of_step = |attempt: &&Attempt| attempt.step == number && attempt.round == round;
        let mut attempts = run.failover.record.attempts.iter().filter(of_step);
        let made = u32::try_from(attempts.clone().count()).unwrap_or(u32::MAX);
        let last = attempts.next_back().and_then(|a| a.error.clone()).unwrap_or_default();
        if made >= callback.attempts_max {
            return Ok(Outcome::Failed(format!("{made} attempts failed, the last: {last}")));
        }
        if deadline.is_some_and(|deadline| clock::now() >= deadline) {
            let seconds = callback.deadline_seconds.unwrap_or_default();
            let why = format!("not done within {seconds} s, {made} attempts, the last: {last}");
            return Ok(Outcome::Failed(why));
        }
        // Whoever has had to wait may have been stopped meanwhile.
        let context = run.context;
        let free = context.callbacks.try_acquire().ok();
        let waited = made > 0 || free.is_none();
        let permit = match free {
            Some(free) => Some(free),
            // The semaphore is never closed.
            None => context.callbacks.acquire().await.ok(),
        };
        if waited && let Some(interrupt) = interrupted(run).await? {
            return Ok(Outcome::Interrupted(interrupt));
        }
        let (attempt, may_be_taken) = attempt(run, &call, made + 1).await;
        let attempt = Attempt { step: number, round, ..attempt };
        run.uncertain |= may_be_taken && plan::has_effect(&run.failover.record.steps[at]);
        drop(permit);
        let delivered = attempt.error.is_none();
        let (status, ms) = (attempt.status.unwrap_or_default(), attempt.duration_ms);
        enter(&mut run.record().attempts, attempt);
        if delivered {
            let said = format!("{} answered {status} in {ms:.0} ms", address(call.url));
            return Ok(Outcome::done(said));
        }
        if let Some(interrupt) = run.write(Extra { acts: true, ..Extra::default() }, None).await? {
            return Ok(Outcome::Interrupted(interrupt));
        }
        if run.failover.record.aborted_by.is_some() {
            return Ok(Outcome::Interrupted(Interrupt::Aborted));
        }
        if made + 1 < callback.attempts_max {
            let pause =
                backoff::pause(made + 1, millis(callback.backoff_ms), BACKOFF_MAX, &mut run.rng);
            tokio::time::sleep(pause).await;
            if run.is_called_off().await {
                return Ok(Outcome::Interrupted(Interrupt::CalledOff));
            }
        }
    }
}

/// One attempt, and whether it may have been taken although it failed.
async fn attempt(run: &Run<'_>, call: &Call<'_>, number: u32) -> (Attempt, bool) {
    let (context, record) = (run.context, &run.failover.record);
    let span = info_span!(
        "callback",
        otel.kind = "client",
        policy = run.policy.name,
        service = record.service,
        instance = record.instance,
        failover = record.id,
        attempt = number,
        status = tracing::field::Empty,
        error = tracing::field::Empty,
    );
    set_parent(&span, record.trace_parent.as_deref());
    async {
        let at = clock::now();
        let begun = tokio::time::Instant::now();
        let parent = trace_parent(&span).or_else(|| record.trace_parent.clone());
        let file = call.callback.secret_file.as_ref();
        let secret = file.and_then(|file| context.callback_secrets.get(file));
        let request = request(call, &run.failover, secret, parent, at.timestamp());
        let rehearsal: &[(&str, &str)] =
            if record.rehearsal { &[("Watchkeep-Rehearsal", "true")] } else { &[] };
        let answer = match expected(call.callback) {
            Ok(expected) => post::ask(&context.http, request, rehearsal, &expected).await,
            Err(why) => {
                let (status, body, may_be_taken) = (None, String::new(), false);
                Answer { status, error: Some(why), body, may_be_taken, wait: None }
            }
        };
        let took = begun.elapsed();
        if !record.rehearsal {
            let result = if answer.error.is_none() { DELIVERED } else { FAILED };
            context.metrics.callback_seconds.observe(took.as_secs_f64());
            context.metrics.callbacks.with_label_values(&[run.policy.name.as_str(), result]).inc();
        }
        span.record("status", answer.status);
        if let Some(error) = &answer.error {
            span.record("error", error);
            warn!(failover = record.id, url = address(call.url), error, "callback not delivered");
        }
        let duration_ms = took.as_secs_f64() * 1e3;
        let Answer { status, error, body, may_be_taken, .. } = answer;
        let attempt = Attempt { at, duration_ms, status, error, step: 0, round: 0, answer: body };
        (attempt, may_be_taken)
    }
    .instrument(span.clone())
    .await
}

/// Adds an attempt; beyond the maximum the oldest of another step or round makes room: those of its own are counted.
fn enter(attempts: &mut Vec<Attempt>, attempt: Attempt) {
    if attempts.len() >= ATTEMPTS_KEPT {
        let own = (attempt.step, attempt.round);
        if let Some(at) = attempts.iter().position(|known| (known.step, known.round) != own) {
            attempts.remove(at);
        }
    }
    attempts.push(attempt);
}

fn expected(callback: &Callback) -> Result<Expected, String> {
    let Some(expect) = &callback.expect else { return Ok(Expected::default()) };
    let body = expect.body.as_deref().map(Regex::new).transpose();
    let body = body.map_err(|error| format!("expect.body: {error}"))?;
    Ok(Expected { status: expect.status.clone(), body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{opened_failover, rules};

    #[test]
    fn attempts_have_a_maximum_and_those_of_the_step_stay() {
        let attempt = |step, round| Attempt {
            at: crate::fixtures::time(0),
            duration_ms: 1.0,
            status: None,
            error: Some("e".to_owned()),
            step,
            round,
            answer: String::new(),
        };
        let mut attempts = Vec::new();
        for round in 0..30 {
            for _ in 0..100 {
                enter(&mut attempts, attempt(3, round));
                assert!(attempts.len() <= ATTEMPTS_KEPT);
            }
            assert_eq!(attempts.iter().filter(|a| a.round == round).count(), 100);
        }
    }

    #[test]
    fn every_attempt_has_the_same_body_key_and_token() {
        let rules = rules();
        let callback = rules.policies[0].callback.as_ref().unwrap();
        let failover =
            Versioned { record: opened_failover(), create_revision: 42, mod_revision: 42 };
        let mut later = failover.clone();
        later.mod_revision = 99;
        let key = failover.record.id.clone();
        let call = |failover: &Versioned<Failover>| Call {
            url: &callback.url,
            key: &key,
            body: body(failover, &key, None, None, false),
            callback,
        };
        let (one, two) = (call(&failover), call(&later));
        let first = request(&one, &failover, None, None, 1);
        let second = request(&two, &later, None, None, 2);
        assert_eq!(first.body, second.body);
        assert_eq!(first.trace_parent, second.trace_parent);
        assert_eq!(first.trace_parent.as_ref().map(String::len), Some(55));
        assert_eq!(
            (second.idempotency_key, second.fencing_token),
            ("20260105-090000-06565308.any-primary", Some(42))
        );
        let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
        insta::assert_snapshot!("body", serde_json::to_string_pretty(&body).unwrap());
    }
}
