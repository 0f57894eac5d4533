//! `GET /v1/failovers` and `GET /v1/failovers/{id}`: the journal, with each one's fencing token.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use watchkeep_catalog::{ClientError, Failover, KeyValue, keys};

use super::{Problem, check_id};
use crate::context::Context;

#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    failover: Failover,
    fencing_token: i64,
}

#[derive(Serialize)]
pub(super) struct List {
    failovers: Vec<Shown>,
}

fn shown(kv: &KeyValue) -> Result<Shown, ClientError> {
    Ok(Shown { failover: kv.json()?, fencing_token: kv.create_revision })
}

/// The latest first. A record that cannot be read is left out: the mirror has warned of it.
pub(super) async fn list(State(context): State<Arc<Context>>) -> Result<Json<List>, Problem> {
    let (kvs, _) = context.client.list(keys::FAILOVERS).await?;
    let mut failovers: Vec<_> = kvs.iter().filter_map(|kv| shown(kv).ok()).collect();
    failovers.sort_by_key(|shown| std::cmp::Reverse(shown.fencing_token));
    Ok(Json(List { failovers }))
}

pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    check_id("failover", &id)?;
    match context.client.get(&keys::failover(&id)).await? {
        Some(kv) => Ok(Json(shown(&kv)?)),
        None => Err(Problem::not_found(format!("failover {id} does not exist"))),
    }
}
