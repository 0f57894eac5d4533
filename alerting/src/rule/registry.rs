//! The state of rules in the registry: read by a new leader, written on change, always fenced by the leader's key.

use thiserror::Error;
use watchkeep_catalog::{
    Alert, Client, ClientError, KeyValue, RuleAlert,
    client::{Compare, Op, Txn},
    keys,
};

use super::state::{Change, Known, Written};
use crate::{alertmanager, store::parts};

/// Alerts of one transaction: two writes each, below the registry's limit of 128.
const TXN_ALERTS_MAX: usize = 50;
/// Bytes of texts in one transaction: the registry takes 1.5 MiB, and in JSON a text may become longer.
const TXN_BYTES_MAX: usize = 256 * 1024;
/// Active alerts that are kept; more are evaluated, but a restart begins their `for` anew.
const KEPT_MAX: usize = 50_000;

/// Why state was not written.
#[derive(Debug, Error)]
pub(super) enum StateError {
    /// Another node leads.
    #[error("this node does not lead any more")]
    Fenced,
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Everything that is kept, by group's id.
pub(super) async fn read(
    client: &Client,
) -> Result<std::collections::BTreeMap<String, Written>, ClientError> {
    let mut groups = std::collections::BTreeMap::<String, Written>::new();
    let (kept, _) = client.list(keys::RULE_ALERTS).await?;
    let (alerts, _) = client.list(keys::ALERTS).await?;
    let told = |fingerprint: &str| {
        let key = format!("{}{fingerprint}", keys::ALERTS);
        let kv: &KeyValue =
            alerts.binary_search_by(|kv| kv.key.cmp(&key)).ok().map(|at| &alerts[at])?;
        let alert: Alert = kv.json().ok()?;
        let at_ms = alert.updated_at.timestamp_millis();
        alert.ends_at.is_none().then_some((alert.annotations, at_ms))
    };
    for kv in kept {
        let Some([group, rule, fingerprint]) =
            keys::segments(&kv.key, keys::RULE_ALERTS).and_then(|s| <[&str; 3]>::try_from(s).ok())
        else {
            continue;
        };
        // A record that cannot be read harms only itself: its alert begins anew.
        let Ok(kept) = kv.json::<RuleAlert>() else {
            tracing::warn!(key = kv.key, "an active alert cannot be read; it begins anew");
            continue;
        };
        let known = Known { kept, told: told(fingerprint) };
        let key = (rule.to_owned(), fingerprint.to_owned());
        groups.entry(group.to_owned()).or_default().insert(key, known);
    }
    Ok(groups)
}

/// Writes changes of one group in as few transactions as there have to be; answers with how many were written, from
/// the first.
pub(super) async fn write(
    client: &Client,
    fence: i64,
    group: &str,
    changes: &[Change],
    kept: usize,
) -> (usize, Result<(), StateError>) {
    let mut done = 0;
    for batch in parts(changes, TXN_ALERTS_MAX, TXN_BYTES_MAX, size) {
        let written = match transaction(fence, group, batch, kept + done) {
            Ok(txn) => client.txn(txn).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(outcome) if outcome.succeeded => done += batch.len(),
            Ok(_) => return (done, Err(StateError::Fenced)),
            Err(error) => return (done, Err(error.into())),
        }
    }
    (done, Ok(()))
}

/// Bytes of its texts.
fn size(change: &Change) -> usize {
    let labels = change.kept.iter().flat_map(|kept| &kept.labels);
    let labels: usize = labels.map(|(name, value)| name.len() + value.len()).sum();
    labels + change.alert.as_ref().map_or(0, alertmanager::size)
}

fn transaction(fence: i64, group: &str, batch: &[Change], kept: usize) -> Result<Txn, ClientError> {
    let mut txn = Txn::new().when(Compare::create_revision(keys::ALERTING_LEADER, fence));
    for change in batch {
        let key = keys::rule_alert(group, &change.rule, &change.fingerprint);
        match &change.kept {
            Some(record) if kept < KEPT_MAX => txn = txn.then(Op::put_json(&key, record)?),
            Some(_) => {}
            None => txn = txn.then(Op::delete(&key)),
        }
        if let Some(alert) = &change.alert {
            txn = txn.then(Op::put_json(&keys::alert(alert.fingerprint()), alert)?);
        }
    }
    Ok(txn)
}
