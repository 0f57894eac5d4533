//! Alerts on their way into the registry: those of many requests together, in the order in which they came.
//! A few that are told at once go to the dispatcher, which writes its decision with them where this node leads. Where the
//! registry is lost they are taken into memory, and written when it is back.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use watchkeep_catalog::{
    Alert,
    client::{Op, Txn},
    keys,
};

use super::{
    conduct::Handover,
    foresee::Arriving,
    merge::{is_news, merge},
    shared::Shared,
};
use crate::{clock, store::parts};

/// Records in one transaction: etcd takes 128 operations.
pub(super) const RECORDS_PER_TXN_MAX: usize = 120;
/// Bytes of texts in one transaction: etcd takes 1.5 MiB, and in JSON a text may become longer.
const PART_BYTES_MAX: usize = 256 * 1024;
/// Alerts that are handed to the dispatcher at once: with more the one transaction saves little, and delays what is decided
/// meanwhile.
const HANDOVER_MAX: usize = 32;
/// Requests that are looked at before something is written.
const REQUESTS_MAX: usize = 256;
/// Transactions under way at once. What is in them are different alerts: the one need not wait for the other.
const PARTS_MAX: usize = 8;
/// Tries of one write, as long as the registry is not known to be lost.
const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for one try.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Alerts that are kept in memory while the registry is lost.
const UNSAVED_MAX: usize = 100_000;

/// Alerts of one request, and who waits for them.
pub(crate) struct Deliverance {
    pub(crate) alerts: Vec<Alert>,
    pub(crate) done: oneshot::Sender<Result<(), String>>,
}

/// Writes until `token` is cancelled.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut requests: mpsc::Receiver<Deliverance>,
    dispatcher: mpsc::Sender<Handover>,
    token: CancellationToken,
) {
    let mut waiting = Vec::new();
    loop {
        let count = tokio::select! {
            () = token.cancelled() => return,
            count = requests.recv_many(&mut waiting, REQUESTS_MAX) => count,
        };
        if count == 0 {
            return;
        }
        let mut alerts = BTreeMap::new();
        let mut askers = Vec::new();
        for Deliverance { alerts: posted, done } in waiting.drain(..) {
            gather(&shared, &mut alerts, posted);
            askers.push(done);
        }
        let alerts: Vec<_> = alerts.into_iter().collect();
        let result = match hand_over(&shared, &dispatcher, &alerts).await {
            true => Ok(()),
            false => write(&shared, &alerts).await,
        };
        for asker in askers {
            // Whoever does not wait any more needs no answer.
            let _ = asker.send(result.clone());
        }
    }
}

/// What is news of these, as it goes with what is known.
fn gather(shared: &Shared, alerts: &mut BTreeMap<u64, Arc<Alert>>, posted: Vec<Alert>) {
    let (board, now) = (shared.board(), clock::now());
    for alert in posted {
        let fingerprint = alert.fingerprint();
        let stored = board.alerts.get(&fingerprint).map(|kept| &kept.alert);
        match alerts.get(&fingerprint).or(stored) {
            Some(known) => {
                let merged = merge(known, alert, now);
                if is_news(known, &merged) {
                    alerts.insert(fingerprint, Arc::new(merged));
                }
            }
            None => {
                alerts.insert(fingerprint, Arc::new(alert));
            }
        }
    }
}

/// Has the dispatcher write a few alerts that are told at once; whether it has.
async fn hand_over(
    shared: &Shared,
    dispatcher: &mpsc::Sender<Handover>,
    alerts: &Arriving,
) -> bool {
    let bytes = || alerts.iter().map(|(_, alert)| size(alert)).sum::<usize>();
    if alerts.len() > HANDOVER_MAX || bytes() > PART_BYTES_MAX || shared.is_lost() {
        return false;
    }
    if !shared.board().foresees(alerts, clock::now()) {
        return false;
    }
    let (done, written) = oneshot::channel();
    let handover = Handover { alerts: alerts.to_vec(), done };
    dispatcher.try_send(handover).is_ok() && written.await.is_ok()
}

