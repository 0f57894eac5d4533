//! Fetches instances' own metrics: text or OpenMetrics over HTTP, relabelled, into the series store and to everyone who is
//! written to.
//!
//! ```text
//! instances ─┐
//! jobs ──────┼─▶ target ─schedule─▶ fetch ─▶ page ─▶ samples, markers, up ─▶ sink
//! collectors ┘   (the one that is ours)
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use watchkeep_catalog::{Client, Instance, client::Change, keys};

mod config;
mod fetch;
mod page;
mod share;
mod target;
mod work;

pub use config::ScrapeConfig;
pub(crate) use config::{Job, validate};

use share::Collectors;
use target::Target;
use work::Work;

use crate::{metrics::Metrics, samples::Sink, targets};

/// Pages fetched at a time; further ones wait.
const SCRAPES_MAX: usize = 100;

/// What all targets share.
pub(crate) struct Shared {
    /// What schedules count from.
    epoch: Instant,
    permits: Semaphore,
    sink: Sink,
    metrics: Metrics,
}

/// Everything that is to be fetched, by us or by others.
pub(crate) struct Scraping {
    collector: String,
    jobs: Vec<Arc<Job>>,
    shared: Arc<Shared>,
    instances: BTreeMap<String, Instance>,
    collectors: Collectors,
    running: HashMap<(usize, String), Running>,
}

struct Running {
    target: Target,
    stop: CancellationToken,
    task: JoinHandle<Work>,
}

impl Scraping {
    pub(crate) fn new(collector: &str, jobs: Vec<Arc<Job>>, sink: Sink, metrics: Metrics) -> Self {
        let permits = Semaphore::new(SCRAPES_MAX);
        Self {
            collector: collector.to_owned(),
            jobs,
            shared: Arc::new(Shared { epoch: Instant::now(), permits, sink, metrics }),
            instances: BTreeMap::new(),
            collectors: Collectors::default(),
            running: HashMap::new(),
        }
    }

    /// Fetches until the token is cancelled.
    pub(crate) async fn run(mut self, client: Client, token: CancellationToken) {
        let mut instances = client.follow(keys::INSTANCES);
        let mut collectors = client.follow(keys::COLLECTORS);
        loop {
            tokio::select! {
                () = token.cancelled() => break,
                Some(change) = collectors.recv() => {
                    if self.collectors.apply(&change) {
                        let all: Vec<_> = self.instances.keys().cloned().collect();
                        for key in all {
                            self.settle(&key).await;
                        }
                    }
                }
                Some(change) = instances.recv() => {
                    for key in self.note(change) {
                        self.settle(&key).await;
                    }
                }
                else => break,
            }
            self.shared.metrics.scrape_targets.set(self.running.len() as i64);
        }
        for (_, running) in self.running.drain() {
            running.end().await;
        }
    }

    /// Takes note of a change; the keys of instances that it concerns. A record that cannot be read changes nothing:
    /// the probes' side tells of it.
    fn note(&mut self, change: Change) -> Vec<String> {
        match change {
            Change::Put(kv) => match targets::read(&kv) {
                Ok(instance) => {
                    self.instances.insert(kv.key.clone(), instance);
                    vec![kv.key]
                }
                Err(_) => Vec::new(),
            },
            Change::Delete { key, .. } => {
                self.instances.remove(&key);
                vec![key]
            }
            Change::Reset(kvs, _) => {
                let gone = |key: &&String| kvs.binary_search_by(|kv| kv.key.cmp(key)).is_err();
                let mut keys: Vec<_> = self.instances.keys().filter(gone).cloned().collect();
                keys.iter().for_each(|key| drop(self.instances.remove(key)));
                keys.extend(kvs.into_iter().flat_map(|kv| self.note(Change::Put(kv))));
                keys
            }
        }
    }

    /// Starts and stops what an instance asks for now.
    async fn settle(&mut self, key: &str) {
        for at in 0..self.jobs.len() {
            let id = (at, key.to_owned());
            let wanted = self.wanted(&id);
            let is_ours = self.collectors.owner(&format!("{at}{key}")) == Some(&*self.collector);
            let target = wanted.clone().filter(|_| is_ours);
            if self.running.get(&id).map(|running| &running.target) == target.as_ref() {
                continue;
            }
            if let Some(running) = self.running.remove(&id) {
                let labels = running.target.labels.clone();
                let work = running.end().await;
                // What only moves to another collector goes on there.
                if let Some(work) = work.filter(|_| wanted.is_none_or(|t| t.labels != labels)) {
                    work.gone();
                }
            }
            if let Some(target) = target {
                let stop = CancellationToken::new();
                let work = Work::new(self.jobs[at].clone(), target.clone(), self.shared.clone());
                let task = tokio::spawn(work.run(stop.clone()));
                self.running.insert(id, Running { target, stop, task });
            }
        }
    }

    fn wanted(&self, (at, key): &(usize, String)) -> Option<Target> {
        let instance = self.instances.get(key)?;
        Target::of(&self.jobs[*at], instance).unwrap_or_else(|reason| {
            let (service, instance) = (&instance.service, &instance.id);
            let job = &self.jobs[*at].config.job_name;
            warn!(job, service, instance, reason, "metrics of the instance cannot be fetched");
            None
        })
    }
}

impl Running {
    async fn end(self) -> Option<Work> {
        self.stop.cancel();
        match self.task.await {
            Ok(work) => Some(work),
            Err(cause) => {
                error!(%cause, "a scrape failed");
                None
            }
        }
    }
}
