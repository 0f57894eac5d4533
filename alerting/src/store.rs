//! Changing a record that others change too: read, change, write if nobody was faster, else again.

use std::time::Duration;

use thiserror::Error;
use tracing::debug;
use watchkeep_catalog::{
    Client, ClientError, Failover, FailoverStop, Incident, KeyValue, Time,
    client::{Compare, Op, OpOutcome, Txn},
    keys,
};

use crate::{incident::Refusal, mirror::Versioned};

/// Tries of one change: lost races, and a registry that is electing a leader.
const TRIES_MAX: u32 = 50;
/// Pause after a try whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a change was not made.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    /// Somebody else leads now, or has taken the record over.
    #[error("this node does not lead any more")]
    Fenced,
    #[error("{0} does not exist")]
    Missing(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0} is being changed by others all the time: try again")]
    Contended(String),
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Changes an incident. With a `fence` only while the leader key has this create revision. `change` answers
/// false when there is nothing to change; it may run several times.
pub(crate) async fn update_incident(
    client: &Client,
    fence: Option<i64>,
    id: &str,
    mut change: impl FnMut(&mut Incident) -> Result<bool, Refusal>,
) -> Result<Versioned<Incident>, StoreError> {
    let key = keys::incident(id);
    let mut last = StoreError::Contended(format!("incident {id}"));
    for _ in 0..TRIES_MAX {
        let Some(kv) = client.get(&key).await? else {
            return Err(StoreError::Missing(format!("incident {id}")));
        };
        let mut incident = Versioned::<Incident>::read(&kv)?;
        if !change(&mut incident.record)? {
            return Ok(incident);
        }
        let mut txn = Txn::new()
            .when(Compare::mod_revision(&key, kv.mod_revision))
            .then(Op::put_json(&key, &incident.record)?)
            .otherwise(Op::get(keys::ALERTING_LEADER));
        if let Some(fence) = fence {
            txn = txn.when(Compare::create_revision(keys::ALERTING_LEADER, fence));
        }
        match client.txn(txn).await {
            Ok(outcome) if outcome.succeeded => {
                incident.mod_revision = outcome.revision;
                return Ok(incident);
            }
            Ok(outcome) => {
                if fence.is_some_and(|fence| !leads(fence, outcome.responses.first())) {
                    return Err(StoreError::Fenced);
                }
            }
            Err(error) if error.is_refusal() => return Err(error.into()),
            Err(error) => {
                debug!(%error, incident = id, "outcome not known, reading again");
                last = error.into();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Err(last)
}

/// What a failover's journal and its incident are now.
pub(crate) type Written = (Versioned<Failover>, Option<Versioned<Incident>>);

/// What is written with a failover's journal, all or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    pub(crate) when: Vec<Compare>,
    pub(crate) then: Vec<Op>,
    /// Only while failovers are not stopped.
    pub(crate) acts: bool,
}

/// Why a journal was not written.
#[derive(Debug)]
pub(crate) enum NotWritten {
    /// Another node leads, or has taken it over.
    Fenced,
    /// A person has ended it; the journal as it is now.
    Aborted(Box<Versioned<Failover>>),
    Stopped(FailoverStop),
    /// What was to be written with it has changed meanwhile.
    Overtaken,
    Failed(StoreError),
}

impl From<ClientError> for NotWritten {
    fn from(error: ClientError) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes a failover's journal and changes its incident with it, while `fence` holds and the journal is as
/// this node last saw it.
pub(crate) async fn write_failover(
    client: &Client,
    fence: i64,
    failover: Versioned<Failover>,
    extra: &Extra,
    mut change: impl FnMut(&mut Incident) -> bool,
) -> Result<Written, NotWritten> {
    let key = keys::failover(&failover.record.id);
    let incident_key = keys::incident(&failover.record.incident);
    let mut failover = failover;
    let mut last = StoreError::Contended(format!("failover {}", failover.record.id));
    for _ in 0..TRIES_MAX {
        let kv = match failover.record.incident.as_str() {
            "" => None,
            _ => client.get(&incident_key).await?,
        };
        let mut incident = kv.as_ref().map(Versioned::<Incident>::read).transpose()?;
        let mut txn = Txn::new()
            .when(Compare::create_revision(keys::ALERTING_LEADER, fence))
            .when(Compare::create_revision(&key, failover.create_revision))
            .when(Compare::mod_revision(&key, failover.mod_revision))
            .then(Op::put_json(&key, &failover.record)?)
            .otherwise(Op::get(keys::ALERTING_LEADER))
            .otherwise(Op::get(&key))
            .otherwise(Op::get(keys::FAILOVER_STOP))
            .otherwise(Op::get(&incident_key));
        if extra.acts {
            txn = txn.when(Compare::create_revision(keys::FAILOVER_STOP, 0));
        }
        txn = extra.when.iter().cloned().fold(txn, Txn::when);
        txn = extra.then.iter().cloned().fold(txn, Txn::then);
        let changed = incident.as_mut().is_some_and(|incident| change(&mut incident.record));
        if let Some(incident) = incident.as_ref().filter(|_| changed) {
            txn = txn
                .when(Compare::mod_revision(&incident_key, incident.mod_revision))
                .then(Op::put_json(&incident_key, &incident.record)?);
        }
        match client.txn(txn).await {
            Ok(outcome) if outcome.succeeded => {
                failover.mod_revision = outcome.revision;
                if failover.create_revision == 0 {
                    failover.create_revision = outcome.revision;
                }
                if let Some(incident) = incident.as_mut().filter(|_| changed) {
                    incident.mod_revision = outcome.revision;
                }
                return Ok((failover, incident));
            }
            Ok(outcome) => {
                if !leads(fence, outcome.responses.first()) {
                    return Err(NotWritten::Fenced);
                }
                let now = found(outcome.responses.get(1)).map(Versioned::<Failover>::read);
                match now.transpose()? {
                    // An earlier try was applied although its answer was lost.
                    // Perhaps somebody has ended it since: then it is known from the record.
                    Some(now) if is_same(&now.record, &failover.record) => {
                        let incident = client.get(&incident_key).await?;
                        let incident = incident.as_ref().map(Versioned::read).transpose()?;
                        return Ok((now, incident));
                    }
                    Some(now) if now.mod_revision == failover.mod_revision => {}
                    Some(now)
                        if now.record.aborted_by.is_some()
                            && now.record.aborted_by != failover.record.aborted_by =>
                    {
                        return Err(NotWritten::Aborted(Box::new(now)));
                    }
                    _ => return Err(NotWritten::Fenced),
                }
                if let Some(stop) = found(outcome.responses.get(2)).filter(|_| extra.acts) {
                    return Err(NotWritten::Stopped(stop_of(stop)));
                }
                let now = found(outcome.responses.get(3)).map_or(0, |kv| kv.mod_revision);
                let known = kv.as_ref().map_or(0, |kv| kv.mod_revision);
                if now == known && !extra.when.is_empty() {
                    return Err(NotWritten::Overtaken);
                }
            }
            Err(error) if error.is_refusal() => return Err(error.into()),
            Err(error) => {
                debug!(%error, failover = failover.record.id, "outcome not known, trying again");
                last = error.into();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Err(NotWritten::Failed(last))
}

/// Whether they are the same but for who has ended it.
fn is_same(one: &Failover, other: &Failover) -> bool {
    let alive = |failover: &Failover| Failover { aborted_by: None, ..failover.clone() };
    one == other || alive(one) == alive(other)
}

/// Who has stopped all failovers. Whatever stands in the key: while it is there they are stopped.
#[must_use]
pub fn stop_of(kv: &KeyValue) -> FailoverStop {
    kv.json().unwrap_or_else(|_| FailoverStop {
        since: Time::UNIX_EPOCH,
        by: "somebody".to_owned(),
        reason: format!("{} is there, and cannot be read", kv.key),
    })
}

/// Cuts a list into parts of at most `count` items that have at most about `bytes` bytes together; what is larger is alone.
pub(crate) fn parts<T>(
    items: &[T],
    count: usize,
    bytes: usize,
    size: impl Fn(&T) -> usize,
) -> Vec<&[T]> {
    let (mut parts, mut begin, mut sum) = (Vec::new(), 0, 0);
    for (at, item) in items.iter().enumerate() {
        let own = size(item);
        if at > begin && (at - begin >= count || sum + own > bytes) {
            parts.push(&items[begin..at]);
            (begin, sum) = (at, 0);
        }
        sum += own;
    }
    if begin < items.len() {
        parts.push(&items[begin..]);
    }
    parts
}

/// The key a `get` of a transaction found.
pub(crate) fn found(outcome: Option<&OpOutcome>) -> Option<&KeyValue> {
    match outcome {
        Some(OpOutcome::Get(kvs)) => kvs.first(),
        _ => None,
    }
}

/// Whether the leader key read by a transaction is still this leader's.
pub(crate) fn leads(fence: i64, outcome: Option<&OpOutcome>) -> bool {
    found(outcome).is_some_and(|kv| kv.create_revision == fence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_cannot_be_read_is_one() {
        let kv = |value: &'static str| KeyValue {
            key: keys::FAILOVER_STOP.to_owned(),
            value: value.into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        };
        let read = stop_of(&kv(r#"{"since":"2026-01-05T09:00:00Z","by":"alice"}"#));
        assert_eq!(read.by, "alice");
        for text in ["", "stop!", "{}"] {
            assert!(stop_of(&kv(text)).reason.contains("cannot be read"), "{text}");
        }
    }

    #[test]
    fn parts_have_their_maximum() {
        let cut = |items: &[usize]| -> Vec<Vec<usize>> {
            parts(items, 3, 10, |size| *size).into_iter().map(<[usize]>::to_vec).collect()
        };
        assert_eq!(cut(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(cut(&[1, 1, 1, 1]), [vec![1, 1, 1], vec![1]]);
        assert_eq!(cut(&[5, 5, 1]), [vec![5, 5], vec![1]]);
        assert_eq!(cut(&[99, 1, 10]), [vec![99], vec![1], vec![10]]);
    }
}
