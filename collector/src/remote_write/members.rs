//! Who receives our samples: the alerting members, as the catalog tells it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use tracing::{info, warn};
use watchkeep_catalog::{Client, KeyValue, Member, client::Change, keys};
use watchkeep_series::{Labels, Sample};

use super::queue::Queue;
use crate::metrics::Metrics;

/// The receivers by member id.
pub(crate) struct Receivers {
    queues: RwLock<BTreeMap<String, Queue>>,
    self_url: Option<String>,
    client: reqwest::Client,
    metrics: Metrics,
}

impl Receivers {
    pub(crate) fn new(
        self_url: Option<&str>,
        client: reqwest::Client,
        metrics: Metrics,
    ) -> Arc<Self> {
        let self_url = self_url.map(bare);
        Arc::new(Self { queues: RwLock::default(), self_url, client, metrics })
    }

    /// Hands samples to every receiver; never waits.
    pub(crate) fn push(&self, samples: &[(Labels, Sample)]) {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.values().for_each(|queue| queue.push(samples));
    }

    pub(super) fn apply(&self, change: Change) {
        match change {
            Change::Put(kv) => self.put(&kv),
            Change::Delete { key, .. } => self.remove(id_of(&key)),
            Change::Reset(kvs, _) => {
                let ids: Vec<_> = kvs.iter().map(|kv| id_of(&kv.key)).collect();
                let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
                let gone = queues.keys().filter(|id| !ids.contains(&id.as_str()));
                let gone: Vec<_> = gone.cloned().collect();
                drop(queues);
                gone.iter().for_each(|id| self.remove(id));
                kvs.iter().for_each(|kv| self.put(kv));
            }
        }
    }

    fn put(&self, kv: &KeyValue) {
        let id = id_of(&kv.key);
        let url = match kv.json::<Member>() {
            Ok(member) => bare(&member.url),
            Err(cause) => return warn!(%cause, "alerting member cannot be written to"),
        };
        if Some(&url) == self.self_url.as_ref() {
            return self.remove(id);
        }
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if queues.get(id).is_none_or(|queue| queue.url() != url) {
            info!(receiver = id, url, "remote write begins");
            let metrics = self.metrics.receiver(id);
            let queue = Queue::start(id, &url, self.client.clone(), metrics);
            queues.insert(id.to_owned(), queue);
        }
    }

    fn remove(&self, id: &str) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if queues.remove(id).is_some() {
            info!(receiver = id, "remote write ends");
            self.metrics.forget_receiver(id);
        }
    }
}

/// Keeps `receivers` as the catalog says, for ever.
pub(crate) async fn follow(receivers: Arc<Receivers>, client: Client) {
    let mut changes = client.follow(keys::ALERTING_MEMBERS);
    while let Some(change) = changes.recv().await {
        receivers.apply(change);
    }
}

fn id_of(key: &str) -> &str {
    key.strip_prefix(keys::ALERTING_MEMBERS).unwrap_or(key)
}

/// Without the slash at its end.
fn bare(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
