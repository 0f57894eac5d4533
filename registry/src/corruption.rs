//! Do all members hold the same? The leader takes a part of the keys and the newest revisions, hashes them, and asks the
//! others for theirs; what differs twice raises CORRUPT for those that differ from the majority. Each step is small, and
//! no view of the state is held from one to the next, so a check of everything takes its time and costs little.
//!
//! ```text
//! step     keys ["", "k-4000") as of r, revisions (q, r]   1: 7f3a  2: 7f3a  3: 90c1   again
//! step     the same, as of r'                              1: 51d2  2: 51d2  3: e07b   CORRUPT, member 3
//! step     keys ["k-4000", "r-17") …
//! ```

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tonic::Status;
use tracing::{debug, error, warn};
use watchkeep_api::peer::{RangeHashRequest, RangeHashResponse};

use crate::{
    cluster::{Cluster, ClusterError},
    mvcc::{self, Limits, ViewError, hash_events, hash_keys},
    schema::{Alarm, Body},
    store::StoreView,
};

/// Keys and events of one step.
const LIMITS: Limits = Limits { rows: 1_000, bytes: 1 << 20 };
/// Revisions that one step looks back at most: under a load that is too fast for the checks the older ones are left out.
const REVISIONS_MAX: i64 = 1_000;
/// How long another member may take to catch up and to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the check is.
#[derive(Debug, Default)]
struct Cursor {
    /// The key to go on at; none: at the first.
    key: Option<Bytes>,
    /// When the round began.
    began: Option<Instant>,
    /// Events up to this revision are compared.
    revision: i64,
    /// Members whose answer differed in this step's first try; the range is tried again.
    suspects: Vec<u64>,
}

/// Compares, on the leader, a part after the other; `interval` zero: never.
pub(crate) async fn watch(cluster: Cluster, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cursor = Cursor::default();
    loop {
        ticks.tick().await;
        if cluster.leader() != Some(cluster.id()) {
            cursor = Cursor::default();
            continue;
        }
        if let Err(error) = step(&cluster, &mut cursor).await {
            debug!(%error, "members not compared");
        }
    }
}

