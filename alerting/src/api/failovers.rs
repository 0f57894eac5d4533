//! `/v1/failovers`: the journal, with each one's fencing token, and what people do with it: confirm, end, rehearse, stop all.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use watchkeep_catalog::{
    ClientError, Failover, FailoverMode, FailoverState, FailoverStop, KeyValue, check_name, keys,
};

use super::{Asked, Problem, changes::read, check_id, pages::Page};
use crate::{
    clock, config::FailoverPolicy, context::Context, failover::control, incident::check_by,
    mirror::Versioned, store, text::address,
};

#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    failover: Failover,
    fencing_token: i64,
}

#[derive(Serialize)]
pub(super) struct List {
    failovers: Vec<Shown>,
    /// There are older ones: they are before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<Wanted>,
    service: Option<String>,
    policy: Option<String>,
    limit: Option<usize>,
    before: Option<i64>,
}

/// A state by its word.
struct Wanted(FailoverState);

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        let found = FailoverState::ALL.into_iter().find(|state| state.as_str() == word);
        found.map(Self).ok_or_else(|| {
            let all = FailoverState::ALL.map(FailoverState::as_str).join(", ");
            D::Error::custom(format!("give one of {all}"))
        })
    }
}

impl Filter {
    fn is_any(&self) -> bool {
        self.state.is_none() && self.service.is_none() && self.policy.is_none()
    }

    /// A record that cannot be read is left out: the mirror has warned of it.
    fn take(&self, kv: &KeyValue) -> Option<Shown> {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
        if !self.is_any() {
            // Journals are long: what is not asked for is not read as a whole.
            let facts: Facts = kv.json().ok()?;
            if !(self.state.as_ref().is_none_or(|wanted| wanted.0 == facts.state)
                && is(&self.service, &facts.service)
                && is(&self.policy, &facts.policy))
            {
                return None;
            }
        }
        shown(kv).ok()
    }
}

/// What is asked for by.
#[derive(Deserialize)]
struct Facts {
    state: FailoverState,
    service: String,
    policy: String,
}

fn shown(kv: &KeyValue) -> Result<Shown, ClientError> {
    Ok(Shown { failover: kv.json()?, fencing_token: kv.create_revision })
}

impl From<Versioned<Failover>> for Shown {
    fn from(known: Versioned<Failover>) -> Self {
        Self { failover: known.record, fencing_token: known.create_revision }
    }
}

/// The latest first.
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Asked(filter): Asked<Filter>,
) -> Result<Json<List>, Problem> {
    let page = Page::read(filter.limit, filter.before)?;
    let take = |kv: &KeyValue| filter.take(kv);
    let (failovers, next) =
        page.of(&context.client, keys::FAILOVERS, filter.is_any(), take).await?;
    Ok(Json(List { failovers, next }))
}

pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    check_id("failover", &id)?;
    match context.client.get(&keys::failover(&id)).await? {
        Some(kv) => Ok(Json(shown(&kv)?)),
        None => Err(Problem::not_found(format!(
            "failover {id} does not exist: /v1/failovers lists them"
        ))),
    }
}

/// Who does it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct By {
    by: String,
}

fn by(body: &Bytes) -> Result<String, Problem> {
    let By { by } = read(body, "{\"by\":\"alice\"}")?;
    check_by(&by).map_err(Problem::bad_request)?;
    Ok(by)
}

