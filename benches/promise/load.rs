//! Puts: to fill the store, as many as there can be, and at a steady rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use watchkeep_api::etcdserverpb::{
    PutRequest, RequestOp, TxnRequest, kv_client::KvClient, request_op::Request,
};

use crate::report::Report;

/// Keys that are written at least, so that the same one is not always met.
pub(crate) const KEYS_MIN: u64 = 10_000;
/// Connections, spread over the members.
const CONNECTIONS: usize = 48;
/// Puts in a transaction while the store is filled, and transactions at once.
const FILL_PUTS: u64 = 100;
const FILL_TASKS: u64 = 16;
/// An answer that takes longer counts as an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests under way at most; what is due beyond that waits, and its time counts.
const UNDER_WAY_MAX: usize = 8_192;

/// The members, as clients see them.
#[derive(Clone)]
pub(crate) struct Target {
    connections: Arc<Vec<KvClient<Channel>>>,
    keys: u64,
    value: Bytes,
    revision: Arc<AtomicI64>,
    next: Arc<AtomicU64>,
}

impl Target {
    pub(crate) async fn connect(urls: &[String], keys: u64, bytes: usize) -> Self {
        let mut connections = Vec::new();
        for at in 0..CONNECTIONS {
            let endpoint = Endpoint::from_shared(urls[at % urls.len()].clone()).expect("an URL");
            connections.push(KvClient::new(endpoint.connect().await.expect("connect")));
        }
        Self {
            connections: Arc::new(connections),
            keys,
            value: vec![b'x'; bytes].into(),
            revision: Arc::default(),
            next: Arc::default(),
        }
    }

    /// The newest revision that any answer has told.
    pub(crate) fn revision(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.revision)
    }

    fn put_of(&self, number: u64) -> PutRequest {
        let key = format!("/promise/{:012}", number % self.keys).into();
        PutRequest { key, value: self.value.clone(), ..PutRequest::default() }
    }

    /// One put, of keys all over the range.
    async fn put(&self) -> Result<(), Status> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap_or_default() % self.connections.len();
        // A step that has no factor in common with most numbers of keys.
        let put = self.put_of(number.wrapping_mul(7_919));
        let mut connection = self.connections[at].clone();
        let answer = timeout(PATIENCE, connection.put(put)).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded("no answer"))??;
        let revision = answer.into_inner().header.map_or(0, |header| header.revision);
        self.revision.fetch_max(revision, Ordering::Relaxed);
        Ok(())
    }

    /// Stores the keys 0 to `keys`.
    pub(crate) async fn fill(&self, keys: u64) {
        let mut tasks = JoinSet::new();
        for task in 0..FILL_TASKS {
            let target = self.clone();
            tasks.spawn(async move {
                let at = usize::try_from(task).unwrap_or_default();
                let mut connection = target.connections[at].clone();
                let firsts =
                    (0..keys).step_by(FILL_PUTS as usize).skip(at).step_by(FILL_TASKS as usize);
                for first in firsts {
                    let puts = (first..(first + FILL_PUTS).min(keys)).map(|n| RequestOp {
                        request: Some(Request::RequestPut(target.put_of(n))),
                    });
                    let txn = TxnRequest { success: puts.collect(), ..TxnRequest::default() };
                    // Overload is answered with an error: the same again.
                    while connection.txn(txn.clone()).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("the store is filled");
        }
    }

    /// Puts a second when each client puts again as soon as it is answered.
    pub(crate) async fn most(&self, clients: usize, time: Duration) -> f64 {
        let (until, count) = (Instant::now() + time, Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (target, count) = (self.clone(), Arc::clone(&count));
            tasks.spawn(async move {
                while Instant::now() < until {
                    count.fetch_add(u64::from(target.put().await.is_ok()), Ordering::Relaxed);
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        count.load(Ordering::Relaxed) as f64 / time.as_secs_f64()
    }

    /// Puts `rate` times a second, each at its time.
    pub(crate) async fn steady(&self, rate: u64, time: Duration, report: &mut Report) {
        let began = Instant::now();
        let due = move |number: u64| began + Duration::from_nanos(number * 1_000_000_000 / rate);
        let total = (rate as f64 * time.as_secs_f64()) as u64;
        let permits = Arc::new(tokio::sync::Semaphore::new(UNDER_WAY_MAX));
        let (sender, mut answers) = mpsc::unbounded_channel();
        let target = self.clone();
        let issuing = tokio::spawn(async move {
            for number in 0..total {
                let due = due(number);
                if Instant::now() < due {
                    tokio::time::sleep_until(due.into()).await;
                }
                let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
                let (target, sender) = (target.clone(), sender.clone());
                tokio::spawn(async move {
                    let done = target.put().await;
                    // The receiver stays until all have answered.
                    let _ = sender.send((due, Instant::now(), done.is_ok()));
                    drop(permit);
                });
            }
        });
        while let Some((due, end, is_ok)) = answers.recv().await {
            report.answered(due.duration_since(began), end.saturating_duration_since(due), is_ok);
        }
        issuing.await.expect("all were sent");
    }
}
