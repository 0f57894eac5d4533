//! Clients that read and write a few keys, all at once, each at one member after another.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tonic::transport::Channel;

use crate::{
    history::{Action, Call, Ending, Record, Step},
    rpc,
};

/// So few that operations meet.
const KEYS: [&str; 6] = ["r/0", "r/1", "r/2", "a/0", "a/1", "a/2"];
/// The longest pause between two operations of a client.
const PAUSE_MS_MAX: u64 = 24;
/// A client stays at a member for about so many operations.
const STAYS: f64 = 12.0;

/// What the parts of a run share.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) began: Instant,
    pub(crate) over: Arc<AtomicBool>,
    /// Each member's URL and lives.
    pub(crate) members: Arc<Vec<(String, Arc<AtomicU64>)>>,
    pub(crate) records: Arc<Mutex<Vec<Record>>>,
}

impl Run {
    /// Time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// One client: its place, its connection, and what it last saw.
pub(crate) struct Client {
    id: usize,
    run: Run,
    random: StdRng,
    member: usize,
    /// None: not connected.
    channel: Option<Channel>,
    written: u64,
    /// Of each of [`KEYS`], the value last seen.
    seen: Vec<Option<String>>,
}

impl Client {
    pub(crate) fn new(id: usize, run: Run, seed: u64) -> Self {
        let member = id % run.members.len();
        let random = StdRng::seed_from_u64(seed.wrapping_add(id as u64));
        Self { id, run, random, member, channel: None, written: 0, seen: vec![None; KEYS.len()] }
    }

    /// Works until the run is over.
    pub(crate) async fn work(mut self) {
        while !self.run.is_over() {
            let action = self.action();
            let done = self.perform(action).await;
            if done.is_none() || self.random.random_bool(1.0 / STAYS) {
                let member = self.random.random_range(0..self.run.members.len());
                self.go(member);
            }
            let pause = self.random.random_range(0..=PAUSE_MS_MAX);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// To another member.
    pub(crate) fn go(&mut self, member: usize) {
        if member != self.member {
            (self.member, self.channel) = (member, None);
        }
    }

    /// Does it and writes down what came of it; none when the member cannot be reached, so that nothing was asked.
    pub(crate) async fn perform(&mut self, action: Action) -> Option<Record> {
        let (url, life) = &self.run.members[self.member];
        if self.channel.is_none() {
            self.channel = rpc::connect(url).await;
        }
        let channel = self.channel.clone()?;
        let (before, begin) = (life.load(Ordering::SeqCst), self.run.now());
        let ending = rpc::perform(&channel, &action).await;
        let end = self.run.now();
        let lives = (before, life.load(Ordering::SeqCst));
        if ending == Ending::Unknown {
            // The connection may be dead without knowing.
            self.channel = None;
        }
        let record = Record { member: self.member, lives, action, begin, end, ending };
        self.learn(&record);
        self.run.records.lock().expect("no holder panicked").push(record.clone());
        Some(record)
    }

    fn learn(&mut self, record: &Record) {
        let Some(outcome) = record.outcome() else { return };
        let branch = record.action.branch(outcome.held);
        for (step, found) in branch.iter().zip(&outcome.found) {
            for (key, seen) in KEYS.iter().zip(&mut self.seen) {
                let now = found.iter().find(|kv| kv.key == *key).map(|kv| kv.value.clone());
                match step {
                    Step::Read { key: read } if read == key => *seen = now,
                    Step::Scan { prefix } if key.starts_with(prefix.as_str()) => *seen = now,
                    Step::Put { key: put, value, .. } if put == key => *seen = Some(value.clone()),
                    Step::Delete { key: deleted } if deleted == key => *seen = None,
                    _ => {}
                }
            }
        }
    }

    /// A value that nobody else writes.
    pub(crate) fn value(&mut self) -> String {
        self.written += 1;
        format!("{}.{}", self.id, self.written)
    }

    fn key(&mut self) -> (String, Option<String>) {
        let at = self.random.random_range(0..KEYS.len());
        (KEYS[at].to_owned(), self.seen[at].clone())
    }

    fn put(&mut self, key: String) -> Step {
        Step::Put { key, value: self.value(), lease: 0 }
    }

    fn action(&mut self) -> Action {
        let (key, seen) = self.key();
        let (other, other_seen) = self.key();
        let other_put = self.put(other.clone());
        let read = |key: &str| Step::Read { key: key.to_owned() };
        let scan = |prefix: &str| Step::Scan { prefix: prefix.to_owned() };
        let txn = |when, then, otherwise| Action { call: Call::Txn, when, then, otherwise };
        match self.random.random_range(0..100) {
            0..24 => Action::plain(read(&key)),
            24..34 => {
                let step = if self.random.random_bool(0.5) { read(&key) } else { scan("") };
                Action { call: Call::Serializable, ..Action::plain(step) }
            }
            34..54 => Action::plain(self.put(key)),
            54..60 => Action::plain(Step::Delete { key }),
            // Compare and swap.
            60..75 => txn(vec![(key.clone(), seen)], vec![self.put(key.clone())], vec![read(&key)]),
            // Create, unless it is there.
            75..80 => txn(vec![(key.clone(), None)], vec![self.put(key.clone())], vec![read(&key)]),
            // Move something from one key to another.
            80..92 if key != other => {
                let when = vec![(key.clone(), seen), (other.clone(), other_seen)];
                let delete = self.random.random_bool(0.3);
                let first = if delete { Step::Delete { key } } else { self.put(key) };
                txn(when, vec![scan("r/"), first, other_put], vec![scan("")])
            }
            // Without a condition.
            92..96 if key != other => txn(vec![], vec![self.put(key), other_put], vec![]),
            _ => {
                let prefix = *["a/", "r/", ""].choose(&mut self.random).expect("one");
                txn(vec![], vec![scan(prefix), read(&key)], vec![])
            }
        }
    }
}
