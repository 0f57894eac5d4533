//! What is there on both sides and what has to be written. Pure.
//!
//! A value that cannot be read changes nothing: what was mirrored of its key before stays, until the key goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use watchkeep_catalog::{Instance, KeyValue, client::Change, keys};

use super::{
    PrefixState,
    config::ForeignConfig,
    read::{MARK, read},
};

/// Most keys of one prefix; further ones are not taken.
const KEYS_MAX: usize = 100_000;

/// One write, on the condition that neither key has changed since it was decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) foreign: String,
    /// 0: the key must not be there.
    pub(super) foreign_revision: i64,
    pub(super) instance: String,
    /// 0: the key must not be there.
    pub(super) instance_revision: i64,
    /// The value and its lease; none: delete.
    pub(super) put: Option<(Bytes, i64)>,
}

/// A foreign key.
#[derive(Debug)]
struct Source {
    revision: i64,
    lease: i64,
    /// The instance's key and its value, or why it is none.
    found: Result<(String, Bytes), String>,
}

/// An instance's key.
#[derive(Debug)]
struct Present {
    revision: i64,
    lease: i64,
    /// The foreign key it is marked with, and its value; none: it was registered natively.
    mirrored: Option<(String, Bytes)>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Mirror {
    configs: Vec<ForeignConfig>,
    /// Which of the lists have been heard, the instances' last.
    heard: Vec<bool>,
    sources: Vec<BTreeMap<String, Source>>,
    present: HashMap<String, Present>,
    /// Foreign keys by the instance's key that they ask for.
    claims: HashMap<String, BTreeSet<String>>,
    /// Foreign keys to decide on.
    dirty: BTreeSet<String>,
    /// What cannot be taken and was not told yet.
    news: BTreeMap<String, String>,
}

impl Mirror {
    pub(super) fn new(configs: Vec<ForeignConfig>) -> Self {
        let count = configs.len();
        Self {
            configs,
            heard: vec![false; count + 1],
            sources: std::iter::repeat_with(BTreeMap::new).take(count).collect(),
            present: HashMap::new(),
            claims: HashMap::new(),
            dirty: BTreeSet::new(),
            news: BTreeMap::new(),
        }
    }

    /// Takes a change of a prefix, or of the instances (`None`).
    pub(super) fn apply(&mut self, whose: Option<usize>, change: Change) {
        match (whose, change) {
            (Some(at), Change::Put(kv)) => self.put_source(at, &kv),
            (Some(at), Change::Delete { key, .. }) => self.delete_source(at, &key),
            (None, Change::Put(kv)) => self.put_present(&kv),
            (None, Change::Delete { key, .. }) => self.delete_present(&key),
            (Some(at), Change::Reset(kvs, _)) => {
                let gone = gone(self.sources[at].keys(), &kvs);
                gone.iter().for_each(|key| self.delete_source(at, key));
                kvs.iter().for_each(|kv| self.put_source(at, kv));
                self.heard[at] = true;
            }
            (None, Change::Reset(kvs, _)) => {
                let gone = gone(self.present.keys(), &kvs);
                gone.iter().for_each(|key| self.delete_present(key));
                kvs.iter().for_each(|kv| self.put_present(kv));
                self.heard[self.configs.len()] = true;
            }
        }
    }

    fn put_source(&mut self, at: usize, kv: &KeyValue) {
        let sources = &self.sources[at];
        let full = sources.len() >= KEYS_MAX && !sources.contains_key(&kv.key);
        let found = match full {
            true => Err(format!("the prefix has more than {KEYS_MAX} keys")),
            false => read(&self.configs[at], &kv.key, &kv.value).and_then(|instance| {
                let value = serde_json::to_vec(&instance).map_err(|e| e.to_string())?;
                Ok((keys::instance(&instance.service, &instance.id), Bytes::from(value)))
            }),
        };
        if let Err(message) = &found {
            let known = sources.get(&kv.key).and_then(|s| s.found.as_ref().err());
            if known != Some(message) {
                self.news.insert(kv.key.clone(), message.clone());
            }
        }
        if full {
            return;
        }
        self.unclaim(at, &kv.key);
        if let Ok((instance, _)) = &found {
            self.claims.entry(instance.clone()).or_default().insert(kv.key.clone());
        }
        let source = Source { revision: kv.mod_revision, lease: kv.lease, found };
        self.sources[at].insert(kv.key.clone(), source);
        self.dirty.insert(kv.key.clone());
    }

    fn delete_source(&mut self, at: usize, key: &str) {
        self.unclaim(at, key);
        self.sources[at].remove(key);
        self.dirty.insert(key.to_owned());
    }

    /// Another key may have waited for the same instance.
    fn unclaim(&mut self, at: usize, key: &str) {
        let Some(Source { found: Ok((instance, _)), .. }) = self.sources[at].get(key) else {
            return;
        };
        if let Some(claims) = self.claims.get_mut(instance) {
            claims.remove(key);
            self.dirty.extend(claims.iter().cloned());
            if claims.is_empty() {
                self.claims.remove(instance);
            }
        }
    }

