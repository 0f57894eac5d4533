//! The load of one round, and what it measured.

use std::{
    fmt::Write,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{side::Side, sink::Sink};

/// Clients that post at once.
const CLIENTS: u64 = 8;
/// Alerts of one post where there are many.
const PER_POST: u64 = 100;
/// Between two alerts whose delay is measured.
const PAUSE: Duration = Duration::from_millis(4);
/// The same alerts that each client sends again and again.
const KNOWN: u64 = 1_000;

pub(crate) struct Effort {
    pub(crate) rounds: u64,
    pub(crate) delays: u64,
    pub(crate) notifications: u64,
    pub(crate) seconds: u64,
}

pub(crate) const ROWS: [&str; 6] = [
    "POST to webhook, p50, ms",
    "POST to webhook, p99, ms",
    "notifications per second",
    "  CPU of the servers per notification, µs",
    "alerts taken per second, new",
    "alerts taken per second, sent again",
];

/// In the order of [`ROWS`].
pub(crate) type Run = [f64; 6];

/// No alert has the same number twice.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub(crate) fn numbers(count: u64) -> Range<u64> {
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    first..first + count
}

/// Whoever posts, over connections that are kept.
#[derive(Clone)]
pub(crate) struct Poster {
    client: reqwest::Client,
    urls: Vec<String>,
    all: bool,
}

impl Poster {
    pub(crate) fn new(side: &Side) -> Self {
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
        let client = client.timeout(Duration::from_secs(10)).build().expect("HTTP client");
        let urls = side.addresses().into_iter().map(|at| format!("http://{at}/api/v2/alerts"));
        Self { client, urls: urls.collect(), all: side.wants_all() }
    }

    /// Answers whether anybody took it: of ours one is asked, the next one each time; Alertmanagers are asked all at once.
    pub(crate) async fn post(&self, body: &str, turn: u64) -> bool {
        let asked = if self.all { self.urls.len() } else { 1 };
        let count = self.urls.len() as u64;
        let urls = (0..asked as u64).map(|at| &self.urls[((turn + at) % count) as usize]);
        let posts = urls.map(|url| async move {
            let request = self.client.post(url).header("content-type", "application/json");
            let answer = request.body(body.to_owned()).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => answer.bytes().await.is_ok(),
                _ => false,
            }
        });
        futures::future::join_all(posts).await.contains(&true)
    }
}

/// The body of a post: alerts with these numbers, which do not end.
pub(crate) fn alerts(numbers: Range<u64>, kind: &str) -> String {
    let mut body = String::from("[");
    for number in numbers {
        let comma = if body.len() > 1 { "," } else { "" };
        let _ = write!(
            body,
            "{comma}{{\"labels\":{{\"alertname\":\"A{number}\",\"kind\":\"{kind}\",\"severity\":\"critical\",\
             \"instance\":\"host-{number}.example.org:9100\",\"job\":\"node\"}},\
             \"annotations\":{{\"summary\":\"something is wrong with host {number}\"}},\
             \"endsAt\":\"2099-01-01T00:00:00Z\",\"generatorURL\":\"http://prometheus.example.org/graph\"}}"
        );
    }
    body + "]"
}

pub(crate) async fn run(side: &mut Side, sink: &mut Sink, effort: &Effort) -> Run {
    let poster = Poster::new(side);
    let mut delays = Vec::new();
    for _ in 0..effort.delays {
        let (number, begun) = (numbers(1), Instant::now());
        let body = alerts(number.clone(), "told");
        let (taken, told) = tokio::join!(poster.post(&body, number.start), sink.wait(number));
        assert!(taken, "the alert is taken");
        delays.push((told - begun).as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    delays.sort_by(f64::total_cmp);
    let quantile = |q: f64| delays[((delays.len() - 1) as f64 * q).round() as usize];

    let (many, cpu, begun) = (numbers(effort.notifications), side.cpu_seconds(), Instant::now());
    let (_, last) = tokio::join!(post_all(&poster, many.clone()), sink.wait(many));
    let rate = effort.notifications as f64 / (last - begun).as_secs_f64();
    let cpu_us = (side.cpu_seconds() - cpu) / effort.notifications as f64 * 1e6;

    let seconds = Duration::from_secs(effort.seconds);
    let new = taken(&poster, seconds, false).await;
    let again = taken(&poster, seconds, true).await;
    [quantile(0.5), quantile(0.99), rate, cpu_us, new, again]
}

/// Several clients share them.
async fn post_all(poster: &Poster, numbers: Range<u64>) {
    let mut tasks = JoinSet::new();
    for client in 0..CLIENTS {
        let (poster, numbers) = (poster.clone(), numbers.clone());
        tasks.spawn(async move {
            let mut from = numbers.start + client * PER_POST;
            while from < numbers.end {
                let part = from..(from + PER_POST).min(numbers.end);
                assert!(poster.post(&alerts(part, "told"), client).await, "the alerts are taken");
                from += CLIENTS * PER_POST;
            }
        });
    }
    tasks.join_all().await;
}

/// Alerts a second that are taken of clients which post as fast as they are answered.
async fn taken(poster: &Poster, seconds: Duration, again: bool) -> f64 {
    let (mut tasks, begun) = (JoinSet::new(), Instant::now());
    for client in 0..CLIENTS {
        let poster = poster.clone();
        tasks.spawn(async move {
            let (own, mut count) = (numbers(KNOWN), 0);
            while begun.elapsed() < seconds {
                let part = if again {
                    let from = own.start + count % KNOWN;
                    from..from + PER_POST
                } else {
                    numbers(PER_POST)
                };
                assert!(poster.post(&alerts(part, "taken"), client).await, "the alerts are taken");
                count += PER_POST;
            }
            count
        });
    }
    let count: u64 = tasks.join_all().await.into_iter().sum();
    count as f64 / begun.elapsed().as_secs_f64()
}
