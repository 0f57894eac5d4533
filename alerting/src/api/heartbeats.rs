//! `/v1/heartbeats/{name}`: a sign of life of something that reports by itself.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use watchkeep_catalog::{Heartbeat, Time, keys};

use super::Problem;
use crate::{
    clock,
    config::{HeartbeatConfig, undefined},
    context::Context,
    room::deadline,
};

#[derive(Serialize)]
pub(super) struct Known {
    name: String,
    /// When it came last; none: never.
    at: Option<Time>,
    /// Until when the next one has to come.
    deadline: Option<Time>,
    late: bool,
}

/// `POST`: it is alive.
pub(super) async fn beat(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Result<Json<Known>, Problem> {
    let config = config(&context, &name)?;
    let heartbeat = Heartbeat { name, at: clock::now() };
    context.client.put_json(&keys::heartbeat(&heartbeat.name), &heartbeat, 0).await?;
    Ok(Json(known(config, Some(&heartbeat))))
}

/// `GET`: when it came last.
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
) -> Result<Json<Known>, Problem> {
    let config = config(&context, &name)?;
    let last: Option<Heartbeat> = match context.client.get(&keys::heartbeat(&name)).await? {
        Some(kv) => Some(kv.json()?),
        None => None,
    };
    Ok(Json(known(config, last.as_ref())))
}

fn known(config: &HeartbeatConfig, last: Option<&Heartbeat>) -> Known {
    let deadline = last.map(|last| deadline(config, last));
    Known {
        name: config.name.clone(),
        at: last.map(|last| last.at),
        deadline,
        late: deadline.is_some_and(|deadline| deadline < clock::now()),
    }
}

fn config<'a>(context: &'a Context, name: &str) -> Result<&'a HeartbeatConfig, Problem> {
    let all = &context.rules.heartbeats;
    all.iter().find(|config| config.name == name).ok_or_else(|| {
        let defined: Vec<_> = all.iter().map(|config| config.name.as_str()).collect();
        Problem::not_found(undefined("heartbeat", name, &defined))
    })
}
