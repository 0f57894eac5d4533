//! Who receives our samples: the alerting members, as the catalog tells it, and whoever the configuration names.

use std::{
    collections::BTreeMap,
    fs, io, mem,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, interval},
};
use tracing::{error, info, warn};
use watchkeep_catalog::{Client, KeyValue, Member, access::Wrong, client::Change, keys, prompb};
use watchkeep_series::{Labels, Sample};

use super::{
    config::{QueueConfig, RemoteWriteConfig, Way},
    queue::Queue,
    spool::Spool,
};
use crate::{access::Nodes, metrics::Metrics, relabel::Relabeling};

/// Bytes on disk that wait for one alerting member.
const MEMBER_BYTES_MAX: u64 = 256 << 20;
/// How often is looked for members that have been gone for too long.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How the folders of the queues begin.
const MEMBER: &str = "member-";
const OTHER: &str = "to-";

/// The receivers.
pub(crate) struct Receivers {
    members: RwLock<BTreeMap<String, Known>>,
    others: RwLock<Vec<Queue>>,
    configured: Vec<RemoteWriteConfig>,
    self_url: Option<String>,
    /// The way to the members.
    nodes: Nodes,
    metrics: Metrics,
    dir: PathBuf,
    /// How long is written for a member that is gone: later it would not take what it missed.
    gone_max: Duration,
}

/// An alerting member, here or gone.
struct Known {
    queue: Queue,
    url: watch::Sender<Option<String>>,
    gone: Option<Instant>,
}