/// `POST /v1/failovers/{id}/approve`.
pub(super) async fn approve(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Shown>, Problem> {
    check_id("failover", &id)?;
    let by = by(&body)?;
    let done = control::approve(&context.client, &id, &by, clock::now(), |_| Ok(())).await?;
    Ok(Json(done.into()))
}

/// `POST /v1/failovers/{id}/abort`.
pub(super) async fn abort(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Shown>, Problem> {
    check_id("failover", &id)?;
    let by = by(&body)?;
    let done = control::abort(&context.client, &id, &by, clock::now(), |_| Ok(())).await?;
    Ok(Json(done.into()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rehearsal {
    policy: String,
    service: String,
    #[serde(default)]
    instance: String,
    by: String,
}

/// `POST /v1/failovers/rehearsals`.
pub(super) async fn rehearse(
    State(context): State<Arc<Context>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let example = "{\"policy\":\"db\",\"service\":\"db\",\"instance\":\"db-1\",\"by\":\"alice\"}";
    let asked: Rehearsal = read(&body, example)?;
    check_by(&asked.by).map_err(Problem::bad_request)?;
    let wrong = |error: watchkeep_catalog::NameError| Problem::bad_request(error.to_string());
    check_name("service", &asked.service).map_err(wrong)?;
    if !asked.instance.is_empty() {
        check_name("instance", &asked.instance).map_err(wrong)?;
        let key = keys::instance(&asked.service, &asked.instance);
        if context.client.get(&key).await?.is_none() {
            let about = format!("{}/{}", asked.service, asked.instance);
            return Err(Problem::not_found(format!("instance {about} is not registered")));
        }
    }
    let Some(policy) = context.rules.policy(&asked.policy) else {
        let known: Vec<_> = context.rules.policies.iter().map(|p| p.name.as_str()).collect();
        let text = crate::config::undefined("failover policy", &asked.policy, &known);
        return Err(Problem::not_found(text));
    };
    let (client, now) = (&context.client, clock::now());
    let Rehearsal { service, instance, by, .. } = &asked;
    let begun = control::rehearse(client, policy, service, instance, by, now).await?;
    Ok((StatusCode::CREATED, Json(Shown::from(begun))).into_response())
}

#[derive(Serialize)]
pub(super) struct Switch {
    stopped: bool,
    #[serde(flatten)]
    stop: Option<FailoverStop>,
    enabled: bool,
}

/// `GET /v1/failover-stop`.
pub(super) async fn switch(State(context): State<Arc<Context>>) -> Result<Json<Switch>, Problem> {
    let kv = context.client.get(keys::FAILOVER_STOP).await?;
    let stop = kv.as_ref().map(store::stop_of);
    let enabled = context.rules.failover_enabled;
    Ok(Json(Switch { stopped: stop.is_some(), stop, enabled }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    by: String,
    #[serde(default)]
    reason: String,
}

/// `PUT /v1/failover-stop`: from the answer on, no failover begins and none goes on.
pub(super) async fn stop(
    State(context): State<Arc<Context>>,
    body: Bytes,
) -> Result<Json<Switch>, Problem> {
    let Stop { by, reason } = read(&body, "{\"by\":\"alice\",\"reason\":\"a migration\"}")?;
    check_by(&by).map_err(Problem::bad_request)?;
    let reason = crate::text::shorten(&reason, 300);
    tracing::warn!(by, reason, "failovers are stopped");
    control::stop(&context.client, &FailoverStop { since: clock::now(), by, reason }).await?;
    switch(State(context)).await
}

/// `DELETE /v1/failover-stop`: they happen again.
pub(super) async fn resume(State(context): State<Arc<Context>>) -> Result<Json<Switch>, Problem> {
    if control::resume(&context.client).await? {
        tracing::warn!("failovers are not stopped any more");
    }
    switch(State(context)).await
}

/// A policy in the answer, with the mode that it has when it names none.
#[derive(Serialize)]
struct ShownPolicy {
    #[serde(flatten)]
    policy: FailoverPolicy,
    effective_mode: FailoverMode,
}

/// What may be secret in a policy is not shown.
fn shown_policy(policy: &FailoverPolicy) -> ShownPolicy {
    let (mut policy, effective_mode) = (policy.clone(), policy.mode());
    for callback in policy.callbacks_mut() {
        callback.url = address(&callback.url);
        callback.undo_url = callback.undo_url.as_deref().map(address);
    }
    for script in policy.steps.iter_mut().filter_map(|step| step.script.as_mut()) {
        script.env.values_mut().for_each(|value| "…".clone_into(value));
    }
    ShownPolicy { policy, effective_mode }
}

/// `GET /v1/failover-policies`.
pub(super) async fn policies(State(context): State<Arc<Context>>) -> Json<serde_json::Value> {
    let policies: Vec<_> = context.rules.policies.iter().map(shown_policy).collect();
    Json(serde_json::json!({ "policies": policies }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_policy_are_not_shown() {
        let call = serde_json::json!({"url": "http://h/a?token=s3cret", "undo_url": "http://h/b?key=s3cret"});
        let policy: FailoverPolicy = serde_json::from_value(serde_json::json!({
            "name": "p", "when": {"service": "db"}, "hooks": {"before": call, "after": call},
            "steps": [{"callback": call}, {"scale": {"add": 1, "callback": call}},
                      {"script": {"command": "x", "env": {"PGPASSWORD": "s3cret"}}}],
        }))
        .unwrap();
        let text = serde_json::to_string(&shown_policy(&policy)).unwrap();
        assert!(!text.contains("s3cret") && text.contains("PGPASSWORD"), "{text}");
    }
}