/// One step.
async fn step(cluster: &Cluster, cursor: &mut Cursor) -> Result<(), ClusterError> {
    let members = cluster.membership();
    let others: Vec<_> = members.iter().filter(|(id, ..)| *id != cluster.id()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let from = cursor.key.clone().unwrap_or_default();
    let began = *cursor.began.get_or_insert_with(Instant::now);
    let (request, own, next) = own(cluster, from, cursor.revision).await?;
    let asked = others.iter().map(|(id, peer, _)| {
        let request =
            RangeHashRequest { cluster_id: cluster.cluster_id(), to: *id, ..request.clone() };
        let asking = cluster.peers().range_hash(&peer.address, request);
        async move { (*id, timeout(ANSWER, asking).await) }
    });
    let mut answers = BTreeMap::from([(cluster.id(), own)]);
    for (id, answer) in join_all(asked).await {
        let result = match answer {
            Ok(Ok(answer)) if agree(&own, &answer, request.events_after) => {
                answers.insert(id, answer);
                "equal"
            }
            Ok(Ok(answer)) => {
                answers.insert(id, answer);
                "different"
            }
            Ok(Err(_)) | Err(_) => "unanswered",
        };
        cluster.metrics().corruption_checks.with_label_values(&[result]).inc();
    }
    let wrong = minority(&answers, members.len(), request.events_after);
    if !wrong.is_empty() && cursor.suspects != wrong {
        warn!(members = ?wrong, keys_from = %request.key_from.escape_ascii(), "members differ: asked again");
        cursor.suspects = wrong;
        return Ok(());
    }
    for member in wrong {
        raise(cluster, member, &request, &answers).await?;
    }
    cursor.suspects.clear();
    cursor.revision = request.events_upto;
    cursor.key = next;
    if cursor.key.is_none() {
        cluster.metrics().corruption_check_seconds.set(began.elapsed().as_secs_f64());
        cursor.began = None;
    }
    Ok(())
}

/// What this member, the leader, has: it says what range the others are asked for.
async fn own(
    cluster: &Cluster,
    from: Bytes,
    compared: i64,
) -> Result<(RangeHashRequest, RangeHashResponse, Option<Bytes>), ClusterError> {
    let start = from.clone();
    let (keys, events, after, applied) = hashed(cluster, move |view| {
        let applied = view.applied().clone();
        let newest = applied.revision.saturating_sub(REVISIONS_MAX);
        let after = compared.max(newest).max(applied.compact_revision);
        let keys = hash_keys(view, &start, None, applied.revision, LIMITS)?;
        let events = hash_events(view, after, applied.revision, LIMITS)?;
        Ok((keys, events, after, applied))
    })
    .await?;
    let request = RangeHashRequest {
        revision: applied.revision,
        key_from: from,
        key_to: keys.next.clone().unwrap_or_default(),
        events_after: after,
        events_upto: events.upto,
        ..RangeHashRequest::default()
    };
    let answer = RangeHashResponse {
        keys_hash: keys.hash,
        events_hash: events.hash,
        compact_revision: applied.compact_revision,
    };
    Ok((request, answer, keys.next))
}

/// What this member has, for the leader that asks.
pub(crate) async fn answer(
    cluster: &Cluster,
    request: RangeHashRequest,
) -> Result<RangeHashResponse, Status> {
    let reached = async {
        let mut applied = cluster.applied_index();
        while cluster.store().applied().revision < request.revision {
            if applied.changed().await.is_err() {
                return Err(ClusterError::Stopped);
            }
        }
        Ok(())
    };
    timeout(ANSWER, reached).await.map_err(|_| ClusterError::Timeout)??;
    let answer = hashed(cluster, move |view| {
        let compact_revision = view.applied().compact_revision;
        if compact_revision > request.revision {
            return Ok(None);
        }
        let to = (!request.key_to.is_empty()).then_some(&request.key_to[..]);
        let keys = hash_keys(view, &request.key_from, to, request.revision, Limits::NONE)?;
        let after = request.events_after;
        let events = hash_events(view, after, request.events_upto, Limits::NONE)?;
        Ok(Some(RangeHashResponse {
            keys_hash: keys.hash,
            events_hash: events.hash,
            compact_revision,
        }))
    });
    answer.await?.ok_or_else(|| Status::out_of_range("watchkeep: compacted meanwhile"))
}

/// Runs away from the threads that keep time; nothing if a snapshot replaced the state meanwhile.
async fn hashed<T: Send + 'static>(
    cluster: &Cluster,
    work: impl FnOnce(&StoreView) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, ClusterError> {
    let life = cluster.store().life().ok_or(ClusterError::Replaced)?;
    let view = cluster.store().view();
    let done = tokio::task::spawn_blocking(move || work(&view)).await;
    let done = done.map_err(|_| ClusterError::Stopped)?;
    if cluster.store().life() != Some(life) {
        return Err(ClusterError::Replaced);
    }
    Ok(done?)
}

/// Whether two answers agree. Events that one of them may have forgotten say nothing.
fn agree(a: &RangeHashResponse, b: &RangeHashResponse, events_after: i64) -> bool {
    let both = a.compact_revision.max(b.compact_revision) <= events_after;
    a.keys_hash == b.keys_hash && (!both || a.events_hash == b.events_hash)
}

/// The members that differ from a majority of all `members`; if there is none, 0: somebody is wrong, and nobody knows
/// who.
fn minority(
    answers: &BTreeMap<u64, RangeHashResponse>,
    members: usize,
    events_after: i64,
) -> Vec<u64> {
    let differ = |one: &RangeHashResponse| {
        let differing = answers.iter().filter(|(_, other)| !agree(one, other, events_after));
        differing.map(|(id, _)| *id).collect::<Vec<_>>()
    };
    let Some(fewest) = answers.values().map(differ).min_by_key(Vec::len) else { return Vec::new() };
    let agreeing = answers.len() - fewest.len();
    if fewest.is_empty() || agreeing * 2 > members { fewest } else { vec![0] }
}

async fn raise(
    cluster: &Cluster,
    member: u64,
    request: &RangeHashRequest,
    answers: &BTreeMap<u64, RangeHashResponse>,
) -> Result<(), ClusterError> {
    let raised = mvcc::alarms(&cluster.store().view())?;
    if raised.contains(&(mvcc::CORRUPT, member)) {
        return Ok(());
    }
    error!(
        member,
        keys_from = %request.key_from.escape_ascii(),
        keys_to = %request.key_to.escape_ascii(),
        revision = request.revision,
        ?answers,
        "this member's data differs from the majority's (0: there is no majority): alarm CORRUPT is raised"
    );
    cluster.propose(Body::Alarm(Alarm { raise: true, member, kind: mvcc::CORRUPT })).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