/// Writes them all, in parts. What is refused keeps nothing else from being written; where the registry does not answer
/// the rest is kept in memory.
async fn write(shared: &Shared, alerts: &Arriving) -> Result<(), String> {
    let mut parts: VecDeque<&Arriving> =
        parts(alerts, RECORDS_PER_TXN_MAX, PART_BYTES_MAX, |(_, alert)| size(alert)).into();
    let mut refused = None;
    while !parts.is_empty() {
        let wave: Vec<&Arriving> = parts.drain(..parts.len().min(PARTS_MAX)).collect();
        let written = join_all(wave.iter().map(|part| write_part(shared, part))).await;
        let mut silent = None;
        for (part, written) in wave.into_iter().zip(written) {
            match written {
                Ok(revision) => {
                    let (mut board, now) = (shared.board_mut(), clock::now());
                    for (fingerprint, alert) in part {
                        board.put_alert(*fingerprint, Arc::clone(alert), revision, now);
                    }
                }
                // One of them is to blame, or all are.
                Err(Unwritten::Refused(_)) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([first, second]);
                }
                Err(Unwritten::Refused(error)) => refused = Some(error),
                Err(Unwritten::Silent(error)) => {
                    keep(shared, part, &error)?;
                    silent = Some(error);
                }
            }
        }
        if let Some(error) = silent {
            for part in std::mem::take(&mut parts) {
                keep(shared, part, &error)?;
            }
        }
        shared.wake.notify_one();
    }
    refused.map_or(Ok(()), Err)
}

/// Bytes of its texts.
pub(crate) fn size(alert: &Alert) -> usize {
    let texts = alert.labels.iter().chain(&alert.annotations);
    texts.map(|(name, value)| name.len() + value.len()).sum::<usize>() + alert.generator_url.len()
}

/// Why something was not written.
enum Unwritten {
    /// The registry refuses it for what it is.
    Refused(String),
    /// The registry does not answer, or has no room.
    Silent(String),
}

async fn write_part(shared: &Shared, part: &Arriving) -> Result<i64, Unwritten> {
    let mut txn = Txn::new();
    for (fingerprint, alert) in part {
        let op = Op::put_json(&keys::alert(*fingerprint), &**alert);
        txn = txn.then(op.map_err(|e| Unwritten::Refused(e.to_string()))?);
    }
    let mut last = "the registry is lost".to_owned();
    for _ in 0..TRIES_MAX {
        if shared.is_lost() {
            break;
        }
        // The same once more does no harm.
        match tokio::time::timeout(ANSWER_MAX, shared.client.txn(txn.clone())).await {
            Ok(Ok(outcome)) => return Ok(outcome.revision),
            Ok(Err(error)) if error.is_refusal() && !error.is_exhausted() => {
                return Err(Unwritten::Refused(error.to_string()));
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer within {ANSWER_MAX:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Unwritten::Silent(last))
}

/// Takes alerts into memory: they are told of by this node, and written later.
fn keep(shared: &Shared, part: &Arriving, error: &str) -> Result<(), String> {
    let mut unsaved = shared.unsaved.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let more = part.iter().filter(|(at, _)| !unsaved.contains_key(at)).count();
    if unsaved.len() + more > UNSAVED_MAX {
        return Err(format!("{error}; and {UNSAVED_MAX} alerts wait in memory for it already"));
    }
    warn!(error, alerts = part.len(), "the registry does not take alerts: they are kept in memory");
    let (mut board, now) = (shared.board_mut(), clock::now());
    for (fingerprint, alert) in part {
        unsaved.insert(*fingerprint, Arc::clone(alert));
        board.put_unsaved(*fingerprint, Arc::clone(alert), now);
    }
    Ok(())
}

/// The registry is back: writes what was taken meanwhile.
pub(crate) async fn save(shared: &Shared) {
    let unsaved = {
        let mut unsaved = shared.unsaved.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *unsaved)
    };
    if unsaved.is_empty() {
        return;
    }
    // As they are now: some were heard of again since, and what was written then must not become older.
    let now: Vec<_> = {
        let board = shared.board();
        let known =
            |(at, alert)| (at, board.alerts.get(&at).map_or(alert, |kept| Arc::clone(&kept.alert)));
        unsaved.into_iter().map(known).collect()
    };
    if let Err(error) = write(shared, &now).await {
        warn!(error, "alerts that were taken without the registry are not written");
    }
}