    fn put_present(&mut self, kv: &KeyValue) {
        let instance: Option<Instance> = serde_json::from_slice(&kv.value).ok();
        let mark = instance.and_then(|mut instance| instance.metadata.remove(MARK));
        self.touch(&kv.key);
        let mirrored = mark.map(|foreign| (foreign, kv.value.clone()));
        self.dirty.extend(mirrored.iter().map(|(foreign, _)| foreign.clone()));
        let present = Present { revision: kv.mod_revision, lease: kv.lease, mirrored };
        self.present.insert(kv.key.clone(), present);
    }

    fn delete_present(&mut self, key: &str) {
        self.touch(key);
        self.present.remove(key);
    }

    /// Whoever has to do with an instance's key is decided on anew.
    fn touch(&mut self, instance: &str) {
        self.dirty.extend(self.claims.get(instance).into_iter().flatten().cloned());
        let mirrored = self.present.get(instance).and_then(|p| p.mirrored.as_ref());
        self.dirty.extend(mirrored.map(|(foreign, _)| foreign.clone()));
    }

    /// What could not be written is decided on again.
    pub(super) fn again(&mut self, keys: Vec<String>) {
        self.dirty.extend(keys);
    }

    /// What cannot be taken, each once.
    pub(super) fn take_news(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.news)
    }

    /// What has to be written. Nothing before everything has been heard: a part looks like a loss.
    pub(super) fn plan(&mut self) -> Vec<Step> {
        if self.dirty.is_empty() || self.heard.contains(&false) {
            return Vec::new();
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut steps = Vec::new();
        let mut stale: HashMap<&str, Vec<&str>> = HashMap::new();
        for (instance, present) in &self.present {
            if let Some((foreign, _)) = present.mirrored.as_ref().filter(|(f, _)| dirty.contains(f))
            {
                stale.entry(foreign).or_default().push(instance);
            }
        }
        for foreign in &dirty {
            let Some(at) = self.configs.iter().position(|c| foreign.starts_with(&c.prefix)) else {
                continue;
            };
            let source = self.sources[at].get(foreign);
            let wanted = source.and_then(|s| s.found.as_ref().ok());
            steps.extend(source.zip(wanted).and_then(|(source, (instance, value))| {
                self.put(foreign, source, instance, value)
            }));
            // Deleted, or an instance of another name now.
            let unreadable = source.is_some() && wanted.is_none();
            for &instance in stale.get(foreign.as_str()).into_iter().flatten() {
                if unreadable || wanted.is_some_and(|(key, _)| key == instance) {
                    continue;
                }
                steps.push(Step {
                    foreign: foreign.clone(),
                    foreign_revision: source.map_or(0, |s| s.revision),
                    instance: instance.to_owned(),
                    instance_revision: self.present[instance].revision,
                    put: None,
                });
            }
        }
        steps
    }

    /// The write for a key that is an instance, if there is one to be made.
    fn put(&self, foreign: &str, source: &Source, instance: &str, value: &Bytes) -> Option<Step> {
        let present = self.present.get(instance);
        if let Some(present) = present {
            let (of, written) = present.mirrored.as_ref()?;
            if of != foreign && self.sources.iter().any(|sources| sources.contains_key(of)) {
                return None;
            }
            if of == foreign && written == value && present.lease == source.lease {
                return None;
            }
        }
        // Of several that want the same, the first has it.
        if self.claims.get(instance)?.first()? != foreign {
            return None;
        }
        Some(Step {
            foreign: foreign.to_owned(),
            foreign_revision: source.revision,
            instance: instance.to_owned(),
            instance_revision: present.map_or(0, |p| p.revision),
            put: Some((value.clone(), source.lease)),
        })
    }

    /// Why a key that can be read is no instance all the same.
    fn taken(&self, foreign: &str, instance: &str) -> Option<String> {
        let service_id = instance.strip_prefix(keys::INSTANCES).unwrap_or(instance);
        match self.present.get(instance).map(|p| p.mirrored.as_ref()) {
            Some(None) => Some(format!("{service_id} is registered natively")),
            Some(Some((of, _))) if of != foreign => Some(format!("{service_id} is {of} already")),
            _ => None,
        }
    }

    /// Every prefix for people, with the first `shown` problems.
    pub(super) fn state(&self, shown: usize) -> Vec<PrefixState> {
        let one = |(config, sources): (&ForeignConfig, &BTreeMap<String, Source>)| {
            let problem = |(key, source): (&String, &Source)| match &source.found {
                Err(message) => Some((key.clone(), message.clone())),
                Ok((instance, _)) => Some((key.clone(), self.taken(key, instance)?)),
            };
            let problems: Vec<_> = sources.iter().filter_map(problem).collect();
            PrefixState {
                prefix: config.prefix.clone(),
                instances: sources.len() - problems.len(),
                invalid: problems.len(),
                problems: problems.into_iter().take(shown).collect(),
            }
        };
        self.configs.iter().zip(&self.sources).map(one).collect()
    }
}

/// Known keys that are not among `kvs`, which are in order.
fn gone<'a>(known: impl Iterator<Item = &'a String>, kvs: &[KeyValue]) -> Vec<String> {
    let there = |key: &&String| kvs.binary_search_by(|kv| kv.key.cmp(key)).is_ok();
    known.filter(|key| !there(key)).cloned().collect()
}
