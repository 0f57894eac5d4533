//! `/api/v2/silences` and `/api/v2/silence/{id}`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use watchkeep_catalog::{
    AlertMatcher, AlertSilence, LabelSet, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{Problem, filters, misfit};
use crate::{
    alertmanager::{
        matcher::{Matcher, all_match},
        shared::Shared,
        silence::{Change, State as SilenceState, change, expired},
    },
    clock,
    text::instant,
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiMatcher {
    #[serde(default = "yes")]
    is_equal: bool,
    is_regex: bool,
    name: String,
    value: String,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Postable {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<ApiMatcher>,
    starts_at: Time,
    ends_at: Time,
    created_by: String,
    comment: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gettable {
    id: String,
    status: Value,
    updated_at: String,
    comment: String,
    created_by: String,
    ends_at: String,
    matchers: Vec<ApiMatcher>,
    starts_at: String,
}

fn gettable(silence: &AlertSilence, now: Time) -> Gettable {
    let matchers = silence.matchers.iter().map(|matcher| ApiMatcher {
        is_equal: matcher.is_equal,
        is_regex: matcher.is_regex,
        name: matcher.name.clone(),
        value: matcher.value.clone(),
    });
    Gettable {
        id: silence.id.clone(),
        status: json!({ "state": SilenceState::of(silence, now).as_str() }),
        updated_at: instant(silence.updated_at),
        comment: silence.comment.clone(),
        created_by: silence.created_by.clone(),
        ends_at: instant(silence.ends_at),
        matchers: matchers.collect(),
        starts_at: instant(silence.starts_at),
    }
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Gettable>>, Problem> {
    let pairs = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let texts: Vec<String> =
        pairs.filter(|(name, _)| name == "filter").map(|(_, value)| value.into_owned()).collect();
    let wanted: Vec<Matcher> = filters(&texts)?;
    let (board, now) = (shared.board(), clock::now());
    // A silence is asked for by what its matchers say, as if they were labels.
    let said = |silence: &AlertSilence| -> LabelSet {
        silence.matchers.iter().map(|m| (m.name.clone(), m.value.clone())).collect()
    };
    let mut found: Vec<&AlertSilence> =
        board.silences.iter().filter(|silence| all_match(&wanted, &said(silence))).collect();
    found.sort_by_key(|silence| order(silence, now));
    Ok(Json(found.into_iter().map(|silence| gettable(silence, now)).collect()))
}

/// Active ones first, the next to end before the others; then those that will begin, then those that ended.
fn order(silence: &AlertSilence, now: Time) -> (u8, i64) {
    match SilenceState::of(silence, now) {
        SilenceState::Active => (0, silence.ends_at.timestamp_millis()),
        SilenceState::Pending => (1, silence.starts_at.timestamp_millis()),
        SilenceState::Expired => (2, -silence.ends_at.timestamp_millis()),
    }
}

pub(super) async fn post(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let posted: Postable = match serde_json::from_slice(&body) {
        Ok(posted) => posted,
        Err(error) if error.is_data() => {
            return misfit(
                StatusCode::UNPROCESSABLE_ENTITY,
                602,
                format!("silence in body: {error}"),
            );
        }
        Err(error) => {
            let message = format!("parsing silence body from \"\" failed, because {error}");
            return misfit(StatusCode::BAD_REQUEST, 400, message);
        }
    };
    match set(&shared, posted).await {
        Ok(id) => Json(json!({ "silenceID": id })).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn set(shared: &Shared, posted: Postable) -> Result<String, Problem> {
    let now = clock::now();
    let matchers = posted.matchers.into_iter().map(|matcher| AlertMatcher {
        name: matcher.name,
        value: matcher.value,
        is_regex: matcher.is_regex,
        is_equal: matcher.is_equal,
    });
    let wanted = AlertSilence {
        id: posted.id.unwrap_or_default(),
        matchers: matchers.collect(),
        starts_at: posted.starts_at,
        ends_at: posted.ends_at,
        updated_at: now,
        created_by: posted.created_by,
        comment: posted.comment,
    };
    let known = match wanted.id.as_str() {
        "" => None,
        id => Some(read(shared, id).await?),
    };
    let said = format!("{wanted:?}");
    let id = || new_id(shared, &said, now);
    let before = known.as_ref().map(|(silence, _)| silence);
    let Change { write, expire } = change(wanted, before, now, id).map_err(Problem::bad_request)?;
    let id = write.id.clone();
    let revisions = known.map(|(silence, revision)| (silence.id, revision));
    store(shared, revisions, expire.into_iter().chain([write]).collect()).await?;
    Ok(id)
}

/// A UUID (version 8) of what the silence says, who takes it, and when.
fn new_id(shared: &Shared, said: &str, now: Time) -> String {
    let digest = Sha256::digest(format!("{}/{now:?}/{said}", shared.id).as_bytes());
    let mut bytes: Vec<u8> = digest.iter().copied().take(16).collect();
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A silence as the registry has it, and its revision.
async fn read(shared: &Shared, id: &str) -> Result<(AlertSilence, i64), Problem> {
    let missing = || Problem(StatusCode::NOT_FOUND, "silence not found".to_owned());
    if id.is_empty() || id.contains('/') {
        return Err(missing());
    }
    let found = shared.client.get(&keys::silence(id)).await?.ok_or_else(missing)?;
    Ok((found.json()?, found.mod_revision))
}

/// Into the registry, all at once so that nobody hears of what one silence hands over to the next, and unless the one that
/// is `known` has changed; and onto the board, so that whoever asks this node next sees it.
async fn store(
    shared: &Shared,
    known: Option<(String, i64)>,
    silences: Vec<AlertSilence>,
) -> Result<(), Problem> {
    let mut txn = Txn::new();
    for silence in &silences {
        txn = txn.then(Op::put_json(&keys::silence(&silence.id), silence)?);
    }
    if let Some((id, revision)) = known {
        txn = txn.when(Compare::mod_revision(&keys::silence(&id), revision));
    }
    let outcome = shared.client.txn(txn).await?;
    if !outcome.succeeded {
        let message = "the silence was changed by somebody else just now: try again";
        return Err(Problem(StatusCode::CONFLICT, message.to_owned()));
    }
    for silence in silences {
        // Its matchers were judged.
        let _ = shared.board_mut().silences.put(silence, outcome.revision);
    }
    shared.wake.notify_one();
    Ok(())
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Gettable>, StatusCode> {
    let (found, _) = read(&shared, &id).await.map_err(|Problem(status, _)| status)?;
    Ok(Json(gettable(&found, clock::now())))
}

pub(super) async fn expire(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<(), Problem> {
    let now = clock::now();
    let (known, revision) = read(&shared, &id).await?;
    let over = expired(known, now).map_err(|e| Problem(StatusCode::INTERNAL_SERVER_ERROR, e))?;
    store(&shared, Some((id, revision)), vec![over]).await
}