impl Receivers {
    /// Receivers whose queues lie in `dir`.
    pub(crate) fn new(
        self_url: Option<&str>,
        nodes: Nodes,
        metrics: Metrics,
        dir: PathBuf,
        configured: &[RemoteWriteConfig],
        gone_max: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            members: RwLock::default(),
            others: RwLock::default(),
            configured: configured.to_vec(),
            self_url: self_url.map(bare),
            nodes,
            metrics,
            dir,
            gone_max,
        })
    }

    /// Opens the queues that the configuration names, and those that another process has left.
    ///
    /// # Errors
    /// The field that is wrong, or why the disk cannot be used.
    pub(crate) fn start(&self) -> Result<(), Wrong> {
        let failed = |e: io::Error| ("name".to_owned(), format!("{}: {e}", self.dir.display()));
        fs::create_dir_all(&self.dir).map_err(failed)?;
        for (at, config) in self.configured.iter().enumerate() {
            let named = |(field, message)| (format!("remote_write[{at}].{field}"), message);
            let way = config.way().map_err(named)?;
            let dir = self.dir.join(format!("{OTHER}{}", config.name));
            let spool = Spool::open(&dir, config.queue.bytes_max).map_err(|e| named(failed(e)))?;
            let metrics = self.metrics.receiver(&config.name);
            // Nobody changes it: the receiver's end alone keeps it.
            let (_, url) = watch::channel(Some(config.url.clone()));
            let queue = Queue::start(&config.name, way, &config.queue, spool, url, metrics);
            self.others.write().unwrap_or_else(PoisonError::into_inner).push(queue);
        }
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(id) = name.strip_prefix(MEMBER) {
                self.put(id, None);
            } else if let Some(other) = name.strip_prefix(OTHER)
                && self.configured.iter().all(|config| config.name != other)
            {
                warn!(receiver = other, "no longer configured: what waited for it is deleted");
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Hands samples to every receiver; never waits.
    pub(crate) fn push(&self, samples: &[(Labels, Sample)]) {
        self.each(|queue| queue.push(samples));
    }

    /// Hands native histograms to every alerting member, and to the others that want them; never waits.
    pub(crate) fn push_histograms(&self, histograms: &[(Labels, Arc<prompb::Histogram>)]) {
        self.each(|queue| queue.push_histograms(histograms));
    }

    fn each(&self, mut hand: impl FnMut(&Queue)) {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.values().for_each(|known| hand(&known.queue));
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.iter().for_each(hand);
    }

    /// Brings everything to the disk.
    pub(crate) async fn close(&self) {
        let members = {
            let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
            mem::take(&mut *members)
        };
        let others = {
            let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
            mem::take(&mut *others)
        };
        for queue in members.into_values().map(|known| known.queue).chain(others) {
            queue.close().await;
        }
    }

    fn apply(&self, change: Change) {
        match change {
            Change::Put(kv) => self.read(&kv),
            Change::Delete { key, .. } => self.gone(id_of(&key)),
            Change::Reset(kvs, _) => {
                let ids: Vec<_> = kvs.iter().map(|kv| id_of(&kv.key)).collect();
                let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
                let gone = members.keys().filter(|id| !ids.contains(&id.as_str()));
                let gone: Vec<_> = gone.cloned().collect();
                drop(members);
                gone.iter().for_each(|id| self.gone(id));
                kvs.iter().for_each(|kv| self.read(kv));
            }
        }
    }

    fn read(&self, kv: &KeyValue) {
        let id = id_of(&kv.key);
        let url = match kv.json::<Member>() {
            Ok(member) => bare(&member.url),
            Err(cause) => return warn!(%cause, "alerting member cannot be written to"),
        };
        if Some(&url) == self.self_url.as_ref() {
            return self.forget(id);
        }
        self.put(id, Some(format!("{url}/api/v1/write")));
    }

    /// The member is at `url`; none: nobody knows yet where.
    fn put(&self, id: &str, url: Option<String>) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = members.get_mut(id) {
            known.gone = None;
            known.url.send_if_modified(|now| {
                let is_new = *now != url;
                if is_new {
                    info!(receiver = id, url, "remote write begins");
                    *now = url;
                }
                is_new
            });
            return;
        }
        let config =
            QueueConfig { bytes_max: MEMBER_BYTES_MAX, max_shards: 1, ..QueueConfig::default() };
        let dir = self.dir.join(format!("{MEMBER}{id}"));
        let spool = match Spool::open(&dir, config.bytes_max) {
            Ok(spool) => spool,
            Err(cause) => {
                let dir = dir.display();
                return error!(receiver = id, %dir, %cause, "remote write has no queue");
            }
        };
        info!(receiver = id, url, "remote write begins");
        let way = Way {
            client: self.nodes.client.clone(),
            headers: http::HeaderMap::new(),
            credentials: self.nodes.credentials.clone(),
            relabel: Relabeling::default(),
            histograms: true,
            is_node: true,
        };
        let gone = url.is_none().then(Instant::now);
        let (sender, url) = watch::channel(url);
        let queue = Queue::start(id, way, &config, spool, url, self.metrics.receiver(id));
        members.insert(id.to_owned(), Known { queue, url: sender, gone });
    }

    /// The member is away: what it misses is kept for it.
    fn gone(&self, id: &str) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = members.get_mut(id).filter(|known| known.gone.is_none()) {
            info!(receiver = id, "remote write waits: the alerting member is gone");
            known.gone = Some(Instant::now());
            known.url.send_replace(None);
        }
    }

    fn forget(&self, id: &str) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if members.remove(id).is_some() {
            info!(receiver = id, "remote write ends");
            self.metrics.forget_receiver(id);
            let dir = self.dir.join(format!("{MEMBER}{id}"));
            if let Err(cause) = fs::remove_dir_all(&dir) {
                warn!(dir = %dir.display(), %cause, "a queue cannot be deleted");
            }
        }
    }

    fn forget_gone(&self) {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let long = |known: &Known| known.gone.is_some_and(|at| at.elapsed() > self.gone_max);
        let gone = members.iter().filter(|(_, known)| long(known)).map(|(id, _)| id.clone());
        let gone: Vec<_> = gone.collect();
        drop(members);
        gone.iter().for_each(|id| self.forget(id));
    }
}

/// Keeps `receivers` as the catalog says, for ever.
pub(crate) async fn follow(receivers: Arc<Receivers>, client: Client) {
    let mut changes = client.follow(keys::ALERTING_MEMBERS);
    let mut ticks = interval(FORGET_EVERY);
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Some(change) => receivers.apply(change),
                None => return,
            },
            _ = ticks.tick() => receivers.forget_gone(),
        }
    }
}

fn id_of(key: &str) -> &str {
    key.strip_prefix(keys::ALERTING_MEMBERS).unwrap_or(key)
}

/// Without the slash at its end.
fn bare(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
