//! What services say of themselves, kept in memory by one watch. While the registry is away, what was said last stands:
//! that a report cannot be heard is no news of the service.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use tokio::sync::watch;
use watchkeep_catalog::{Client, KeyValue, Report, client::Change, keys};

/// All reports by key.
#[derive(Debug)]
pub(crate) struct Reports {
    said: RwLock<HashMap<String, Report>>,
    known: watch::Sender<bool>,
}

impl Default for Reports {
    fn default() -> Self {
        Self { said: RwLock::default(), known: watch::Sender::new(false) }
    }
}

impl Reports {
    /// What stands at a key.
    pub(crate) fn get(&self, key: &str) -> Option<Report> {
        self.said.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Resolves as soon as all reports have been read once.
    pub(crate) async fn known(&self) {
        // The sender is ours: it does not end.
        let _ = self.known.subscribe().wait_for(|known| *known).await;
    }

    /// Hears everything, until it is dropped.
    pub(crate) async fn follow(&self, client: &Client) {
        let mut changes = client.follow(keys::REPORTS);
        while let Some(change) = changes.recv().await {
            self.apply(change);
        }
    }

    fn apply(&self, change: Change) {
        let mut said = self.said.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Put(kv) => put(&mut said, &kv),
            Change::Delete { key, .. } => drop(said.remove(&key)),
            Change::Reset(kvs, _) => {
                said.clear();
                kvs.iter().for_each(|kv| put(&mut said, kv));
                drop(said);
                self.known.send_replace(true);
            }
        }
    }
}

/// What cannot be read counts as silence.
fn put(said: &mut HashMap<String, Report>, kv: &KeyValue) {
    match kv.json() {
        Ok(report) => drop(said.insert(kv.key.clone(), report)),
        Err(_) => drop(said.remove(&kv.key)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn kv(key: &str, value: &str) -> KeyValue {
        let value = Bytes::copy_from_slice(value.as_bytes());
        KeyValue {
            key: key.into(),
            value,
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        }
    }

    #[tokio::test]
    async fn what_was_said_last_stands() {
        let reports = Reports::default();
        let passing = r#"{"status":"passing","since":"2026-01-05T09:00:00Z"}"#;
        reports.apply(Change::Reset(vec![kv("a", passing), kv("b", "nonsense")], 1));
        reports.known().await;
        assert!(reports.get("a").is_some() && reports.get("b").is_none());
        reports.apply(Change::Put(kv("a", "nonsense")));
        assert!(reports.get("a").is_none());
        reports.apply(Change::Put(kv("a", passing)));
        reports.apply(Change::Delete { key: "a".into(), revision: 2 });
        assert!(reports.get("a").is_none());
    }
}
