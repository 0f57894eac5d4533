//! Closed-loop load: every client asks again as soon as it is answered.

use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions};

use super::side::Side;

const VALUE_BYTES: usize = 256;
/// Keys that each putting client goes round; also the keys that are read.
const KEYS: usize = 10_000;
/// Most connections; more clients than these share them.
const CONNECTIONS_MAX: usize = 100;
/// Of the leases that are granted: longer than any run.
const TTL_SECONDS: i64 = 3_600;

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// A put of 256 bytes.
    Put,
    /// A read of one key.
    Range { serializable: bool },
    /// A lease, and a put under it.
    Register,
    /// A renewal on the client's own stream.
    KeepAlive,
}

/// What one run measured.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_us: f64,
}

/// One client.
struct Worker {
    op: Op,
    number: usize,
    client: Client,
    done: usize,
    stream: Option<(LeaseKeeper, LeaseKeepAliveStream)>,
}

impl Worker {
    async fn prepare(&mut self) {
        if self.op == Op::KeepAlive {
            let lease = self.client.lease_grant(TTL_SECONDS, None).await.expect("grant").id();
            self.stream = Some(self.client.lease_keep_alive(lease).await.expect("keep-alive"));
        }
    }

    async fn step(&mut self) {
        let number = self.done;
        self.done += 1;
        match self.op {
            Op::Put => {
                let key = format!("/bench/{}/{}", self.number, number % KEYS);
                self.client.put(key, vec![b'x'; VALUE_BYTES], None).await.expect("put");
            }
            Op::Range { serializable } => {
                let key = read_key(self.number * 7_919 + number * 31);
                let options = serializable.then(|| GetOptions::new().with_serializable());
                let answer = self.client.get(key, options).await.expect("get");
                assert_eq!(answer.kvs().len(), 1, "the key is there");
            }
            Op::Register => {
                let lease = self.client.lease_grant(TTL_SECONDS, None).await.expect("grant").id();
                let key = format!("/instances/{}/{}", self.number, number % KEYS);
                let options = PutOptions::new().with_lease(lease);
                let value = vec![b'x'; VALUE_BYTES];
                self.client.put(key, value, Some(options)).await.expect("put");
            }
            Op::KeepAlive => {
                let (keeper, answers) = self.stream.as_mut().expect("prepared");
                keeper.keep_alive().await.expect("keep-alive");
                let answer = answers.message().await.expect("answer").expect("an open stream");
                assert!(answer.ttl() > 0, "the lease lives");
            }
        }
    }

    async fn work(mut self, until: Instant) -> Vec<Duration> {
        let mut took = Vec::new();
        while Instant::now() < until {
            let begin = Instant::now();
            self.step().await;
            took.push(begin.elapsed());
        }
        took
    }
}

fn read_key(number: usize) -> String {
    format!("/read/{}", number % KEYS)
}

/// Connections, spread over the members.
pub(crate) async fn connect(urls: &[String], clients: usize) -> Vec<Client> {
    let mut connections = Vec::new();
    for at in 0..clients.min(CONNECTIONS_MAX) {
        let url = urls[at % urls.len()].clone();
        connections.push(Client::connect([url], None).await.expect("connect"));
    }
    (0..clients).map(|at| connections[at % connections.len()].clone()).collect()
}

/// Puts every key that [`Op::Range`] reads.
pub(crate) async fn fill(side: &Side) {
    let clients = connect(&side.urls(), 32).await;
    let each = KEYS.div_ceil(clients.len());
    let tasks = clients.into_iter().enumerate().map(|(at, mut client)| {
        tokio::spawn(async move {
            for number in at * each..((at + 1) * each).min(KEYS) {
                client.put(read_key(number), vec![b'x'; VALUE_BYTES], None).await.expect("put");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("filled");
    }
}

/// Runs `clients` for `time`.
pub(crate) async fn load(side: &mut Side, op: Op, clients: usize, time: Duration) -> Run {
    let mut workers = Vec::new();
    for (number, client) in connect(&side.urls(), clients).await.into_iter().enumerate() {
        let mut worker = Worker { op, number, client, done: 0, stream: None };
        worker.prepare().await;
        workers.push(worker);
    }
    let before = side.cpu_seconds();
    let begin = Instant::now();
    let tasks: Vec<_> =
        workers.into_iter().map(|worker| tokio::spawn(worker.work(begin + time))).collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("no request failed"));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = side.cpu_seconds() - before;
    took.sort_unstable();
    let done = took.len() as f64;
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    Run {
        rate: done / seconds,
        p50_ms: at(50).as_secs_f64() * 1e3,
        p99_ms: at(99).as_secs_f64() * 1e3,
        cpu_us: cpu / done * 1e6,
    }
}
