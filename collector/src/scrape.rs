//! Fetches instances' own metrics: text or OpenMetrics over HTTP, relabelled, into the series store and to everyone who is
//! written to.
//!
//! ```text
//! instances ─┐
//! jobs ──────┼─▶ target ─schedule─▶ fetch ─▶ page ─▶ samples, markers, up ─▶ sink
//! collectors ┘   (those that are ours)
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use watchkeep_catalog::{Client, KeyValue, client::Change, keys};

mod config;
mod fetch;
mod page;
mod state;
mod target;
mod work;

pub use config::ScrapeConfig;
pub(crate) use config::{Job, validate};
pub use state::{LastScrape, ScrapeState, TargetState};

use target::Target;
use work::Work;

use crate::{metrics::Metrics, samples::Sink, schedule::hash, sharing::Sharing, targets};

/// Pages fetched at a time; further ones wait.
const SCRAPES_MAX: usize = 100;

/// What all targets share.
pub(crate) struct Shared {
    /// What schedules count from.
    epoch: Instant,
    permits: Semaphore,
    sink: Sink,
    metrics: Metrics,
    state: ScrapeState,
}

/// Everything that is to be fetched, by us or by others.
pub(crate) struct Scraping {
    jobs: Vec<Arc<Job>>,
    shared: Arc<Shared>,
    /// Of each instance's key, what jobs make of it; an instance that no job means has no entry.
    wanted: BTreeMap<String, BTreeMap<usize, Target>>,
    sharing: Sharing,
    running: HashMap<(usize, String), Running>,
}

struct Running {
    target: Target,
    stop: CancellationToken,
    task: JoinHandle<Work>,
}

impl Scraping {
    pub(crate) fn new(
        collector: &str,
        jobs: Vec<Arc<Job>>,
        sink: Sink,
        metrics: Metrics,
        state: ScrapeState,
    ) -> Self {
        let permits = Semaphore::new(SCRAPES_MAX);
        Self {
            jobs,
            shared: Arc::new(Shared { epoch: Instant::now(), permits, sink, metrics, state }),
            wanted: BTreeMap::new(),
            sharing: Sharing::of_one(collector),
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
                    if self.sharing.apply(change) {
                        let all: Vec<_> = self.wanted.keys().cloned().collect();
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
            Change::Put(kv) => self.put(&kv).then_some(kv.key).into_iter().collect(),
            Change::Delete { key, .. } => {
                self.wanted.remove(&key).map(|_| key).into_iter().collect()
            }
            Change::Reset(kvs, _) => {
                let gone = |key: &&String| kvs.binary_search_by(|kv| kv.key.cmp(key)).is_err();
                let mut keys: Vec<_> = self.wanted.keys().filter(gone).cloned().collect();
                keys.iter().for_each(|key| drop(self.wanted.remove(key)));
                keys.extend(kvs.into_iter().filter_map(|kv| self.put(&kv).then_some(kv.key)));
                keys
            }
        }
    }

    /// Whether what is wanted of the instance may have changed.
    fn put(&mut self, kv: &KeyValue) -> bool {
        let Ok(instance) = targets::read(kv) else { return false };
        let wanted = self.jobs.iter().enumerate().filter_map(|(at, job)| {
            let target = Target::of(job, &instance).unwrap_or_else(|reason| {
                let (job, service, instance) =
                    (&job.config.job_name, &instance.service, &instance.id);
                warn!(job, service, instance, reason, "metrics of the instance cannot be fetched");
                None
            });
            Some((at, target?))
        });
        let wanted: BTreeMap<_, _> = wanted.collect();
        if wanted.is_empty() {
            self.wanted.remove(&kv.key).is_some()
        } else {
            self.wanted.insert(kv.key.clone(), wanted);
            true
        }
    }

    /// Starts and stops what an instance asks for now.
    async fn settle(&mut self, key: &str) {
        for at in 0..self.jobs.len() {
            let id = (at, key.to_owned());
            let wanted = self.wanted.get(key).and_then(|wanted| wanted.get(&at));
            let is_ours = self.sharing.owns(hash([&*self.jobs[at].config.job_name, key]));
            let target = wanted.filter(|_| is_ours);
            if self.running.get(&id).map(|running| &running.target) == target {
                continue;
            }
            let (wanted, target) = (wanted.cloned(), target.cloned());
            if let Some(running) = self.running.remove(&id) {
                self.shared.state.end(&id);
                let labels = running.target.labels.clone();
                let work = running.end().await;
                // What only moves to another collector goes on there.
                if let Some(work) = work.filter(|_| wanted.is_none_or(|t| t.labels != labels)) {
                    work.gone();
                }
            }
            if let Some(target) = target {
                let stop = CancellationToken::new();
                self.shared.state.begin(id.clone(), target.state(&self.jobs[at].config.job_name));
                let work = Work::new(
                    id.clone(),
                    self.jobs[at].clone(),
                    target.clone(),
                    self.shared.clone(),
                );
                let task = tokio::spawn(work.run(stop.clone()));
                self.running.insert(id, Running { target, stop, task });
            }
        }
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
