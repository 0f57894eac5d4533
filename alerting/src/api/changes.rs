//! What people change in a schedule: `/v1/oncall/schedules/{name}/changes[/{id}[/take]]`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use watchkeep_catalog::{
    ChangeKind, ScheduleChange, Time,
    client::{Compare, Op, Txn},
    keys, read_json,
};

use super::{Problem, check_id, oncall::schedule};
use crate::{
    clock,
    context::Context,
    incident::{check_by, digest},
    oncall,
    rules::Rules,
};

/// Longest body, in bytes.
const BODY_MAX: usize = 128 * 1024;
/// Changes of one schedule that are not over.
const CHANGES_MAX: usize = 1_000;

#[derive(Serialize)]
pub(super) struct List {
    changes: Vec<ScheduleChange>,
}

/// Those that are not over, and the last ones that are, in the order in which they take effect.
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Result<Json<List>, Problem> {
    let schedule = schedule(&context.rules, Some(&name))?;
    let mut changes = oncall::read_changes(&context.client).await?;
    Ok(Json(List { changes: changes.remove(&schedule.name).unwrap_or_default() }))
}

/// A change without what is filled in here.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct New {
    from: Time,
    to: Time,
    #[serde(flatten)]
    change: ChangeKind,
    by: String,
    #[serde(default)]
    comment: String,
}

pub(super) async fn create(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<ScheduleChange>), Problem> {
    let schedule = schedule(&context.rules, Some(&name))?;
    let example = "{\"kind\": \"override\", \"person\": \"bob\", \"from\": \"2026-01-05T09:00:00Z\", \
                   \"to\": \"2026-01-05T17:00:00Z\", \"by\": \"alice\"}";
    let New { from, to, change, by, comment } = read(&body, example)?;
    let now = clock::now();
    let seed = format!("{}/{}/{name}/{from}/{by}", context.id, now.timestamp_micros());
    let change = ScheduleChange {
        id: format!("{}-{}", kind(&change), &digest(&seed)[..8]),
        schedule: schedule.name.clone(),
        from,
        to,
        change,
        by,
        decided_at: now,
        comment,
    };
    check(&context.rules, &change)?;
    let known = oncall::read_changes(&context.client).await?;
    let others = known.get(&name).map_or(&[][..], Vec::as_slice);
    oncall::check_effect(schedule, others, &change, now).map_err(Problem::bad_request)?;
    let current = others.iter().filter(|change| change.end() > now);
    if current.count() >= CHANGES_MAX {
        return Err(Problem(
            StatusCode::CONFLICT,
            format!("schedule {name} has {CHANGES_MAX} changes already: remove some"),
        ));
    }
    let key = keys::schedule_change(&name, &change.id);
    let txn = Txn::new().when(Compare::create_revision(&key, 0)).then(Op::put_json(&key, &change)?);
    if !context.client.txn(txn).await?.succeeded {
        return Err(Problem(StatusCode::CONFLICT, format!("change {} exists already", change.id)));
    }
    Ok((StatusCode::CREATED, Json(change)))
}

fn kind(change: &ChangeKind) -> &'static str {
    match change {
        ChangeKind::Override { .. } => "override",
        ChangeKind::Swap { .. } => "swap",
        ChangeKind::Temporary { .. } => "temporary",
    }
}

fn check(rules: &Rules, change: &ScheduleChange) -> Result<(), Problem> {
    check_by(&change.by).map_err(Problem::bad_request)?;
    oncall::check_change(change).map_err(Problem::bad_request)?;
    for person in change.people() {
        rules.check_person(person).map_err(|refusal| Problem::bad_request(refusal.to_string()))?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Take {
    by: String,
}

/// A colleague takes an offered swap.
pub(super) async fn take(
    State(context): State<Arc<Context>>,
    Path((name, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<ScheduleChange>, Problem> {
    let Take { by } = read(&body, "{\"by\": \"bob\"}")?;
    let (mut change, revision) = find(&context, &name, &id).await?;
    let ChangeKind::Swap { taker, .. } = &mut change.change else {
        return Err(Problem::bad_request(format!("{id} is not a swap")));
    };
    if let Some(taker) = taker {
        return Err(Problem(
            StatusCode::CONFLICT,
            format!("swap {id} was taken by {taker} already"),
        ));
    }
    *taker = Some(by);
    let now = clock::now();
    change.decided_at = now;
    check(&context.rules, &change)?;
    let known = oncall::read_changes(&context.client).await?;
    let others = known.get(&name).map_or(&[][..], Vec::as_slice);
    let others: Vec<_> = others.iter().filter(|other| other.id != id).cloned().collect();
    let schedule = schedule(&context.rules, Some(&name))?;
    oncall::check_effect(schedule, &others, &change, now).map_err(Problem::bad_request)?;
    let key = keys::schedule_change(&name, &id);
    let txn =
        Txn::new().when(Compare::mod_revision(&key, revision)).then(Op::put_json(&key, &change)?);
    if !context.client.txn(txn).await?.succeeded {
        return Err(Problem(
            StatusCode::CONFLICT,
            format!("swap {id} was changed by somebody else just now: look again"),
        ));
    }
    Ok(Json(change))
}

pub(super) async fn remove(
    State(context): State<Arc<Context>>,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (_, revision) = find(&context, &name, &id).await?;
    let key = keys::schedule_change(&name, &id);
    let txn = Txn::new().when(Compare::mod_revision(&key, revision)).then(Op::delete(&key));
    if context.client.txn(txn).await?.succeeded {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem(
        StatusCode::CONFLICT,
        format!("{id} was changed by somebody else just now: look again"),
    ))
}

async fn find(context: &Context, name: &str, id: &str) -> Result<(ScheduleChange, i64), Problem> {
    schedule(&context.rules, Some(name))?;
    check_id("change", id)?;
    match context.client.get(&keys::schedule_change(name, id)).await? {
        Some(kv) => Ok((kv.json()?, kv.mod_revision)),
        None => Err(Problem::not_found(format!("schedule {name} has no change {id}"))),
    }
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Problem> {
    if body.len() > BODY_MAX {
        let size = body.len();
        return Err(Problem::bad_request(format!("the body has {size} bytes: at most {BODY_MAX}")));
    }
    read_json(body).map_err(|error| {
        Problem::bad_request(format!("the body is wrong: {error}; such as {example}"))
    })
}
